"""The register tile: every size of it, against NumPy, with NaN all around what it may touch."""

import numpy as np
import pytest

from fastrnn.kernels.simd import bytes_of_register
from fastrnn.kernels.tile import MAX_VECTORS, describe, max_rows, tile
from tests.support.compare import assert_close
from tests.support.compiled import compiled
from tests.support.configurations import both_dtypes

SIZES = [(r, v) for v in range(1, MAX_VECTORS + 1) for r in range(1, max_rows(v) + 1)]


@compiled
def call_tile(
    rows,
    vectors,
    last,
    k,
    terms,
    a,
    a_at,
    a_row,
    a_step,
    b,
    b_at,
    b_step,
    d,
    d_at,
    d_row,
    c,
    c_at,
    c_row,
):
    tile(
        rows,
        vectors,
        last,
        k,
        terms,
        a,
        a_at,
        a_row,
        a_step,
        b,
        b_at,
        b_step,
        d,
        d_at,
        d_row,
        c,
        c_at,
        c_row,
    )


@both_dtypes
@pytest.mark.parametrize(("rows", "vectors"), SIZES, ids=[f"{r}x{v}" for r, v in SIZES])
def test_equals_numpy_and_touches_nothing_else(rows, vectors, dtype):
    n, rng = bytes_of_register() // np.dtype(dtype).itemsize, np.random.default_rng(0)
    for last in {1, n - 1, n}:
        for k, terms in ((0, 1), (1, 32), (2, 1), (7, 7), (150, 32), (150, 150)):
            columns = (vectors - 1) * n + last
            a = rng.normal(size=(rows, k)).astype(dtype)
            b = rng.normal(size=(k, columns)).astype(dtype)
            d = rng.normal(size=(rows, columns)).astype(dtype)
            # Each operand within NaN: a transposed, b with whole vectors, d and c with a margin.
            a_flat = np.full((k + 2) * (rows + 3), np.nan, dtype)
            a_view = a_flat[1 : 1 + k * (rows + 3)].reshape(k, rows + 3)
            a_view[:, :rows] = a.T
            b_flat = np.full((k + 1) * (vectors * n + 5), np.nan, dtype)
            b_view = b_flat[3 : 3 + k * (vectors * n + 5)].reshape(k, vectors * n + 5)
            b_view[:, :columns] = b
            d_flat = np.full((rows + 1) * (columns + 2), np.nan, dtype)
            d_view = d_flat[2 : 2 + rows * (columns + 2)].reshape(rows, -1)[:, :columns]
            d_view[...] = d
            c_flat = np.full((rows + 1) * (columns + 4), np.nan, dtype)
            c_view = c_flat[1 : 1 + rows * (columns + 4)].reshape(rows, -1)[:, :columns]
            arguments = (
                rows,
                vectors,
                last,
                k,
                terms,
                a_flat,
                1,
                1,
                rows + 3,
                b_flat,
                3,
                vectors * n + 5,
            )
            call_tile(*arguments, d_flat, 2, columns + 2, c_flat, 1, columns + 4)
            exact = d.astype(np.longdouble) + a.astype(np.longdouble) @ b
            tolerance = 6 * (k + 2) * np.finfo(dtype).eps
            assert_close(c_view, exact.astype(dtype), atol=tolerance)
            assert np.isnan(c_flat).sum() == c_flat.size - rows * columns
            # One row of d for all, and d that is c itself.
            call_tile(*arguments, d_flat, 2, 0, c_flat, 1, columns + 4)
            exact += d[0].astype(np.longdouble) - d
            assert_close(c_view, exact.astype(dtype), atol=tolerance)
            before = c_view.copy()
            call_tile(*arguments, c_flat, 1, columns + 4, c_flat, 1, columns + 4)
            exact += before - d[0].astype(np.longdouble)
            assert_close(c_view, exact.astype(dtype), atol=tolerance)
            assert np.isnan(c_flat).sum() == c_flat.size - rows * columns


@both_dtypes
def test_a_row_does_not_depend_on_the_size_of_its_tile(dtype):
    """Bit for bit: that a row of a batch equals the row alone rests on it."""
    n, k, rng = bytes_of_register() // np.dtype(dtype).itemsize, 50, np.random.default_rng(0)
    a = rng.normal(size=(8, k)).astype(dtype).ravel()
    b = rng.normal(size=(k, MAX_VECTORS * n)).astype(dtype).ravel()
    d = rng.normal(size=n).astype(dtype)
    results = []
    for rows, vectors in SIZES:
        c = np.zeros((rows, vectors * n), dtype)
        wide = np.zeros(vectors * n, dtype)
        wide[:n] = d
        call_tile(
            rows,
            vectors,
            n,
            k,
            16,
            a,
            0,
            k,
            1,
            b,
            0,
            MAX_VECTORS * n,
            wide,
            0,
            0,
            c.ravel(),
            0,
            vectors * n,
        )
        results.append(c.ravel()[:n].copy())
    for result in results[1:]:
        assert_close(result, results[0], atol=0)


def test_describe_says_what_is_used():
    assert set(describe()) == {"instruction set", "lanes", "tile"}
    assert f"{max_rows(MAX_VECTORS)} rows x {MAX_VECTORS} vectors" == describe()["tile"]
