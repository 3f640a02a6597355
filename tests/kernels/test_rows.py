"""Rows copied, padded, cleared, added and summed, against NumPy, with NaN all around."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fastrnn.engine import buffers
from fastrnn.kernels import rows
from fastrnn.kernels.memory import flat, load, store
from tests.support.compare import assert_bits, assert_close
from tests.support.compiled import compiled
from tests.support.configurations import both_dtypes


@compiled
def each(to, at, source, source_at, count, width):
    """Use each function on a row of `to`."""
    rows.copy_row(flat(to[0]), at, flat(source), source_at, count)
    rows.pad_row(flat(to[1]), at, flat(source), source_at, count, width)
    rows.clear(flat(to[2]), at, count)
    rows.add_row(flat(to[3]), at, flat(source), source_at, count)


@compiled
def column(total, count, source, at, pitch, number):
    memory = flat(total)
    store(memory, 0, rows.add_column(load(memory, 0), count, flat(source), at, pitch, number))


@both_dtypes
@given(data=st.data())
def test_rows_are_numpys_and_nothing_else_is_touched(dtype, data):
    n = buffers.lanes(np.dtype(dtype))
    count = data.draw(st.integers(0, 3 * n + 1), "count")
    at, source_at = (data.draw(st.integers(0, n), name) for name in ("at", "from"))
    width = -(-count // n) * n + n * data.draw(st.integers(0, 2), "vectors of zeros")
    source = np.full(source_at + count + n, np.nan, dtype)
    row = source[source_at : source_at + count]
    row[:] = np.arange(1, count + 1)
    to = np.full((4, at + 6 * n), np.nan, dtype)
    to[3, at : at + count] = 0.5
    expected = to.copy()
    expected[0, at : at + count] = row
    expected[1, at : at + width] = 0
    expected[1, at : at + count] = row
    expected[2, at : at + count] = 0
    expected[3, at : at + count] += row
    each(to, at, source, source_at, count, width)
    assert_bits(to, expected)


@both_dtypes
@given(data=st.data())
def test_a_column_is_summed_as_if_in_twice_the_precision(dtype, data):
    """Kahan's sum: wrong by an ulp or two of the sum, however many rows; a plain one is not."""
    n = buffers.lanes(np.dtype(dtype))
    number, count = (
        data.draw(st.sampled_from([0, 1, 2, 3000]), "rows"),
        data.draw(st.integers(1, n)),
    )
    rng = np.random.default_rng(data.draw(st.integers(0, 99), "seed"))
    source = np.full((number + 1, n + 3), np.nan, dtype)
    source[:number, 2 : 2 + count] = rng.uniform(0.5, 1, (number, count))
    total = rng.uniform(0.5, 1, n).astype(dtype)
    expected = total.astype(np.longdouble)
    expected[:count] += source[:number, 2 : 2 + count].astype(np.longdouble).sum(0)
    got = total.copy()
    column(got, count, source, 2, n + 3, number)
    assert_close(got, expected.astype(dtype), atol=0, rtol=4 * np.finfo(dtype).eps)
    assert_bits(got[count:], total[count:])
