"""Products with a weight as it lies, against NumPy, with NaN all around what may be read."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from fastrnn.engine import buffers
from fastrnn.kernels.dots import ROWS, dots
from fastrnn.kernels.memory import flat
from tests.support.compare import assert_close
from tests.support.compiled import compiled
from tests.support.configurations import both_dtypes


@compiled
def call_dots(rows, count, k, a, a_at, a_row, b, b_at, b_row, d, d_at, c, c_at, c_row):
    dots(
        rows,
        count,
        k,
        flat(a),
        a_at,
        a_row,
        flat(b),
        b_at,
        b_row,
        flat(d),
        d_at,
        flat(c),
        c_at,
        c_row,
    )


def multiply(a, b, d, margin=3):
    """Call it amid NaN; return (rows, lanes) and what was left untouched."""
    (rows, k), count, n = a.shape, len(b), len(d)
    a_wide, b_wide = (np.full((len(m) + 1, k + margin), np.nan, a.dtype) for m in (a, b))
    a_wide[1:, :k], b_wide[1:, :k] = a, b
    d_wide = np.full(n + 2, np.nan, a.dtype)
    d_wide[1 : n + 1] = d
    c = np.full((rows + 2, n + 5), np.nan, a.dtype)
    call_dots(
        rows,
        count,
        k,
        a_wide.ravel(),
        k + margin,
        k + margin,
        b_wide.ravel(),
        k + margin,
        k + margin,
        d_wide,
        1,
        c.reshape(-1),
        n + 5 + 2,
        n + 5,
    )
    untouched = np.ones(c.shape, bool)
    untouched[1 : rows + 1, 2 : n + 2] = False
    assert np.isnan(c[untouched]).all()
    return c[1 : rows + 1, 2 : n + 2]


@both_dtypes
@settings(max_examples=100)
@given(data=st.data())
def test_equals_numpy_and_touches_nothing_else(dtype, data):
    n = buffers.lanes(np.dtype(dtype))
    rows = data.draw(st.integers(0, 11), "rows")
    count = data.draw(st.integers(1, n), "rows of the weight that exist")
    k = data.draw(st.sampled_from([0, 1, n - 1, n, n + 1, 3 * n, 4 * n + 3]), "k")
    rng = np.random.default_rng(data.draw(st.integers(0, 99), "seed"))
    a, b = (rng.normal(size=s).astype(dtype) for s in ((rows, k), (count, k)))
    d = rng.normal(size=n).astype(dtype)
    exact = d[:count].astype(np.longdouble) + a.astype(np.longdouble) @ b.T
    got = multiply(a, b, d)[:, :count]
    assert_close(got, exact.astype(dtype), atol=6 * (k + 2) * np.finfo(dtype).eps)


@both_dtypes
def test_a_row_comes_out_the_same_in_any_company(dtype):
    """Bit for bit, whatever the heights it is cut into: a batch of few rows rests on it."""
    n, rng = buffers.lanes(np.dtype(dtype)), np.random.default_rng(0)
    for k in (n, 5 * n + 1):
        a, b = rng.normal(size=(12, k)).astype(dtype), rng.normal(size=(n, k)).astype(dtype)
        d = rng.normal(size=n).astype(dtype)
        alone = np.concatenate([multiply(a[r : r + 1], b, d) for r in range(12)])
        for rows in range(1, 13):
            assert_close(multiply(a[:rows], b, d), alone[:rows], atol=0, name=f"{rows} rows")
    assert max(ROWS) < 12


@both_dtypes
def test_what_is_not_finite_stays_in_its_sums(dtype):
    n = buffers.lanes(np.dtype(dtype))
    k = 2 * n + 1
    a, b, d = np.ones((5, k), dtype), np.ones((n, k), dtype), np.zeros(n, dtype)
    a[1, k - 1], b[n - 1, 0] = np.inf, np.nan
    got = multiply(a, b, d)
    assert np.isnan(got[:, n - 1]).all()
    assert np.isposinf(got[1, : n - 1]).all()
    assert (np.delete(got, 1, 0)[:, : n - 1] == k).all()
