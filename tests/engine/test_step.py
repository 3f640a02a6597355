"""A step put on memory: which vectors of a tile and of a row it reads, and which it writes.

The step here is so simple that its oracle is a line; those of cells are in tests/cells.
"""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fastrnn.engine import buffers
from fastrnn.engine.step import bind_row, bind_tile
from fastrnn.kernels.jit import jit
from fastrnn.kernels.memory import flat
from tests.support.compare import assert_bits
from tests.support.compiled import compiled

GATES, STATES, SAVED = 2, 2, 3
LANES = buffers.lanes(np.dtype(np.float64))


@jit
def step(a_x, a_h, state):
    new = a_x[0] + a_h[1] * state[1], state[0] - a_h[0]
    return new, (a_x[1], a_h[0], state[1])


@jit
def step_backward(saved, h, d_state):
    d_x = d_state[0] * saved[0], d_state[1] + h
    d_h = d_state[0] - saved[1], h * saved[2]
    return d_x, d_h, (d_state[1] + 1.0, d_state[0])


_tile = bind_tile("of_a_test", step, GATES, STATES, SAVED)
_row = bind_row("of_a_test", step_backward, STATES, SAVED, False)
_shared_row = bind_row("shared_of_a_test", step_backward, STATES, SAVED, True)


@compiled
def run_tile(
    rows, vectors, a_x, a_x_row, a_h, a_h_row, states, old, new, row, between, saved, saved_row
):
    _tile(
        rows,
        vectors,
        flat(a_x),
        0,
        a_x_row,
        flat(a_h),
        a_h_row,
        flat(states),
        old,
        new,
        row,
        between,
        flat(saved),
        0,
        saved_row,
    )


@compiled
def run_row(hidden, unit0, unit1, saved, h, d_states, between, d_a_x, d_a_h, shared):
    if shared:
        _shared_row(
            hidden,
            unit0,
            unit1,
            flat(saved),
            0,
            flat(h),
            0,
            flat(d_states),
            0,
            between,
            flat(d_a_x),
            flat(d_a_h),
            0,
        )
    else:
        _row(
            hidden,
            unit0,
            unit1,
            flat(saved),
            0,
            flat(h),
            0,
            flat(d_states),
            0,
            between,
            flat(d_a_x),
            flat(d_a_h),
            0,
        )


def by_vectors(array, kinds):
    """A (rows, vectors * kinds * LANES) array as `kinds` arrays (rows, vectors * LANES)."""
    rows = array.reshape(len(array), -1, kinds, LANES)
    return [rows[:, :, kind].reshape(len(array), -1) for kind in range(kinds)]


@given(st.integers(1, 5), st.integers(1, 3), st.booleans(), st.integers(0, 99))
def test_a_tile_steps_from_one_buffer_to_the_other(rows, vectors, keep, seed):
    rng, width = np.random.default_rng(seed), vectors * LANES
    a_x, a_h = (rng.normal(size=(rows, GATES * width + n)) for n in (3, 5))  # rows are apart
    buffer = rng.normal(size=(2, STATES, rows, width + 1))
    saved = np.full((rows, SAVED * width + 2) if keep else (0, 0), np.nan)
    x, h = (by_vectors(a[:, : GATES * width].copy(), GATES) for a in (a_x, a_h))
    state, expected = buffer[0, :, :, :width], buffer.copy()
    expected[1, :, :, :width] = x[0] + h[1] * state[1], state[0] - h[0]
    kept = x[1], h[0], state[1].copy()
    between = rows * (width + 1)
    run_tile(
        rows,
        vectors,
        a_x,
        a_x.shape[1],
        a_h,
        a_h.shape[1],
        buffer,
        0,
        STATES * between,
        width + 1,
        between,
        saved,
        SAVED * width + 2,
    )
    np.testing.assert_allclose(buffer, expected, rtol=1e-14)
    assert_bits(buffer[0], expected[0])
    if keep:
        assert_bits(tuple(by_vectors(saved[:, : SAVED * width].copy(), SAVED)), kept)
        assert np.isnan(saved[:, SAVED * width :]).all()


@given(st.integers(1, 4 * LANES), st.booleans(), st.data())
def test_a_row_goes_back_through_some_blocks_and_writes_torchs_order(hidden, shared, data):
    blocks = -(-hidden // LANES)
    unit0 = data.draw(st.integers(0, blocks - 1), "unit0")
    unit1 = data.draw(st.integers(unit0 + 1, blocks), "unit1")
    rng, width = np.random.default_rng(data.draw(st.integers(0, 99))), blocks * LANES
    saved, h = rng.normal(size=(1, SAVED * width)), rng.normal(size=width)
    d_states = rng.normal(size=(STATES, width))
    d_a_x, d_a_h = (np.full((GATES, hidden), np.nan) for _ in "xh")
    kept = [s[0] for s in by_vectors(saved, SAVED)]
    mine = slice(unit0 * LANES, unit1 * LANES)
    d, expected = d_states.copy(), d_states.copy()
    expected[:, mine] = np.stack([d[1] + 1, d[0]])[:, mine]
    expected_x, expected_h = d_a_x.copy(), d_a_h.copy()
    if not shared:
        expected_x[:, mine] = np.stack([d[0] * kept[0], d[1] + h])[:, :hidden][:, mine]
    expected_h[:, mine] = np.stack([d[0] - kept[1], h * kept[2]])[:, :hidden][:, mine]
    run_row(hidden, unit0, unit1, saved, h, d_states, width, d_a_x, d_a_h, shared)
    assert_bits(d_states, expected)
    assert_bits(d_a_x, expected_x)
    assert_bits(d_a_h, expected_h)
