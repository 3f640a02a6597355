"""States between the caller's arrays and the buffers of a pass, in the order of the batch.

A reset cuts a state: it is written over with zeros, not multiplied, so that no NaN gets through.
"""

from fastrnn.engine.inputs import is_cut
from fastrnn.kernels.jit import jit
from fastrnn.kernels.memory import flat
from fastrnn.kernels.rows import clear, copy_row


@jit
def load_states(order, slot, h, carried, states, states_count, states_row, emitted, emitted_row):
    """Put the states at `slot`, or zeros, into the first buffer (records.States)."""
    batch = order.size
    clear(states, 0, states_count * batch * states_row)
    clear(emitted, 0, batch * emitted_row)
    for j in range(batch):
        if h.size:
            size = h.shape[2]
            at = (slot * batch + order[j]) * size
            copy_row(emitted, j * emitted_row, flat(h), at, size)
        if carried.size:
            slots, size = carried.shape[1], carried.shape[3]
            for i in range(states_count - 1):
                at = ((i * slots + slot) * batch + order[j]) * size
                to = ((i + 1) * batch + j) * states_row
                copy_row(states, to, flat(carried), at, size)


@jit
def cut_states(s, rows, j0, sequences, states, at, states_count, states_row, column, count):
    """Write zeros over some units of the states before step s, where a reset cuts them off.

    Args:
        s: the step.
        rows: sequences from j0 on; those that end before step s have nothing to cut.
        j0: see rows.
        sequences: records.BatchedInput.
        states: (states_count, B, states_row) from `at` on.
        at: see states.
        states_count: how many of them, as of the first.
        states_row: see states.
        column: the first unit.
        count: units.
    """
    batch = sequences.order.size
    if not sequences.cuts.size:
        return
    for j in range(j0, j0 + rows):
        if sequences.lengths[j] > s and is_cut(sequences, s, j):
            for i in range(states_count):
                clear(states, at + (i * batch + j) * states_row + column, count)


@jit
def store_states(
    order,
    lengths,
    slot,
    states,
    stride,
    states_row,
    emitted,
    emitted_stride,
    emitted_row,
    h,
    carried,
):
    """Write the states at `slot`, from the buffer that each sequence's last step wrote."""
    batch = order.size
    for j in range(batch):
        which, size = lengths[j] % 2, h.shape[2]
        at = which * emitted_stride + j * emitted_row
        copy_row(flat(h), (slot * batch + order[j]) * size, emitted, at, size)
        slots, size = carried.shape[1], carried.shape[3]
        for i in range(carried.shape[0]):
            to = ((i * slots + slot) * batch + order[j]) * size
            at = which * stride + ((i + 1) * batch + j) * states_row
            copy_row(flat(carried), to, states, at, size)
