"""WHEN: the loop over time, and the loop back (backpropagation through time, BPTT).

One path serves all cells: a cell brings `step` and `step_backward`, functions of a few vectors
(cells/__init__.py), and the factories here put the loops around them. No cell is named here.

Rows. The B sequences are sorted by falling length, so that at step s the first so many are still
running. Real steps are numbered s by s, row after row of those running: with equal lengths, step
s of row j is row s * B + j. A slice is a range j0..j1 of the sorted sequences; slices share
nothing but weights, so each may run in a thread of its own, in any order, with the same result.
A sequence is read in the direction it is given or, `reverse`, from its own end.

Forward     a_x = b_ih + x W_ihᵀ      one product for many steps
            a_h = b_hh + h W_hhᵀ      one tile at a time, consumed by `step` while in L1
Backward    d_h += d_a_h W_hh         step by step; then one product each over many steps:
            d_W_hh = d_a_hᵀ h         d_W_ih = d_a_xᵀ x         d_x = d_a_x W_ih

Letters: T time, B batch, I input, H hidden, E emitted (H, or the projection's size), G gates; with
a p behind it, rounded up to whole vectors. Pre-activations have blocked columns (kernels/gemm.py).
Kernels allocate nothing, check nothing, raise nothing: workspace.py and checks.py did.
"""

from fastrnn._jit import jit
from fastrnn.kernels.gemm import product
from fastrnn.kernels.rows import add_row, copy_row, flat
from fastrnn.kernels.simd import keep_lanes, lanes, load, load_many, store_many
from fastrnn.kernels.tile import TERMS, WIDEST, most_rows, tile
from fastrnn.unrolled import input_part, time_of


def bind_forward(name, step, gates, states_count, saved_count, width):
    """Return the compiled forward pass of a cell: steps s0..s1 of one slice of the batch."""
    tallest = most_rows(width)
    units = width // gates

    @jit(name=f"{name}_step")
    def step_tile(
        rows, vectors,                       # of the tile: sequences, vectors of hidden units
        a_x, a_x_at, a_x_row,                # (rows, vectors * gates * lanes), as a_h
        a_h, a_h_row,
        states, states_at, row_length, between,   # rows row_length apart, states `between`
        saved, saved_at, saved_row,          # empty: keep nothing
    ):
        n = lanes(a_h)
        for r in range(rows):
            for v in range(vectors):
                at = states_at + r * row_length + v * n
                new, kept = step(load_many(a_x, a_x_at + r * a_x_row + v * gates * n, n, gates),
                                 load_many(a_h, r * a_h_row + v * gates * n, n, gates),
                                 load_many(states, at, between, states_count))
                store_many(states, at, between, new)
                if saved.size:
                    store_many(saved, saved_at + r * saved_row + v * saved_count * n, n, kept)

    @jit(name=f"{name}_forward")
    def forward(
        x, index, x_time, x_row, input_size,         # as in input_part
        order, lengths, reverse,
        w_ih, b_ih, w_hh, b_hh,                      # packed, blocked
        w_hr, zeros,                                 # packed (H, E), or empty: no projection
        hidden_size, emitted_size,
        states,        # (states, B, Hp) changed: the state before step s0, then after step s1
        emitted,       # (B, Ep)         changed: the h that W_hh multiplies
        saved,         # (rows, Hp / lanes, saved, lanes) written; empty: keep nothing
        unprojected,   # (rows, Hp) written: h before the projection; empty: keep nothing
        output, out_at, out_time, out_row,           # flat, E wide, written
        row0,          # number of the first row of step s0
        s0, s1, j0, j1,
        x_rows, a_x, chunk,                          # flat scratch for `chunk` steps of the slice
        a_h,                                         # flat scratch (tallest, width * lanes)
    ):
        n = lanes(a_h)
        batch, hidden_p, emitted_p = states.shape[1], states.shape[2], emitted.shape[1]
        states, emitted = flat(states), flat(emitted)
        saved, unprojected = flat(saved), flat(unprojected)
        blocks = hidden_p // n
        columns, saved_row = blocks * gates * n, blocks * saved_count * n
        running, first, begin = batch, row0, s0
        while begin < s1:
            end = min(begin + chunk, s1)
            input_part(x, index, x_time, x_row, input_size, order, lengths, reverse,
                       w_ih, b_ih, width, begin, end, j0, j1, x_rows, a_x)
            a_x_row = 0
            for s in range(begin, end):
                while running > 0 and lengths[running - 1] <= s:
                    running -= 1
                rows = min(running, j1) - j0
                if rows <= 0:
                    return
                tiles = (rows + tallest - 1) // tallest
                for unit in range(0, blocks, units):
                    vectors = min(units, blocks - unit)
                    column = unit * gates * n
                    row = 0
                    for i in range(tiles):
                        height = (rows - row + tiles - i - 1) // (tiles - i)
                        j = j0 + row
                        tile(height, vectors * gates, n, emitted_size, TERMS,
                             emitted, j * emitted_p, emitted_p, 1,
                             w_hh, column * emitted_size, vectors * gates * n,
                             b_hh, column, 0,
                             a_h, 0, width * n)
                        step_tile(height, vectors,
                                  a_x, (a_x_row + row) * columns + column, columns,
                                  a_h, width * n,
                                  states, j * hidden_p + unit * n, hidden_p, batch * hidden_p,
                                  saved, (first + j) * saved_row + unit * saved_count * n,
                                  saved_row)
                        row += height
                if w_hr.size:
                    product(rows, emitted_size, hidden_size, TERMS,
                            states, j0 * hidden_p, hidden_p, 1,
                            w_hr, 0, WIDEST * n * hidden_size, 0, WIDEST, zeros, 0, 0,
                            emitted, j0 * emitted_p, emitted_p)
                for j in range(j0, j0 + rows):
                    if not w_hr.size:
                        copy_row(emitted, j * emitted_p, states, j * hidden_p, hidden_p)
                    elif saved.size:
                        copy_row(unprojected, (first + j) * hidden_p, states, j * hidden_p,
                                 hidden_p)
                    t = time_of(s, lengths[j], reverse)
                    copy_row(output, out_at + t * out_time + order[j] * out_row,
                             emitted, j * emitted_p, emitted_size)
                a_x_row += rows
                first += running
            begin = end

    return forward


def bind_backward(name, step_backward, gates, states_count, saved_count):
    """Return the compiled BPTT of a cell: steps s1..s0, backwards, of one slice of the batch."""

    @jit(name=f"{name}_step_backward")
    def step_row(
        hidden_size,
        saved, saved_at, h, h_at,            # of one row
        d_states, states_at, between,        # states `between` apart; changed
        d_a_x, d_a_h, d_at, shared,          # written
    ):
        n = lanes(d_a_h)
        for unit in range((hidden_size + n - 1) // n):
            at, gates_at = states_at + unit * n, d_at + unit * gates * n
            d_x, d_h, d_state = step_backward(
                load_many(saved, saved_at + unit * saved_count * n, n, saved_count),
                load(h, h_at + unit * n),
                load_many(d_states, at, between, states_count))
            store_many(d_states, at, between, d_state)
            # Padded lanes may hold NaN (inf * 0), and a product will sum over them.
            there = min(n, hidden_size - unit * n)
            store_many(d_a_h, gates_at, n, keep_lanes(d_h, there))
            if not shared:
                store_many(d_a_x, gates_at, n, keep_lanes(d_x, there))

    @jit(name=f"{name}_backward")
    def backward(
        order, lengths, reverse,
        saved,                                       # as forward wrote it
        output, out_at, out_time, out_row,           # h after each step; none of it is changed
        h_0,                                         # (B, Ep) h before the first step
        d_output, d_out_at, d_out_time, d_out_row,   # flat; empty: zero
        w_hh, w_hr, zeros,                           # packed (GHp, E); packed (E, H) or empty
        hidden_size, emitted_size,
        d_states,      # (states, B, Hp) changed: gradient at the state after s1, then before s0
        d_emitted,     # (B, Ep)         changed: the same for the emitted h
        d_a_x, d_a_h,  # (rows, pitch) written; one array where `shared`
        shared,
        h_rows,        # (rows, pitch) written: h before each step
        d_h_rows,      # (rows, pitch) written: gradient at each projected h; empty: no projection
        place,         # (rows,) written: time * B + sequence
        row0, s0, s1, j0, j1,                        # rows are counted from row0, that of s0
        row1,                                        # the number behind the last row of step s1
    ):
        n = lanes(d_a_h)
        batch, hidden_p, emitted_p = d_states.shape[1], d_states.shape[2], d_emitted.shape[1]
        a_pitch, h_pitch, d_h_pitch = d_a_h.shape[1], h_rows.shape[1], d_h_rows.shape[1]
        d_states, d_emitted, h_0 = flat(d_states), flat(d_emitted), flat(h_0)
        d_a_x, d_a_h, h_rows, d_h_rows = flat(d_a_x), flat(d_a_h), flat(h_rows), flat(d_h_rows)
        saved = flat(saved)
        k, saved_row = hidden_p * gates, hidden_p * saved_count
        running, first = 0, row1
        for s in range(s1 - 1, s0 - 1, -1):
            while running < batch and lengths[running] > s:
                running += 1
            first -= running
            rows = min(running, j1) - j0
            if rows <= 0:
                continue
            at_row = first - row0 + j0
            for j in range(j0, j0 + rows):
                t = time_of(s, lengths[j], reverse)
                row = at_row + j - j0
                place[row] = t * batch + order[j]
                if d_output.size:
                    add_row(d_emitted, j * emitted_p, d_output,
                            d_out_at + t * d_out_time + order[j] * d_out_row, emitted_size)
                if s == 0:
                    copy_row(h_rows, row * h_pitch, h_0, j * emitted_p, emitted_p)
                else:
                    before = time_of(s - 1, lengths[j], reverse)
                    copy_row(h_rows, row * h_pitch, output,
                             out_at + before * out_time + order[j] * out_row, emitted_size)
                if w_hr.size:
                    copy_row(d_h_rows, row * d_h_pitch, d_emitted, j * emitted_p, emitted_p)
                else:
                    copy_row(d_states, j * hidden_p, d_emitted, j * emitted_p, emitted_p)
            if w_hr.size:
                product(rows, hidden_p, emitted_size, TERMS,
                        d_emitted, j0 * emitted_p, emitted_p, 1,
                        w_hr, 0, WIDEST * n * emitted_p, 0, WIDEST, zeros, 0, 0,
                        d_states, j0 * hidden_p, hidden_p)
            for j in range(j0, j0 + rows):
                row = at_row + j - j0
                step_row(hidden_size, saved, (first + j) * saved_row, h_rows, row * h_pitch,
                         d_states, j * hidden_p, batch * hidden_p,
                         d_a_x, d_a_h, row * a_pitch, shared)
            # d_states[0] is the part of d_h that does not come through a_h: under a projection,
            # where it would have another size, cells have none and it is 0.
            product(rows, emitted_p, k, TERMS, d_a_h, at_row * a_pitch, a_pitch, 1,
                    w_hh, 0, WIDEST * n * k, 0, WIDEST,
                    d_states, j0 * hidden_p, hidden_p,
                    d_emitted, j0 * emitted_p, emitted_p)

    return backward
