"""WHEN, once more: what training keeps of a stretch of steps, computed again from the output.

What makes forward.py a loop is that a step needs the h of the step before. Here every h is
known, the caller has it as the output. So both parts of the pre-activations are large products
over many steps, and hidden units need nothing of each other: each thread takes its own from the
first step to the last. Only the states besides h (an LSTM's c) go on from step to step, from
where the forward pass left them. It is the same arithmetic in the same order: the same bits.

Rows and letters are those of forward.py. backward.py reads what is written here.

Source: Chen et al. 2016, "Training deep nets with sublinear memory cost", arXiv:1604.06174.
"""

from fastrnn.engine.forward import (
    A_H,
    A_X,
    W_HH,
    W_IH,
    X_ROWS,
    Kept,
    Target,
    begin_states,
    pack_part,
    region,
)
from fastrnn.engine.inputs import Sequences, Weights, input_part, time_of
from fastrnn.kernels import parallel
from fastrnn.kernels.gemm import block_bias, product
from fastrnn.kernels.jit import jit, kernel
from fastrnn.kernels.machine import flush_denormals, outlined, restore_mode
from fastrnn.kernels.memory import flat, part_of
from fastrnn.kernels.rows import copy_row, fill
from fastrnn.kernels.simd import lanes
from fastrnn.kernels.tile import TERMS


@jit
def _earlier(sequences, target, lengths):
    """Return the output as an input whose step s - 1 is the h that step s needs.

    lengths: one less than those of the sequences, whose last h no step needs.
    """
    reverse = sequences.reverse
    at = target.at + (target.time if reverse else 0)
    return Sequences(
        part_of(target.flat, at, target.flat.size - at),
        sequences.index,
        target.time,
        target.row,
        sequences.order,
        lengths,
        reverse,
    )


def bind_replay(name, step_tile, begin, gates, states_count, saved_count, width):
    """Return the compiled replay of a cell; step_tile and begin are recurrence's."""
    units = width // gates

    @jit(name=f"{name}_again")
    def again(
        part,
        parts,
        s0,
        s1,
        row0,
        chunk,
        input_size,
        hidden_size,
        emitted_size,
        sequences,
        earlier,
        weights,
        states,
        kept,
        work,
        offsets,
    ):
        """All steps of the stretch, for a share of the hidden units."""
        n, batch = lanes(work), sequences.order.size
        blocks = (hidden_size + n - 1) // n
        panels = (blocks + units - 1) // units
        unit0 = panels * part // parts * units
        unit1 = min(blocks, panels * (part + 1) // parts * units)
        hidden_p, columns = blocks * n, blocks * gates * n
        column, saved_row = unit0 * gates * n, blocks * saved_count * n
        x_rows = region(work, offsets, X_ROWS, part, parts)
        a_x, a_h = region(work, offsets, A_X, 0, 1), region(work, offsets, A_H, 0, 1)
        recurrent = Weights(
            False,
            False,
            weights.w_hh,
            weights.w_hh,
            weights.w_hr,
            weights.b_hh,
            weights.b_hh,
            weights.zeros,
        )
        running, first = batch, row0
        for early in range(s0, s1, chunk):
            late = min(early + chunk, s1)
            input_part(
                early,
                late,
                chunk,
                0,
                batch,
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
            rows = 0  # of a_h that the output has nothing for
            if early == 0:
                rows = batch
                while rows > 0 and sequences.lengths[rows - 1] == 0:
                    rows -= 1
                product(
                    rows,
                    (unit1 - unit0) * gates * n,
                    emitted_size,
                    TERMS,
                    states.emitted,
                    0,
                    states.emitted_row,
                    1,
                    weights.w_hh,
                    column * emitted_size,
                    width * n * emitted_size,
                    0,
                    width,
                    weights.b_hh,
                    column,
                    0,
                    a_h,
                    column,
                    columns,
                )
            if late > 1:
                input_part(
                    max(early, 1) - 1,
                    late - 1,
                    chunk,
                    0,
                    batch,
                    unit0,
                    unit1,
                    earlier,
                    recurrent,
                    emitted_size,
                    hidden_size,
                    gates,
                    width,
                    x_rows,
                    part_of(a_h, rows * columns, a_h.size - rows * columns),
                )
            rows = 0
            for s in range(early, late):
                while running > 0 and sequences.lengths[running - 1] <= s:
                    running -= 1
                new = (s + 1) % 2 * states.turn + unit0 * n
                at = rows * columns + column
                step_tile(
                    running,
                    unit1 - unit0,
                    a_x,
                    at,
                    columns,
                    part_of(a_h, at, a_h.size - at),
                    columns,
                    states.buffers,
                    s % 2 * states.turn + unit0 * n,
                    new,
                    states.row,
                    batch * states.row,
                    kept.saved,
                    first * saved_row + unit0 * saved_count * n,
                    saved_row,
                )
                if kept.unprojected.size:
                    for row in range(running):
                        copy_row(
                            kept.unprojected,
                            (first + row) * hidden_p + unit0 * n,
                            states.buffers,
                            new + row * states.row,
                            (unit1 - unit0) * n,
                        )
                rows += running
                first += running

    @kernel(name=f"{name}_replay")
    def replay(
        pool,
        threads,  # threads.call; as many parts of the units
        x,
        index,
        time,
        row,
        order,
        lengths,
        reverse,  # Sequences
        less,  # (B,) lengths - 1
        w_ih,
        w_hh,
        b_ih,
        b_hh,  # the caller's; of size 0: not there
        number,
        h_0,
        others_0,  # as for the forward pass
        others,  # (states - 1, B, H) in order, before s0
        output,
        out_at,
        out_time,
        out_row,  # Target, read
        saved,
        unprojected,  # Kept, written: of this stretch
        gather,
        chunk,
        offsets,
        work,  # workspace.ReplayPlan, and its memory
        pack,  # the weights into `work`, first
        row0,  # row of `saved` for step s0; if it is not
        s0,
        s1,  # 0, `work` has the states before s0
    ):
        mode = flush_denormals()
        owned = threads > 1 and parallel.acquire(pool)
        work, offsets = flat(work), flat(offsets)
        input_size, emitted_size = w_ih.shape[1], w_hh.shape[1]
        hidden_size = w_ih.shape[0] // gates
        sequences = Sequences(flat(x), flat(index), time, row, flat(order), flat(lengths), reverse)
        projects, batch = unprojected.size > 0, order.size
        # As under a projection: the emitted h_0 has a place that no step writes, for other parts
        # may still want it.
        weights, states = begin(
            batch, emitted_size, True, False, gather, flat(w_ih), flat(w_hh), work, offsets
        )
        target = Target(flat(output), out_at, out_time, out_row)
        if pack:
            # There is no place for W_hr, which is not multiplied: any matrix stands for it.
            parallel.share(
                pool,
                owned,
                threads,
                outlined(
                    pack_part,
                    (
                        threads,
                        w_ih,
                        w_hh,
                        w_hh,
                        gates,
                        width,
                        region(work, offsets, W_IH, 0, 1),
                        region(work, offsets, W_HH, 0, 1),
                        weights.w_hr,
                    ),
                ),
            )
            block_bias(b_ih, gates, weights.b_ih)
            block_bias(b_hh, gates, weights.b_hh)
            fill(weights.zeros, 0, weights.zeros.size, 0)
        if s0 == 0:
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
        for j in range(0 if row0 else batch):
            to = s0 % 2 * states.turn + j * states.row
            if not projects and s0 == 0:  # under a projection a cell does not read h
                copy_row(states.buffers, to, states.emitted, j * states.emitted_row, hidden_size)
            elif not projects and sequences.lengths[j] > s0:
                t = time_of(s0 - 1, sequences.lengths[j], reverse)
                copy_row(
                    states.buffers,
                    to,
                    target.flat,
                    target.at + t * target.time + sequences.order[j] * target.row,
                    hidden_size,
                )
            if s0 > 0:
                for i in range(states_count - 1):
                    copy_row(
                        states.buffers,
                        to + (i + 1) * batch * states.row,
                        flat(others),
                        (i * batch + j) * hidden_size,
                        hidden_size,
                    )
        parallel.share(
            pool,
            owned,
            threads,
            outlined(
                again,
                (
                    threads,
                    s0,
                    s1,
                    row0,
                    chunk,
                    input_size,
                    hidden_size,
                    emitted_size,
                    sequences,
                    _earlier(sequences, target, flat(less)),
                    weights,
                    states,
                    Kept(flat(saved), flat(unprojected)),
                    work,
                    offsets,
                ),
            ),
        )
        if owned:
            parallel.release(pool)
        restore_mode(mode)

    return replay
