"""The kernels of Linear against NumPy: sizes around tiles, several pieces of rows, any threads.

Linear itself, its arguments and torch, is in test_linear.py.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastrnn.engine import buffers
from fastrnn.engine.plan import is_shared
from fastrnn.kernels import parallel
from fastrnn.kernels import threads as pool
from fastrnn.kernels.affine import PIECE
from fastrnn.nn import linear
from tests.support.compare import assert_close
from tests.support.configurations import around, both_dtypes


def draw(rows, k, columns, bias, dtype, seed=0):
    rng = np.random.default_rng(seed)
    shapes = (rows, k), (columns, k), (columns,), (rows, columns)
    x, weight, b, d_y = (rng.normal(size=shape).astype(dtype) for shape in shapes)
    return x, weight, b if bias else None, d_y


def compute(x, weight, bias, d_y):
    """Return everything by name."""
    y = linear._forward(x, weight, bias)
    d_x, params = linear._backward(x, weight, bias, d_y)
    return {"y": y, "d_x": d_x} | params


def check(x, weight, bias, d_y):
    exact, k = [a.astype(np.longdouble) for a in (x, weight, d_y)], 2 + max(*weight.shape, len(x))
    expected = {
        "y": exact[0] @ exact[1].T,
        "d_x": exact[2] @ exact[1],
        "weight": exact[2].T @ exact[0],
    }
    if bias is not None:
        expected["y"] += bias
        expected["bias"] = exact[2].sum(0)
    got = compute(x, weight, bias, d_y)
    assert got.keys() == expected.keys()
    tolerance = 6 * k**0.5 * np.finfo(x.dtype).eps
    for name, array in expected.items():
        assert got[name].dtype == x.dtype
        assert_close(got[name], array.astype(x.dtype), atol=tolerance, rtol=tolerance, name=name)


@both_dtypes
@settings(max_examples=60)
@given(data=st.data())
def test_equals_numpy(dtype, data):
    sizes = [*around(buffers.lanes(np.dtype(dtype))), 70, 150]
    rows = data.draw(st.sampled_from([0, 1, 2, 7, 13, 33]), "rows")
    k, columns = (data.draw(st.sampled_from(sizes), name) for name in ("k", "columns"))
    bias = data.draw(st.booleans(), "bias")
    check(*draw(rows, k, columns, bias, dtype, data.draw(st.integers(0, 99), "seed")))


@both_dtypes
@pytest.mark.parametrize("rows", [PIECE - 1, PIECE, PIECE + 1, 3 * PIECE + 5])
def test_the_weights_gradient_is_a_sum_over_pieces(rows, dtype):
    check(*draw(rows, 3, 5, True, dtype))


@both_dtypes
@pytest.mark.parametrize(
    ("rows", "k", "columns"), [(2 * PIECE + 9, 33, 70), (5, 500, 900), (900, 300, 9)]
)
def test_any_number_of_threads_gives_the_same_bits(rows, k, columns, dtype, threads):
    """More of them than rows or columns too; and when another kernel has the pool."""
    arrays = draw(rows, k, columns, True, dtype)
    assert is_shared(2 * rows * k * columns)
    threads(1)
    expected = compute(*arrays)
    for count in (2, 4, 9):
        threads(count)
        for owned in (False, True):
            pool.call(1)[parallel.OWNED] = owned
            got = compute(*arrays)
            pool.call(1)[parallel.OWNED] = 0
            for name, array in expected.items():
                assert_close(got[name], array, atol=0, name=f"{name}, {count} threads")


@both_dtypes
def test_what_is_not_finite_stays_in_its_rows_and_columns(dtype):
    x, weight, bias, d_y = draw(9, 20, 7, True, dtype)
    clean = compute(x, weight, bias, d_y)
    x[4, 3] = np.nan
    got = compute(x, weight, bias, d_y)
    assert np.isnan(got["y"][4]).all()
    assert_close(np.delete(got["y"], 4, 0), np.delete(clean["y"], 4, 0), atol=0)
    assert np.isnan(got["weight"][:, 3]).all()
    assert_close(np.delete(got["weight"], 3, 1), np.delete(clean["weight"], 3, 1), atol=0)
    assert_close(got["d_x"], clean["d_x"], atol=0)
