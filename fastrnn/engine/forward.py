"""WHEN, forward: the loop over time. The loop back is in backward.py.

One path serves all cells: a cell brings `step`, a function of a few vectors (cells/contract.py),
and `bind_forward` puts the loops around it. No cell is named here.

    a_x = b_ih + x W_ihᵀ      one product for many steps
    a_h = b_hh + h W_hhᵀ      one tile at a time, consumed by `step` while in L1

Rows. The B sequences are sorted by falling length, so that at step s the first so many are still
running. Real steps are numbered s by s, row after row of those running: with equal lengths, step
s of row j is row s * B + j. A sequence is read in the direction it is given or, `reverse`, from
its own end.

Threads. Either the batch is cut into slices, which share nothing but weights; or, where the
weights are large, the hidden units are cut into chunks that march step by step (kernels/team.py),
each weight read by one core only. What is computed, and in which order it is summed, is the same.

Weights. Packed for the tile (kernels/gemm.py), or, `thin`, where the steps are too few for that to
pay, read as they lie in memory (kernels/dots.py).

Letters: T time, B batch, I input, H hidden, E emitted (H, or the projection's size), G gates; with
a p behind it, rounded up to whole vectors. Pre-activations have blocked columns (kernels/gemm.py).
Kernels allocate nothing, check nothing, raise nothing: workspace.py and checks.py did.
"""

from typing import NamedTuple

import numpy as np

from fastrnn.engine.inputs import Sequences, Weights, affine_thin, input_part, time_of
from fastrnn.kernels import parallel
from fastrnn.kernels.gemm import block_bias, pack_gates, product
from fastrnn.kernels.jit import jit, kernel
from fastrnn.kernels.machine import flush_denormals, outlined, restore_mode
from fastrnn.kernels.memory import flat, load_many, part_of, store_many
from fastrnn.kernels.rows import copy_row, fill
from fastrnn.kernels.simd import lanes
from fastrnn.kernels.tile import TERMS, WIDEST, most_rows, tile


class Target(NamedTuple):
    """Where h goes: E values for (t, b) begin at `at` + t * time + b * row."""

    flat: np.ndarray
    at: int
    time: int
    row: int


# Regions of the work space, as numbered in workspace.Plan.
W_IH, W_HH, W_HR, B_IH, B_HH, ZEROS, STATES, EMITTED, X_ROWS, A_X, A_H = range(11)


class States(NamedTuple):
    """The states before and after a step, in two buffers that swap roles at every step."""

    buffers: np.ndarray  # flat (2, states, B, row)
    turn: int  # from one to the other
    row: int  # at least Hp
    emitted: np.ndarray  # flat: the h that W_hh multiplies; without projection, `buffers`
    emitted_turn: int  # 0: a projected h has one buffer
    emitted_row: int


class Kept(NamedTuple):
    """What training keeps, row by row; empty: nothing."""

    saved: np.ndarray  # flat (rows, Hp / lanes, saved, lanes)
    unprojected: np.ndarray  # flat (rows, Hp): h before the projection


@jit
def region(work, offsets, number, part, parts):
    """Return one part of a region of the work space (workspace.Plan)."""
    size = (offsets[number + 1] - offsets[number]) // parts
    at = offsets[number] + part * size
    return part_of(work, at, size)


@jit
def pack_part(part, parts, w_ih, w_hh, w_hr, gates, width, packed_ih, packed_hh, packed_hr):
    """Pack a share of each weight that has a place to go."""
    if packed_ih.size:
        pack_gates(w_ih, gates, width, packed_ih, part, parts)
    if packed_hh.size:
        pack_gates(w_hh, gates, width, packed_hh, part, parts)
    if packed_hr.size:
        pack_gates(w_hr, 1, WIDEST, packed_hr, part, parts)


@jit
def begin_states(
    order, number, first, others, states, states_count, states_row, emitted, emitted_row
):
    """Put the states of pass `number`, or zeros, into the first buffer (passes.States)."""
    batch = order.size
    fill(states, 0, states_count * batch * states_row, 0)
    fill(emitted, 0, batch * emitted_row, 0)
    for j in range(batch):
        if first.size:
            size = first.shape[2]
            copy_row(
                emitted, j * emitted_row, flat(first), (number * batch + order[j]) * size, size
            )
        if others.size:
            passes, size = others.shape[1], others.shape[3]
            for i in range(states_count - 1):
                copy_row(
                    states,
                    ((i + 1) * batch + j) * states_row,
                    flat(others),
                    ((i * passes + number) * batch + order[j]) * size,
                    size,
                )


@jit
def end_states(
    order,
    lengths,
    number,
    states,
    turn,
    states_row,
    emitted,
    emitted_turn,
    emitted_row,
    first,
    others,
):
    """Give the caller the states, from the buffer that each sequence's last step wrote."""
    batch = order.size
    for j in range(batch):
        which, size = lengths[j] % 2, first.shape[2]
        copy_row(
            flat(first),
            (number * batch + order[j]) * size,
            emitted,
            which * emitted_turn + j * emitted_row,
            size,
        )
        passes, size = others.shape[1], others.shape[3]
        for i in range(others.shape[0]):
            copy_row(
                flat(others),
                ((i * passes + number) * batch + order[j]) * size,
                states,
                which * turn + ((i + 1) * batch + j) * states_row,
                size,
            )


def bind_tile(name, step, gates, states_count, saved_count):
    """Return a cell's step of a tile: of a few sequences and vectors of hidden units."""

    @jit(name=f"{name}_step")
    def step_tile(
        rows,
        vectors,  # of the tile: sequences, vectors of hidden units
        a_x,
        a_x_at,
        a_x_row,  # (rows, vectors * gates * lanes), as a_h
        a_h,
        a_h_row,
        states,
        old,
        new,
        row_length,
        between,  # rows row_length apart, states `between`
        saved,
        saved_at,
        saved_row,  # empty: keep nothing
    ):
        n = lanes(a_h)
        for r in range(rows):
            for v in range(vectors):
                at = r * row_length + v * n
                after, kept = step(
                    load_many(a_x, a_x_at + r * a_x_row + v * gates * n, n, gates),
                    load_many(a_h, r * a_h_row + v * gates * n, n, gates),
                    load_many(states, old + at, between, states_count),
                )
                store_many(states, new + at, between, after)
                if saved.size:
                    store_many(saved, saved_at + r * saved_row + v * saved_count * n, n, kept)

    return step_tile


def bind_forward(name, step_tile, gates, states_count, saved_count, width):
    """Return the compiled forward pass of a cell, in one direction, and one step of its stream.

    And third, for recompute.py, the function that finds weights and states in a work space.
    step_tile is bind_tile's.
    """
    tallest = most_rows(width)
    units = width // gates

    @jit(name=f"{name}_advance")
    def advance(
        s,
        rows,
        j0,
        unit0,
        unit1,
        first,
        hidden_size,
        emitted_size,
        sequences,
        weights,
        states,
        kept,
        target,
        a_x,
        a_x_row,
        a_h,
    ):
        """Compute step s of `rows` sequences from j0 on, for some blocks of hidden units."""
        n = lanes(a_h)
        batch = sequences.order.size
        blocks = (hidden_size + n - 1) // n
        hidden_p, columns, saved_row = blocks * n, blocks * gates * n, blocks * saved_count * n
        before, after = s % 2, (s + 1) % 2
        old, new = before * states.turn + j0 * states.row, after * states.turn + j0 * states.row
        h_at = before * states.emitted_turn + j0 * states.emitted_row
        tiles = 1 if weights.thin else (rows + tallest - 1) // tallest
        for unit in range(unit0, unit1, units):
            vectors = min(units, unit1 - unit)
            column, row = unit * gates * n, 0
            for i in range(tiles):
                height = (rows - row + tiles - i - 1) // (tiles - i)
                if weights.thin:
                    affine_thin(
                        rows,
                        emitted_size,
                        states.emitted,
                        h_at,
                        states.emitted_row,
                        weights.w_hh,
                        weights.b_hh,
                        gates,
                        hidden_size,
                        unit,
                        unit + vectors,
                        a_h,
                        0,
                        width * n,
                    )
                else:
                    tile(
                        height,
                        vectors * gates,
                        n,
                        emitted_size,
                        TERMS,
                        states.emitted,
                        h_at + row * states.emitted_row,
                        states.emitted_row,
                        1,
                        weights.w_hh,
                        column * emitted_size,
                        vectors * gates * n,
                        weights.b_hh,
                        column,
                        0,
                        a_h,
                        0,
                        width * n,
                    )
                step_tile(
                    height,
                    vectors,
                    a_x,
                    (a_x_row + row) * columns + column,
                    columns,
                    a_h,
                    width * n,
                    states.buffers,
                    old + row * states.row + unit * n,
                    new + row * states.row + unit * n,
                    states.row,
                    batch * states.row,
                    kept.saved,
                    (first + j0 + row) * saved_row + unit * saved_count * n,
                    saved_row,
                )
                row += height
        if weights.w_hr.size:
            product(
                rows,
                emitted_size,
                hidden_size,
                TERMS,
                states.buffers,
                new,
                states.row,
                1,
                weights.w_hr,
                0,
                WIDEST * n * hidden_size,
                0,
                WIDEST,
                weights.zeros,
                0,
                0,
                states.emitted,
                h_at,
                states.emitted_row,
            )
            if kept.saved.size:
                for row in range(rows):
                    copy_row(
                        kept.unprojected,
                        (first + j0 + row) * hidden_p,
                        states.buffers,
                        new + row * states.row,
                        hidden_p,
                    )
        begin = unit0 * n
        count = (emitted_size if weights.w_hr.size else min(emitted_size, unit1 * n)) - begin
        h_at = after * states.emitted_turn + j0 * states.emitted_row
        for row in range(rows):
            j = j0 + row
            t = time_of(s, sequences.lengths[j], sequences.reverse)
            to = target.at + t * target.time + sequences.order[j] * target.row
            copy_row(
                target.flat,
                to + begin,
                states.emitted,
                h_at + row * states.emitted_row + begin,
                count,
            )

    @jit(name=f"{name}_run")
    def run(
        part,
        parts,
        pool,
        chunks,
        cuts,
        s0,
        s1,
        chunk,
        row0,
        input_size,
        hidden_size,
        emitted_size,
        sequences,
        weights,
        states,
        kept,
        target,
        work,
        offsets,
    ):
        """All steps: of one slice of the batch, or marching, of whatever chunks are to be done."""
        slices = cuts.size - 1
        j0, j1 = (0, cuts[slices]) if chunks else (cuts[part], cuts[part + 1])
        x_rows = region(work, offsets, X_ROWS, part, parts)
        a_x = region(work, offsets, A_X, 0 if chunks else part, slices)
        a_h = region(work, offsets, A_H, part, parts)
        blocks = (hidden_size + lanes(work) - 1) // lanes(work)
        panels = (blocks + units - 1) // units
        unit0, unit1 = 0, blocks
        running, first, begin, a_x_row, s, waited = sequences.lengths.size, row0, s0, 0, s0, 0
        while s < s1:
            while running > 0 and sequences.lengths[running - 1] <= s:
                running -= 1
            rows = min(running, j1) - j0
            if rows <= 0:
                return
            if chunks == 0 or parallel.step_of_march(pool, chunks) == s:
                if chunks:
                    mine = parallel.claim_chunk(pool, s, part, chunks, waited)
                    if mine < 0:
                        parallel.wait_a_little(pool, waited)
                        waited += 1
                        continue
                    unit0 = mine * panels // chunks * units
                    unit1 = min(blocks, (mine + 1) * panels // chunks * units)
                if s == begin:
                    input_part(
                        s,
                        min(s + chunk, s1),
                        chunk,
                        j0,
                        j1,
                        unit0,
                        unit1,
                        sequences,
                        weights,
                        input_size,
                        hidden_size,
                        gates,
                        width,
                        x_rows,
                        a_x,
                    )
                advance(
                    s,
                    rows,
                    j0,
                    unit0,
                    unit1,
                    first,
                    hidden_size,
                    emitted_size,
                    sequences,
                    weights,
                    states,
                    kept,
                    target,
                    a_x,
                    a_x_row,
                    a_h,
                )
                if chunks:
                    parallel.chunk_done(pool)
                    waited = 0
                    continue  # with another chunk of this step, if one is left
            a_x_row += rows
            first += running
            s += 1
            if s == begin + chunk:
                begin, a_x_row = s, 0

    @jit(name=f"{name}_begin")
    def begin(batch, emitted_size, projects, thin, gather, w_ih, w_hh, work, offsets):
        """Return the weights and states that lie in a work space; w_ih, w_hh: the caller's."""
        buffers = region(work, offsets, STATES, 0, 1)
        row = buffers.size // (2 * states_count * batch)
        turn = states_count * batch * row
        weights = Weights(
            thin,
            gather,
            w_ih if thin or gather else region(work, offsets, W_IH, 0, 1),
            w_hh if thin else region(work, offsets, W_HH, 0, 1),
            region(work, offsets, W_HR, 0, 1),
            region(work, offsets, B_IH, 0, 1),
            region(work, offsets, B_HH, 0, 1),
            region(work, offsets, ZEROS, 0, 1),
        )
        if projects:
            emitted = region(work, offsets, EMITTED, 0, 1)
            return weights, States(buffers, turn, row, emitted, 0, emitted.size // batch)
        return weights, States(buffers, turn, row, buffers, turn, row)

    @jit(name=f"{name}_share")
    def share_run(
        pool,
        owned,
        threads,
        chunks,
        cuts,
        s0,
        s1,
        chunk,
        row0,
        input_size,
        hidden_size,
        emitted_size,
        sequences,
        weights,
        states,
        kept,
        target,
        work,
        offsets,
    ):
        """Run steps s0..s1, marching or in slices, with whoever helps."""
        if not owned:
            chunks = 0
        if chunks:
            parallel.begin_march(pool, s0, chunks, threads)
        parts = threads if chunks else cuts.size - 1
        parallel.share(
            pool,
            owned,
            parts,
            outlined(
                run,
                (
                    parts,
                    pool,
                    chunks,
                    cuts,
                    s0,
                    s1,
                    chunk,
                    row0,
                    input_size,
                    hidden_size,
                    emitted_size,
                    sequences,
                    weights,
                    states,
                    kept,
                    target,
                    work,
                    offsets,
                ),
            ),
        )

    @kernel(name=f"{name}_forward")
    def forward(
        pool,
        threads,  # threads.call; 1: use no other
        x,
        index,
        time,
        row,
        order,
        lengths,
        reverse,  # Sequences
        w_ih,
        w_hh,
        b_ih,
        b_hh,
        w_hr,  # the caller's; of size 0: not there
        number,  # of this pass, in the states:
        h_0,
        others_0,  # passes.States; of size 0: zeros
        h_n,
        others_n,  # passes.States, written
        output,
        out_at,
        out_time,
        out_row,  # Target
        saved,
        unprojected,  # Kept
        thin,
        gather,
        chunks,
        chunk,
        cuts,
        offsets,
        work,  # workspace.Plan, and its memory
        row0,  # number of the first row of step s0
        s0,
        s1,  # these steps; the work space keeps the state
    ):
        mode = flush_denormals()
        work, cuts, offsets = flat(work), flat(cuts), flat(offsets)
        owned = threads > 1 and parallel.acquire(pool)
        input_size, emitted_size = w_ih.shape[1], w_hh.shape[1]
        hidden_size = w_ih.shape[0] // gates
        sequences = Sequences(flat(x), flat(index), time, row, flat(order), flat(lengths), reverse)
        weights, states = begin(
            order.size,
            emitted_size,
            w_hr.size > 0,
            thin,
            gather,
            flat(w_ih),
            flat(w_hh),
            work,
            offsets,
        )
        kept = Kept(flat(saved), flat(unprojected))
        target = Target(flat(output), out_at, out_time, out_row)
        if s0 == 0:
            to_ih, to_hh = region(work, offsets, W_IH, 0, 1), region(work, offsets, W_HH, 0, 1)
            parts = threads if to_ih.size + to_hh.size > 1 << 16 else 1
            parallel.share(
                pool,
                owned,
                parts,
                outlined(
                    pack_part, (parts, w_ih, w_hh, w_hr, gates, width, to_ih, to_hh, weights.w_hr)
                ),
            )
            block_bias(b_ih, gates, weights.b_ih)
            block_bias(b_hh, gates, weights.b_hh)
            fill(weights.zeros, 0, weights.zeros.size, 0)
            begin_states(
                sequences.order,
                number,
                h_0,
                others_0,
                states.buffers,
                states_count,
                states.row,
                states.emitted,
                states.emitted_row,
            )
        share_run(
            pool,
            owned,
            threads,
            chunks,
            cuts,
            s0,
            s1,
            chunk,
            row0,
            input_size,
            hidden_size,
            emitted_size,
            sequences,
            weights,
            states,
            kept,
            target,
            work,
            offsets,
        )
        if s1 == lengths[0]:
            end_states(
                sequences.order,
                sequences.lengths,
                number,
                states.buffers,
                states.turn,
                states.row,
                states.emitted,
                states.emitted_turn,
                states.emitted_row,
                h_n,
                others_n,
            )
        if owned:
            parallel.release(pool)
        restore_mode(mode)

    @kernel(name=f"{name}_stream")
    def stream(
        pool,
        threads,
        one_hot,  # read the classes in rows[0], else x
        s,  # at least 1: only whether it is even matters
        hidden_size,
        projects,
        rows,  # (3, B): classes, order, lengths (> s)
        x,
        output,  # (B, I); (B, E) written
        chunks,
        cuts,
        offsets,
        work,  # of workspace.plan_stream, as forward left it
    ):
        """One step more of what `forward` has begun: packed weights and state are in `work`."""
        mode = flush_denormals()
        owned = threads > 1 and parallel.acquire(pool)
        work, cuts, offsets = flat(work), flat(cuts), flat(offsets)
        (batch, input_size), emitted_size = x.shape, output.shape[1]
        numbers, nothing = flat(rows), part_of(work, 0, 0)
        x, width_of_x = (nothing, 1) if one_hot else (flat(x), input_size)
        sequences = Sequences(
            x,
            part_of(numbers, 0, batch),
            0,
            width_of_x,
            part_of(numbers, batch, batch),
            part_of(numbers, 2 * batch, batch),
            False,
        )
        weights, states = begin(
            batch, emitted_size, projects, False, False, nothing, nothing, work, offsets
        )
        share_run(
            pool,
            owned,
            threads,
            chunks,
            cuts,
            s,
            s + 1,
            1,
            0,
            input_size,
            hidden_size,
            emitted_size,
            sequences,
            weights,
            states,
            Kept(nothing, nothing),
            Target(flat(output), 0, 0, emitted_size),
            work,
            offsets,
        )
        if owned:
            parallel.release(pool)
        restore_mode(mode)

    return forward, stream, begin
