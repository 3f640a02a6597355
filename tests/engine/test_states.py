"""States between the caller's arrays and a pass: which go where, for which sequence."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fastrnn.engine import states as engine
from fastrnn.engine.records import read_input
from fastrnn.kernels.memory import flat
from tests.support.compare import assert_bits
from tests.support.compiled import compiled
from tests.support.layouts import given_input


@compiled
def load(order, slot, h, carried, states, count, row, emitted, emitted_row):
    engine.load_states(
        flat(order), slot, h, carried, flat(states), count, row, flat(emitted), emitted_row
    )


@compiled
def cut(s, rows, j0, given, states, at, count, row, column, units):
    engine.cut_states(s, rows, j0, read_input(given), flat(states), at, count, row, column, units)


@compiled
def store(order, lengths, slot, states, stride, row, emitted, emitted_stride, h, carried):
    engine.store_states(
        flat(order),
        flat(lengths),
        slot,
        flat(states),
        stride,
        row,
        flat(emitted),
        emitted_stride,
        row,
        h,
        carried,
    )


def drawn(data, count):
    B, slots, H, E = (data.draw(st.integers(1, 9), name) for name in ("B", "slots", "H", "E"))
    slot = data.draw(st.integers(0, slots - 1), "slot")
    rng = np.random.default_rng(data.draw(st.integers(0, 99), "seed"))
    h, carried = rng.normal(size=(slots, B, E)), rng.normal(size=(count - 1, slots, B, H))
    row = max(H, E) + data.draw(st.integers(0, 3), "padding")
    return slot, h, carried, row, rng.permutation(B), rng


@given(st.data())
def test_states_are_loaded_in_the_order_of_the_batch_among_zeros(data):
    count = data.draw(st.integers(1, 3), "states")
    slot, h, carried, row, order, _ = drawn(data, count)
    if data.draw(st.booleans(), "zeros"):
        h, carried = np.empty((0, 0, 0)), np.empty((0, 1, 0, 0))
    B = len(order)
    states, emitted = np.full((count, B, row), np.nan), np.full((B, row), np.nan)
    load(order, slot, h, carried, states, count, row, emitted, row)
    expected, expected_h = np.zeros_like(states), np.zeros_like(emitted)
    if h.size:
        expected_h[:, : h.shape[2]] = h[slot, order]
    if carried.size:
        expected[1:, :, : carried.shape[3]] = carried[:, slot, order]
    assert_bits(states, expected)
    assert_bits(emitted, expected_h)


@given(st.data())
def test_zeros_are_written_where_a_reset_lies_before_the_step(data):
    count, T, B = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 4)), 5
    rng = np.random.default_rng(data.draw(st.integers(0, 99), "seed"))
    reset, reverse = rng.random((T, B)) < 0.5, data.draw(st.booleans(), "reverse")
    lengths, order = -np.sort(-rng.integers(0, T + 1, B)), rng.permutation(B)
    s, j0, column, units = data.draw(st.integers(0, T)), data.draw(st.integers(0, 4)), 2, 3
    states = np.full((count, B, 7), np.nan)
    expected = states.copy()
    for j in range(j0, B):
        read = list(range(lengths[j]))[:: -1 if reverse else 1]  # the times, one after the other
        if s >= len(read):
            continue
        later = max(read[s], read[s - 1]) if s else read[0]
        if reset[later, order[j]] and (s or not reverse):
            expected[:, j, column : column + units] = 0
    cuts = reset.astype(np.int64)
    given = given_input(np.zeros((T, B, 1)), order, lengths, reverse, cuts=cuts)
    flat = np.concatenate([[np.nan], states.ravel()])
    cut(s, B - j0, j0, given, flat, 1, count, 7, column, units)
    assert_bits(flat[1:].reshape(states.shape), expected)


@given(st.data())
def test_each_sequence_is_stored_from_the_buffer_its_last_step_wrote(data):
    count = data.draw(st.integers(1, 3), "states")
    slot, h, carried, row, order, rng = drawn(data, count)
    B = len(order)
    states, emitted = rng.normal(size=(2, count, B, row)), rng.normal(size=(2, B, row))
    lengths = rng.integers(0, 5, B)
    swaps = data.draw(st.booleans(), "h has two buffers")
    expected, expected_h = carried.copy(), h.copy()
    for j, b in enumerate(order):
        expected[:, slot, b] = states[lengths[j] % 2, 1:, j, : carried.shape[3]]
        expected_h[slot, b] = emitted[lengths[j] % 2 if swaps else 0, j, : h.shape[2]]
    store(order, lengths, slot, states, states[0].size, row, emitted, swaps * B * row, h, carried)
    assert_bits(h, expected_h)
    assert_bits(carried, expected)
