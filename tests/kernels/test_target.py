"""What Numba compiles for, as the compiler says, and settings that would end the process.

Numba reads them when it is imported: so each is tried in a process of its own. That kernels compute
right on other instruction sets is test_instruction_sets.py's.
"""

import platform

import llvmlite.binding as llvm
import pytest

from fastrnn.kernels.simd import bytes_of_register
from fastrnn.kernels.target import features
from tests.support.processes import python

FEATURES = """
import fastrnn
fastrnn.GRU(3, 5)
from fastrnn.kernels.target import features
print(*sorted(features()))
"""
x86 = pytest.mark.skipif(
    platform.machine().lower() not in ("x86_64", "amd64"), reason="not an x86-64 machine"
)


def test_without_settings_it_is_the_host():
    host = llvm.get_host_cpu_features()
    known = {"avx512f", "avx2", "fma", "neon"}
    assert features() == {name for name in known if host.get(name)}
    assert bytes_of_register() in (16, 32, 64)


@x86
@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ({"NUMBA_CPU_NAME": "generic"}, ""),
        ({"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": "+avx"}, ""),
        ({"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": "+avx2"}, "avx2"),
        ({"NUMBA_CPU_NAME": "x86-64-v2", "NUMBA_CPU_FEATURES": ""}, ""),
        ({"NUMBA_CPU_NAME": "x86-64-v3", "NUMBA_CPU_FEATURES": ""}, "avx2 fma"),
        ({"NUMBA_CPU_NAME": "x86-64-v4", "NUMBA_CPU_FEATURES": ""}, "avx2 avx512f fma"),
        ({"NUMBA_CPU_FEATURES": "-avx2"}, "fma"),  # of the host's name, which implies the others
        ({"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": "+fma"}, "fma"),
    ],
    ids=str,
)
def test_names_imply_features_and_features_others(settings, found):
    wanted = set(found.split())  # a set would have another name in every process
    if not wanted <= features():
        pytest.skip("this processor has less")
    assert set(python(FEATURES, **settings).split()) == wanted


@x86
def test_without_avx_no_kernel_asks_for_what_the_compiler_has_not(tmp_path):
    """It ended the process: kernels asked the host, which had what Numba left out."""
    code = """
import numpy as np
import fastrnn
from fastrnn import reference
layer, x = fastrnn.RNN(3, 5, seed=0, dtype=np.float32), np.ones((4, 2, 3), np.float32)
(output, _), pullback = layer.vjp(x)
pullback(output)
weights = [array.astype(float) for array in layer.params.values()]
assert np.abs(output - reference.rnn(x.astype(float), None, *weights)[0]).max() < 1e-6
from fastrnn.kernels.target import features
print("avx512f" in features())
"""
    assert python(code, cache=tmp_path, NUMBA_ENABLE_AVX="0") == "False"


@x86
@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"NUMBA_CPU_FEATURES": "avx2"}, "'avx2': expected features with a + or a -"),
        ({"NUMBA_CPU_FEATURES": "+sse2, +avx"}, "expected features with a + or a -"),
        ({"NUMBA_CPU_FEATURES": ","}, "expected features with a + or a -"),
        ({"NUMBA_CPU_FEATURES": "-sse2"}, "the compiler cannot make code"),
        ({"NUMBA_CPU_FEATURES": "-64bit"}, "the compiler cannot make code"),
        (
            {"NUMBA_CPU_NAME": "silly", "NUMBA_CPU_FEATURES": "+avx2"},
            "NUMBA_CPU_NAME is 'silly' and NUMBA_CPU_FEATURES is '+avx2': the compiler cannot",
        ),
        ({"NUMBA_CPU_NAME": "pentium4", "NUMBA_CPU_FEATURES": ""}, "the compiler cannot make code"),
    ],
    ids=str,
)
def test_what_the_compiler_cannot_work_with_is_refused(settings, reason):
    """In a sentence; the compiler would end the process."""
    done = python(FEATURES, check=False, **settings)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("ValueError: NUMBA_CPU_")
    assert reason in done.stderr.splitlines()[-1]


@x86
def test_what_the_processor_lacks_is_refused():
    lacking = [name for name, has in llvm.get_host_cpu_features().items() if not has]
    name = "+" + next(name for name in ("fma4", "xop", "amx-tile", *lacking) if name in lacking)
    done = python(FEATURES, check=False, NUMBA_CPU_FEATURES=name)
    assert f"NUMBA_CPU_FEATURES is {name!r}: this processor has no" in done.stderr


def test_a_name_that_nobody_knows_with_the_features_of_the_host_works():
    """Numba adds the host's features to a name; the compiler only says that it ignores that."""
    assert set(python(FEATURES, NUMBA_CPU_NAME="silly").split()) == features()
