"""A cell's step put on memory: forward on a tile, backward on a row.

The tile is what the micro-kernel has just made of pre-activations (kernels/tile.py); a row is one
sequence at one step. Which ones, and in what order, the loops say.
"""

from fastrnn.kernels.jit import jit
from fastrnn.kernels.memory import load, load_many, store_many, store_many_parts
from fastrnn.kernels.simd import lanes


def bind_tile(name, step, gates, states_count, saved_count):
    """Return a cell's step of a tile: of a few sequences and vectors of hidden units."""

    @jit(name=f"{name}_step")
    def step_tile(
        rows,  # of the tile: sequences
        vectors,  # of the tile: of hidden units
        a_x,  # (rows, vectors * gates * lanes)
        a_x_at,
        a_x_row,
        a_h,  # the same, from its start on
        a_h_row,
        states,  # each `between` from the next, rows state_row apart
        old,  # where the tile starts in the states before the step
        new,  # and after it
        state_row,
        between,
        saved,  # empty: keep nothing
        saved_at,
        saved_row,
    ):
        n = lanes(a_h)
        for r in range(rows):
            for v in range(vectors):
                at = r * state_row + v * n
                after, kept = step(
                    load_many(a_x, a_x_at + r * a_x_row + v * gates * n, n, gates),
                    load_many(a_h, r * a_h_row + v * gates * n, n, gates),
                    load_many(states, old + at, between, states_count),
                )
                store_many(states, new + at, between, after)
                if saved.size:
                    store_many(saved, saved_at + r * saved_row + v * saved_count * n, n, kept)

    return step_tile


def bind_row(name, step_backward, states_count, saved_count, shared):
    """Return the gradient of a cell's step, of one row; shared: Cell.shared."""

    @jit(name=f"{name}_row_backward")
    def step_row(
        hidden_size,
        unit0,  # blocks of hidden units unit0..unit1
        unit1,
        saved,  # of the row
        saved_at,
        h,  # of the row, before the step
        h_at,
        d_states,  # of the row, each `between` from the next; changed
        states_at,
        between,
        d_a_x,  # written; where a cell shares them, d_a_h alone
        d_a_h,
        d_at,
    ):
        n = lanes(d_a_h)
        for unit in range(unit0, unit1):
            at, gates_at = states_at + unit * n, d_at + unit * n
            d_x, d_h, d_state = step_backward(
                load_many(saved, saved_at + unit * saved_count * n, n, saved_count),
                load(h, h_at + unit * n),
                load_many(d_states, at, between, states_count),
            )
            store_many(d_states, at, between, d_state)
            valid = hidden_size - unit * n
            if valid >= n:
                store_many(d_a_h, gates_at, hidden_size, d_h)
                if not shared:
                    store_many(d_a_x, gates_at, hidden_size, d_x)
            else:
                store_many_parts(d_a_h, gates_at, hidden_size, d_h, valid)
                if not shared:
                    store_many_parts(d_a_x, gates_at, hidden_size, d_x, valid)

    return step_row
