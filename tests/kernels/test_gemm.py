"""Packing and blocked products against NumPy, around the sizes of tiles and panels, amid NaN."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastrnn.engine import buffers
from fastrnn.kernels import gemm
from fastrnn.kernels.gemm import block_bias, pack_gates, pack_rows, terms_over_time
from fastrnn.kernels.memory import flat
from fastrnn.kernels.tile import MAX_VECTORS
from tests.support.compare import assert_close
from tests.support.compiled import compiled
from tests.support.configurations import around, both_dtypes
from tests.support.layouts import blocked, in_panels


@compiled
def product(
    rows,
    columns,
    k,
    terms,
    a,
    a_at,
    a_row,
    a_step,
    b,
    b_at,
    b_panel,
    b_step,
    width,
    d,
    d_at,
    d_row,
    c,
    c_at,
    c_row,
):
    gemm.product(
        rows,
        columns,
        k,
        terms,
        flat(a),
        a_at,
        a_row,
        a_step,
        flat(b),
        b_at,
        b_panel,
        b_step,
        width,
        flat(d),
        d_at,
        d_row,
        flat(c),
        c_at,
        c_row,
    )


@compiled
def product_back(rows, first, columns, k, a, w, packed, d, c):
    gemm.product_back(
        rows,
        first,
        columns,
        k,
        flat(a),
        0,
        k,
        flat(w),
        w.shape[1],
        packed,
        flat(d),
        0,
        c.shape[1],
        flat(c),
        0,
        c.shape[1],
    )


@compiled
def pack(weight, gates, width, parts, by_gates, as_it_is):
    for part in range(parts):
        pack_gates(weight, gates, width, flat(by_gates), part, parts)
        pack_rows(weight, flat(as_it_is), part, parts)


@compiled
def block(bias, gates, blocked):
    block_bias(flat(bias), gates, flat(blocked))


@compiled
def terms_of(rows, out):
    out[0] = terms_over_time(rows)


def poisoned(size, dtype):
    return np.full(size, np.nan, dtype)


@both_dtypes
@pytest.mark.parametrize("gates", [1, 3, 4])
@pytest.mark.parametrize("k", [1, 5, 16, 33])
def test_packing_is_its_definition(gates, k, dtype):
    n, rng = buffers.lanes(np.dtype(dtype)), np.random.default_rng(0)
    for hidden in (*around(n), 4 * n + 3):
        weight = rng.normal(size=(gates * hidden, k)).astype(dtype)
        rows = blocked(weight, gates, n)
        wide = np.zeros((len(weight), -(-k // n) * n), dtype)
        wide[:, :k] = weight
        for width in {gates, MAX_VECTORS // gates * gates or gates}:
            for parts in (1, 2, 5):  # more than there are panels
                by_gates, as_it_is = poisoned(rows.size, dtype), poisoned(wide.size, dtype)
                pack(weight, gates, width, parts, by_gates, as_it_is)
                assert_close(by_gates, in_panels(rows.T, width * n), atol=0, name="pack_gates")
                assert_close(as_it_is, in_panels(wide, MAX_VECTORS * n), atol=0, name="pack_rows")
        bias = poisoned(len(rows), dtype)
        block(weight[:, 0].copy(), gates, bias)
        assert_close(bias, rows[:, 0], atol=0, name="block_bias")
        bias = poisoned(len(rows), dtype)
        block(np.empty(0, dtype), gates, bias)  # there is none
        assert not bias.any()


@both_dtypes
@settings(max_examples=100)
@given(data=st.data())
def test_product_equals_numpy(dtype, data):
    n = buffers.lanes(np.dtype(dtype))
    rows = data.draw(st.integers(0, 20), "rows")
    columns = data.draw(st.sampled_from([*around(n), 4 * n, 4 * n + 1, 9 * n - 1]), "columns")
    k = data.draw(st.sampled_from([0, 1, 2, 17, 130, 300]), "k")
    width = data.draw(st.integers(1, MAX_VECTORS), "width")
    terms = data.draw(st.sampled_from([1, 16, 1000]), "terms")
    tight = data.draw(st.booleans(), "tight")
    repeated = data.draw(st.booleans(), "one row of d")
    rng = np.random.default_rng(data.draw(st.integers(0, 99), "seed"))
    a, b = (rng.normal(size=s).astype(dtype) for s in ((rows, k), (k, columns)))
    d = rng.normal(size=(1 if repeated else rows, columns)).astype(dtype)
    padded = -(-columns // n) * n
    wide = poisoned((k, padded + n * MAX_VECTORS), dtype)
    wide[:, :columns] = b
    if tight:
        wide = wide[:, :padded]
        b_flat, b_panel, b_step = in_panels(wide, width * n), width * n * k, 0
    else:
        b_flat, b_panel, b_step = wide.ravel(), width * n, wide.shape[1]
    a_flat = poisoned((rows, k + 3), dtype)
    a_flat[:, :k] = a
    c = poisoned((rows, columns + 2), dtype)
    product(
        rows,
        columns,
        k,
        terms,
        a_flat.ravel(),
        0,
        k + 3,
        1,
        b_flat,
        0,
        b_panel,
        b_step,
        width,
        d.ravel(),
        0,
        0 if repeated else columns,
        c.reshape(-1),
        0,
        columns + 2,
    )
    exact = d.astype(np.longdouble) + a.astype(np.longdouble) @ b
    assert_close(c[:, :columns], exact.astype(dtype), atol=6 * (k + 2) * np.finfo(dtype).eps)
    assert np.isnan(c[:, columns:]).all()


@both_dtypes
@settings(max_examples=30)
@given(data=st.data())
def test_a_weight_as_it_lies_gives_what_the_packed_one_does(dtype, data):
    n, rng = buffers.lanes(np.dtype(dtype)), np.random.default_rng(0)
    rows, k = data.draw(st.integers(1, 9)), data.draw(st.sampled_from([1, 5, 127, 128, 129, 300]))
    width = n * data.draw(st.integers(1, 9))
    first = MAX_VECTORS * n * data.draw(st.integers(0, (width - 1) // (MAX_VECTORS * n)))
    a, w = (rng.normal(size=size).astype(dtype) for size in ((rows, k), (k, width)))
    d = rng.normal(size=(rows, width - first)).astype(dtype)
    tight, unused = poisoned(w.size, dtype), poisoned(w.size, dtype)
    pack(w, 1, 1, 1, unused.repeat(n + 1), tight)
    results = [poisoned((rows, width - first), dtype) for _ in range(2)]
    product_back(rows, first, width - first, k, a, w, False, d, results[0])
    product_back(rows, first, width - first, k, a, tight.reshape(w.shape), True, d, results[1])
    np.testing.assert_array_equal(*results)
    assert_close(results[0], d + a @ w[:, first:], atol=0, rtol=20 * np.finfo(dtype).eps)


def test_sums_over_time_are_cut_by_their_length_alone():
    out = np.zeros(1)
    for rows, terms in ((0, 16), (1, 16), (255, 16), (256, 64), (10**6, 64)):
        terms_of(rows, out)
        assert out[0] == terms
