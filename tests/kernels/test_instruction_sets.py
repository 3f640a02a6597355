"""The same numbers on other CPUs: kernels compiled for AVX2 and for plain x86-64, run here.

Vectors are shorter there and tiles smaller, and float64 has two lanes. Each set of instructions
has a folder of compiled kernels, which a second run of the tests finds full.
"""

import os
import platform
from pathlib import Path

import llvmlite.binding as llvm
import pytest

from tests.support.processes import python

CPUS = {
    "haswell": (
        "haswell",
        "+avx2,+fma,+avx,+sse4.2,+sse4.1,+ssse3,+sse3,+sse2,+popcnt,+bmi,+bmi2,+f16c,+lzcnt,+movbe",
        "AVX2 + FMA",
        {"avx2", "fma"},
    ),
    "x86-64": ("x86-64", "+sse2", "128-bit vectors", set()),
}

# Packed and unpacked weights, threads in lockstep, ragged and one-hot rows, each against the
# reference; one-hot rows whose classes are so few that a gradient is added up by class.
CODE = """
import sys
import numpy as np
import fastrnn
from fastrnn import reference
from fastrnn.kernels.tile import describe

assert describe()["instruction set"] == sys.argv[1], describe()


def members(state):
    return state if isinstance(state, tuple) else (state,)


def compare(layer, x, lengths, threads):
    fastrnn.set_num_threads(threads)
    name = type(layer).__name__.lower()
    params = {n.replace("weight", "w").replace("bias", "b").removesuffix("_l0"): p.astype(float)
              for n, p in layer.params.items()}
    wide = x if x.dtype.kind == "i" else x.astype(float)
    (output, state), pullback = layer.vjp(x, None, lengths)
    (expected, last), pull = getattr(reference, name + "_vjp")(wide, None, **params,
                                                             lengths=lengths)
    got, want = pullback(output), pull(output.astype(float))
    pairs = [(output, expected), (layer(x, None, lengths)[0], expected)]
    pairs += [(s[0], e) for s, e in zip(members(state), members(last))]
    pairs += [(s[0], e) for s, e in zip(members(got.state), members(want.state))]
    pairs += zip(got.params.values(), want.params.values())
    if got.input is not None:
        pairs.append((got.input, want.input))
    for i, (a, b) in enumerate(pairs):
        assert a.shape == b.shape
        allowed = 60 * np.finfo(layer.dtype).eps * max(1, np.abs(b).max(initial=0))
        error = np.abs(a - b).max(initial=0)
        assert error <= allowed, f"{layer}, x {x.shape}, array {i}: {error} > {allowed}"


# A kernel's vectors are those of its type, whatever the cell: each cell in one of the types.
for dtype, kind in ((np.float32, fastrnn.LSTM), (np.float64, fastrnn.GRU)):
    rng = np.random.default_rng(0)
    for T, B, I, H, lengths, threads in (
        (20, 5, 17, 33, None, 1), (9, 7, 3, 16, [9, 0, 1, 4, 9, 2, 8], 1),
        (3, 2, 40, 9, None, 1),
        (1, 1, 1, 1, None, 1), (2, 3, 64, 64, None, 1), (15, 3, 70, 256, [15, 3, 9], 3),
        (1, 4, 300, 300, None, 2),
    ):
        x = rng.normal(size=(T, B, I)).astype(dtype)
        lengths = None if lengths is None else np.array(lengths)
        compare(kind(I, H, dtype=dtype, seed=0), x, lengths, threads)
    for T, B, I, H in ((1, 1, 8, 8), (1, 1, 3, 5), (6, 3, 10, 24), (2, 1, 500, 9)):
        compare(kind(I, H, dtype=dtype, seed=0), rng.integers(0, I, (T, B)), None, 1)
    linear, x = fastrnn.Linear(19, 21, dtype=dtype, seed=0), rng.normal(size=(9, 19)).astype(dtype)
    y, pullback = linear.vjp(x)
    wanted = x.astype(float) @ linear.params["weight"].T.astype(float) + linear.params["bias"]
    assert np.abs(y - wanted).max() < 60 * np.finfo(dtype).eps
    d = pullback(y).params["weight"] - y.T.astype(float) @ x
    assert np.abs(d).max() < 200 * np.finfo(dtype).eps
"""


@pytest.mark.skipif(
    platform.machine().lower() not in ("x86_64", "amd64"), reason="not an x86-64 machine"
)
@pytest.mark.parametrize("cpu", CPUS)
def test_equals_the_reference(cpu):
    name, features, described, needed = CPUS[cpu]
    host = llvm.get_host_cpu_features()
    if not all(host.get(feature) for feature in needed):
        pytest.skip(f"this CPU cannot run what is compiled for {cpu}")
    cache = Path(os.environ["NUMBA_CACHE_DIR"]) / cpu
    python(
        CODE, described, cache=cache, timeout=600, NUMBA_CPU_NAME=name, NUMBA_CPU_FEATURES=features
    )
