"""Records: sizes follow from each other, and kernels read arguments in the order of the fields."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fastrnn.engine import buffers
from fastrnn.engine.batch import Rows
from fastrnn.engine.records import Residuals, States, Weights, read_input, read_rows, sizes_of
from tests.support.compiled import compiled
from tests.support.configurations import both_dtypes


@both_dtypes
@given(st.integers(1, 4), st.integers(1, 3), st.integers(1, 70), st.integers(2, 70), st.data())
def test_sizes(dtype, gates, states, input_size, hidden, data):
    dtype, projection = np.dtype(dtype), data.draw(st.integers(0, hidden - 1), "projection")
    sizes = sizes_of(dtype, gates, states, input_size, hidden, projection)
    assert (sizes.dtype, sizes.gates, sizes.states) == (dtype, gates, states)
    assert (sizes.input, sizes.hidden) == (input_size, hidden)
    assert sizes.lanes == buffers.lanes(dtype)
    assert sizes.emitted == (projection if projection else hidden)
    assert sizes.projects is (projection > 0)
    for size, padded in ((hidden, sizes.hidden_p), (sizes.emitted, sizes.emitted_p)):
        assert padded % sizes.lanes == 0
        assert 0 <= padded - size < sizes.lanes
    assert sizes.columns == gates * sizes.hidden_p


@compiled
def read(given, rows, out):
    sequences, read = read_input(given), read_rows(rows)
    out[0], out[1] = sequences.x[0], sequences.index[0]
    out[2], out[3] = sequences.time, sequences.row
    out[4], out[5], out[6] = sequences.order[0], sequences.lengths[0], sequences.reverse
    out[7], out[8], out[9], out[10] = read.array[0], read.at, read.time, read.row
    out[11], out[12], out[13] = sequences.x.size, sequences.cuts[0], sequences.blanks.size


def test_kernels_read_tuples_in_the_order_of_the_fields():
    x, index, order, lengths = np.full((2, 3, 4), 10.0), *(np.full((1, 1), i) for i in (11, 14, 15))
    given = x, index, 12, 13, order[0], lengths[0], True, np.full((1, 1), 16)
    rows, out = Rows(np.full((1, 1, 1), 17.0), 18, 19, 20), np.zeros(14)
    read(tuple(given), tuple(rows), out)
    assert out.tolist() == [10, 11, 12, 13, 14, 15, 1, 17, 18, 19, 20, 24, 16, 0]


def test_records_that_go_together():
    assert Weights._fields == ("w_ih", "w_hh", "b_ih", "b_hh", "w_hr")
    assert States._fields == ("h", "carried")  # as Python passes them, side by side
    arrays = [np.empty(n) for n in (3, 5, 7)]
    assert Residuals(*arrays, 4).nbytes == 15 * 8
