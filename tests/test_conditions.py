"""Layers under unusual conditions: NaN, inf, denormal numbers, many shapes, long sequences.

Threads and processes are in test_concurrency.py, other CPUs in kernels/test_instruction_sets.py.
"""

import gc
import tracemalloc

import numpy as np
import pytest

import fastrnn
from fastrnn import reference
from tests.support.compare import assert_close
from tests.support.configurations import (
    Configuration,
    both_dtypes,
    every_cell,
    members,
    run,
    run_torch,
)

SMALLEST = {np.dtype(d): np.nextafter(d(0), d(1)) for d in (np.float32, np.float64)}


@every_cell
@both_dtypes
def test_the_callers_denormals_are_left_alone(cell, dtype, threads):
    """Kernels take them for zero, in threads that are not theirs: NumPy must not see it."""

    def alive():
        tiny = np.full(9, 8 * SMALLEST[np.dtype(dtype)])
        # Bits: where denormals are zero, they also compare as if they were.
        return (tiny * dtype(0.5)).view(f"i{tiny.itemsize}").tolist() == [4] * 9

    assert alive()
    layer, linear = Configuration(cell, H=200, I=100).layer(dtype), fastrnn.Linear(100, 200)
    x = np.ones((12, 7, 100), dtype)
    for count in (1, 4):
        threads(count)
        for _ in range(3):
            layer(x)
            assert alive()
        (output, _), pullback = layer.vjp(x, lengths=np.array([12, 0, 3, 4, 5, 6, 7]))
        assert alive()
        pullback(output)
        assert alive()
        layer.stream(7)(x[0])
        assert alive()
        y, pullback = linear.vjp(x.astype(np.float32))
        pullback(y)
        assert alive()


@every_cell
@pytest.mark.parametrize("T", [3, 12], ids=["unpacked", "packed"])
def test_denormal_numbers_give_what_they_give_in_the_reference(cell, T):
    """To 1e-37: a kernel may take one for zero."""
    configuration = Configuration(cell, T=T, B=2, I=20, H=17)
    layer, values = configuration.layer(np.float32), configuration.values(np.float32)
    for name in ("bias_ih_l0", "bias_hh_l0"):
        layer.params[name][...] = 0
    name, _, nonlinearity = cell.name.partition("_")
    options = {"nonlinearity": nonlinearity} if nonlinearity else {}
    params = {
        n.replace("weight", "w").replace("bias", "b").removesuffix("_l0"): p
        for n, p in layer.params.items()
    }
    for size in (1e-38, 1e-40, 1e-44):
        scale = np.float32(size)
        x, state = values["x"] * scale, [s * scale for s in members(values["state"])]
        first = tuple(s[0] for s in state) if len(state) > 1 else state[0][0]
        expected, last = getattr(reference, name)(x, first, **params, **options)
        got, final = layer(x, tuple(state) if len(state) > 1 else state[0])
        assert_close(got, expected, atol=1e-37)
        for one, other in zip(members(final), members(last), strict=True):
            assert_close(one[0], other, atol=1e-37)


def test_memory_is_flat_over_many_shapes():
    """Programs are remembered, but only so many."""
    rng = np.random.default_rng(0)
    layers = [kind(6, 20, num_layers=2, seed=0) for kind in (fastrnn.LSTM, fastrnn.GRU)]

    def use(shapes):
        for _ in range(shapes):
            T, B = rng.integers(1, 80), rng.integers(1, 16)
            lengths = rng.integers(0, T + 1, B)
            x = np.zeros((T, B, 6), np.float32)
            for layer in layers:
                for _ in range(3):  # the last time by a program that is remembered
                    layer(x)
                (output, _), pullback = layer.vjp(x, lengths=lengths)
                pullback(output)
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        before = use(300)
        after = use(200)
    finally:
        tracemalloc.stop()
    assert after - before < 200_000


@every_cell
def test_inference_takes_memory_for_its_output_alone(cell):
    layer = Configuration(cell, I=4, H=64).layer(np.float32)

    def peak(T):
        x = np.zeros((T, 3, 4), np.float32)
        for _ in range(3):
            layer(x)
        tracemalloc.start()
        try:
            output, _ = layer(x)
            return tracemalloc.get_traced_memory()[1] - output.nbytes
        finally:
            tracemalloc.stop()

    assert peak(5000) < peak(500) + 100_000  # the output grows by 3.5 million


def poison(values, what, index):
    values["x"][index] = what
    return values


@every_cell
@pytest.mark.parametrize("what", [np.nan, np.inf, -np.inf], ids=["nan", "inf", "-inf"])
@pytest.mark.parametrize("H", [8, 9, 70])
def test_what_is_not_finite_propagates_as_in_torch(cell, what, H):
    configuration = Configuration(cell, T=6, B=3, I=3, H=H, lengths=(6, 4, 5))
    values = poison(configuration.values(np.float64), what, (2, 1, 0))
    layer = configuration.layer(np.float64)
    expected = run_torch(configuration, layer.params, values, np.float64)
    got = run(layer, values, configuration.array_lengths())
    # torch's own derivative of an output at 0 * inf differs between its kernels: forward first.
    assert np.isnan(expected["output"]).any() == (np.isnan(what) or "relu" in cell.name)
    for name in ("output", *[n for n in got if n.startswith("state")]):
        assert_close(got[name], expected[name], atol=1e-12, rtol=1e-12, name=name)
    for row in (0, 2):  # the other rows have nothing to do with it
        clean = configuration.values(np.float64)
        alone = run(layer, clean, configuration.array_lengths())
        assert_close(got["d_x"][:, row], alone["d_x"][:, row], atol=0, name="d_x")
    for name, array in expected.items():
        if np.isnan(what):
            assert_close(np.isnan(got[name]), np.isnan(array), atol=0, name=f"NaN in {name}")
        else:  # NaN or inf is 0 * inf or 1e-308 * inf, by how a saturated sigmoid ends
            assert_close(np.isfinite(got[name]), np.isfinite(array), atol=0, name=name)


@every_cell
@pytest.mark.parametrize("H", [9, 16])
def test_infinite_parameters_stay_in_their_units(cell, H):
    configuration = Configuration(cell, T=3, B=2, H=H)
    layer, values = configuration.layer(np.float32), configuration.values(np.float32)
    layer.params["bias_ih_l0"][0] = np.nan
    layer.params["weight_hh_l0"][:, 0] = 0
    expected = run_torch(configuration, layer.params, values, np.float32)
    got = run(layer, values)
    for name in expected:
        assert_close(np.isnan(got[name]), np.isnan(expected[name]), atol=0, name=name)
