"""tanh and the sigmoid, by themselves, against long doubles, in units of the last place."""

import numpy as np
import pytest

from fastrnn.kernels.activation import sigmoid, tanh
from fastrnn.kernels.memory import load, store
from fastrnn.kernels.simd import lanes
from tests.support.compare import assert_close
from tests.support.compiled import compiled
from tests.support.configurations import both_dtypes

MOST = {np.float32: 87.0, np.float64: 708.0}  # beyond, e**-x is no normal number


@compiled
def apply_tanh(x, y):
    for i in range(0, x.size, lanes(x)):
        store(y, i, tanh(load(x, i)))


@compiled
def apply_sigmoid(x, y):
    for i in range(0, x.size, lanes(x)):
        store(y, i, sigmoid(load(x, i)))


def evaluate(function, x):
    padded = np.zeros(x.size + -x.size % 16, x.dtype)
    padded[: x.size] = x.ravel()
    y = np.full_like(padded, np.nan)
    function(padded, y)
    return y[: x.size].reshape(x.shape)


def exact_tanh(x):
    return np.tanh(x.astype(np.longdouble))


def exact_sigmoid(x):
    return 1 / (1 + np.exp(-x.astype(np.longdouble)))


def arguments(dtype):
    """Values everywhere that matters, of both signs: dense where the function bends."""
    tiny = np.finfo(dtype).tiny
    rng = np.random.default_rng(0)
    parts = [
        np.linspace(0, 1, 50001),
        np.linspace(0, 20, 50001),
        np.linspace(0, MOST[dtype], 50001),
        np.geomspace(tiny, 1, 5001),
        np.log(2) * (np.arange(1, 60) / 2),
        np.nextafter(np.log(2) * (np.arange(1, 60) / 2), 0),
        np.abs(rng.normal(size=50000)),
    ]
    x = np.concatenate(parts).astype(dtype)
    return np.concatenate([x, -x])


def ulps(got, exact):
    return np.abs(got - exact) / np.spacing(np.abs(exact).astype(got.dtype)).astype(np.longdouble)


@both_dtypes
@pytest.mark.parametrize(
    ("function", "exact", "most"),
    [(apply_tanh, exact_tanh, 1.0), (apply_sigmoid, exact_sigmoid, 2.5)],
    ids=["tanh", "sigmoid"],
)
def test_is_right_to_the_last_places(dtype, function, exact, most):
    if dtype == np.float64 and np.finfo(np.longdouble).nmant <= 52:
        pytest.skip("long double is no longer than double here")
    x = arguments(dtype)
    got, expected = evaluate(function, x), exact(x)
    assert got.dtype == dtype
    error = ulps(got, expected)
    worst = np.argmax(error)
    assert error[worst] <= most, f"{float(error[worst]):.2f} ulp at {x[worst]!r}"


@both_dtypes
def test_at_the_ends(dtype):
    big = np.array([100, 800, 1e30, np.finfo(dtype).max, np.inf], dtype)
    assert_close(evaluate(apply_tanh, big), np.ones(5, dtype), atol=0)
    assert_close(evaluate(apply_tanh, -big), -np.ones(5, dtype), atol=0)
    assert_close(evaluate(apply_sigmoid, big), np.ones(5, dtype), atol=0)
    least = evaluate(apply_sigmoid, -big)
    assert (least >= 0).all()
    assert (least <= np.exp(-MOST[dtype]) * 1.01).all() or dtype == np.float64
    assert (least < 1e-37).all()
    assert np.isnan(evaluate(apply_tanh, np.array([np.nan, -np.nan], dtype))).all()
    assert np.isnan(evaluate(apply_sigmoid, np.array([np.nan, -np.nan], dtype))).all()


@both_dtypes
def test_zeros_and_denormals(dtype):
    least = np.finfo(dtype).smallest_subnormal
    x = np.array([0.0, -0.0, least, -least, 100 * least, -np.finfo(dtype).tiny / 2], dtype)
    y = evaluate(apply_tanh, x)
    assert_close(y, x, atol=least)
    assert_close(np.signbit(y), np.signbit(x), atol=0)
    assert_close(evaluate(apply_sigmoid, x), np.full(6, 0.5, dtype), atol=0)


@both_dtypes
def test_tanh_is_odd_and_both_rise_but_for_rounding(dtype):
    x = np.sort(np.abs(arguments(dtype)))
    assert_close(evaluate(apply_tanh, -x), -evaluate(apply_tanh, x), atol=0)
    for function in (apply_tanh, apply_sigmoid):
        y = evaluate(function, x)
        assert np.all(np.diff(y) >= -3 * np.spacing(y[1:]))
        assert y.max() <= 1
