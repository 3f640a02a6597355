"""Sequences sorted and cut, and rows found in any layout of memory."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastrnn.engine.batch import batch_of, equal_batch, rows_of, sort_by_length
from tests.support.compare import assert_close


@given(st.data())
def test_a_batch_is_sorted_and_counted(data):
    T, B = data.draw(st.integers(0, 9)), data.draw(st.integers(1, 9))
    lengths = np.array(data.draw(st.lists(st.integers(0, T), min_size=B, max_size=B)), np.int64)
    batch = sort_by_length(lengths)
    assert_close(lengths[batch.order], batch.lengths, atol=0)
    assert sorted(batch.order) == list(range(B))
    assert (np.diff(batch.lengths) <= 0).all()
    assert batch.steps == max(lengths, default=0)
    assert batch.rows == lengths.sum()
    for s in range(batch.steps + 1):
        assert batch.row_at(s) == np.minimum(lengths, s).sum()
    for parts in range(1, 12):
        slices = batch.slices(parts)
        assert len(slices) <= parts
        assert [j for a, b in slices for j in range(a, b)] == list(range(B))


def test_resets_change_nothing_but_the_cuts():
    lengths, reset = np.array([2, 3]), np.array([[0, 1], [0, 0], [1, 0]], bool)
    for ends in (None, lengths):
        plain, cut = batch_of(3, 2, ends), batch_of(3, 2, ends, reset.T.copy().T)
        assert_close(cut.cuts, reset.astype(int), atol=0)
        assert cut.cuts.flags.c_contiguous
        assert not plain.cuts.size
        assert cut[2:4] == plain[2:4]
        assert_close(cut.order, plain.order, atol=0)
        assert batch_of(3, 2, ends, np.zeros((3, 2), bool)).cuts is plain.cuts


def test_equal_lengths_keep_their_order():
    for batch in (equal_batch(3, 4), sort_by_length(np.full(4, 3))):
        assert batch.order.tolist() == [0, 1, 2, 3]
        assert (batch.steps, batch.rows, batch.equal) == (3, 12, True)
    assert equal_batch(3, 0).steps == 0
    assert not sort_by_length(np.array([3, 2])).equal


@given(st.lists(st.integers(1, 100), min_size=1, max_size=40), st.integers(1, 8))
def test_slices_share_the_work_fairly(lengths, parts):
    batch = sort_by_length(np.array(lengths))
    work = [int(batch.lengths[a:b].sum()) for a, b in batch.slices(parts)]
    assert sum(work) == batch.rows
    assert max(work) <= batch.rows / parts + max(lengths)


@pytest.mark.parametrize("shape", [(3, 4, 5), (1, 4, 5), (3, 1, 5), (0, 4, 5), (3, 0, 5), (3, 4)])
def test_rows_are_where_they_say_in_any_layout(shape):
    array = np.arange(np.prod(shape), dtype=float).reshape(shape)
    frozen = array.copy()
    frozen.flags.writeable = False
    first = np.ascontiguousarray(array.swapaxes(0, 1)).swapaxes(0, 1)
    for view in (array, first, frozen, array[::-1], np.asfortranarray(array)):
        rows = rows_of(view)
        assert rows.array.flags.carray
        shared = np.shares_memory(rows.array, view)
        assert shared == (view is array or view is first) or view.size < 2 or shared
        for t in range(shape[0]):
            for b in range(shape[1]):
                at = rows.at + t * rows.time + b * rows.row
                width = shape[2] if len(shape) == 3 else 1
                assert_close(
                    rows.array.reshape(-1)[at : at + width], np.atleast_1d(view[t, b]), atol=0
                )
