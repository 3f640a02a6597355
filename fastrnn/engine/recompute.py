"""Recomputation of saved activations for one checkpoint segment, from the known output.

What makes the forward pass a loop is that a step needs the h of the step before. Here every h is
known: the caller has it as the output. So both parts of the pre-activations are large products
over many steps, and hidden units need nothing of each other: each thread takes its own from the
first step to the last. Only the states besides h go on from step to step, from where the forward
pass left them. It is the same arithmetic in the same order: the same bits.

Rows and notation are those of forward.py. backward.py reads what is written here.

Source: Chen et al. 2016, "Training deep nets with sublinear memory cost", arXiv:1604.06174.
"""

from fastrnn.engine.inputs import input_part, is_cut, time_of
from fastrnn.engine.operands import Pass, pack_part
from fastrnn.engine.records import BatchedInput, Kept, Operands, read_input, read_rows
from fastrnn.engine.states import cut_states, load_states
from fastrnn.engine.work import FORWARD, read_plan, region
from fastrnn.kernels import parallel
from fastrnn.kernels.gemm import block_bias, product
from fastrnn.kernels.jit import jit, kernel
from fastrnn.kernels.machine import flush_denormals, outlined, restore_mode
from fastrnn.kernels.memory import flat, part_of
from fastrnn.kernels.rows import clear, copy_row
from fastrnn.kernels.simd import lanes
from fastrnn.kernels.tile import TERMS


@jit
def _earlier(sequences, output, lengths):
    """Return the output as an input whose step s - 1 is the h that step s needs.

    lengths: one less than those of the sequences, whose last h no step needs.
    """
    at = output.at + (output.time if sequences.reverse else 0)
    cuts, batch = sequences.cuts, sequences.order.size
    none = part_of(cuts, 0, 0)
    return BatchedInput(
        part_of(output.array, at, output.array.size - at),
        sequences.index,
        output.time,
        output.row,
        sequences.order,
        lengths,
        sequences.reverse,
        none,
        # Of either direction: the h at time t is cut off from what reads it by the reset at t + 1.
        part_of(cuts, batch, cuts.size - batch) if cuts.size else none,
    )


def bind_recompute(name, step_tile, operands_in, gates, states_count, saved_count, width):
    """Return the compiled recomputation of a cell; step_tile and operands_in as bind_forward's."""
    units = width // gates

    @jit(name=f"{name}_run_recompute")
    def run_recompute(part, parts, s0, s1, row0, block, this, earlier, work, offsets):
        """All steps of the segment, for a share of the hidden units."""
        sequences, operands, states, kept = this.sequences, this.operands, this.states, this.kept
        hidden_size, emitted_size = this.hidden_size, this.emitted_size
        n, batch = lanes(work), sequences.order.size
        blocks = (hidden_size + n - 1) // n
        panels = (blocks + units - 1) // units
        unit0 = panels * part // parts * units
        unit1 = min(blocks, panels * (part + 1) // parts * units)
        hidden_p, columns = blocks * n, blocks * gates * n
        column, saved_row = unit0 * gates * n, blocks * saved_count * n
        x_rows = region(work, offsets, FORWARD.x_rows, part, parts)
        a_x = region(work, offsets, FORWARD.a_x, 0, 1)
        a_h = region(work, offsets, FORWARD.a_h, 0, 1)
        recurrent = Operands(
            True,
            False,
            operands.w_hh,
            operands.w_hh,
            operands.w_hr,
            operands.b_hh,
            operands.b_hh,
            operands.zeros,
        )
        running, first = batch, row0
        for early in range(s0, s1, block):
            late = min(early + block, s1)
            input_part(early, late, block, 0, batch, unit0, unit1, sequences, operands,
                       this.input_size, hidden_size, gates, width, x_rows, a_x)  # fmt: skip
            rows = 0  # of a_h that the output has nothing for
            if early == 0:
                rows = batch
                while rows > 0 and sequences.lengths[rows - 1] == 0:
                    rows -= 1
                product(rows, (unit1 - unit0) * gates * n, emitted_size, TERMS,
                        states.emitted, 0, states.emitted_row, 1,
                        operands.w_hh, column * emitted_size, width * n * emitted_size, 0, width,
                        operands.b_hh, column, 0, a_h, column, columns)  # fmt: skip
            if late > 1:
                rest = part_of(a_h, rows * columns, a_h.size - rows * columns)
                input_part(max(early, 1) - 1, late - 1, block, 0, batch, unit0, unit1, earlier,
                           recurrent, emitted_size, hidden_size, gates, width,
                           x_rows, rest)  # fmt: skip
            rows = 0
            for s in range(early, late):
                while running > 0 and sequences.lengths[running - 1] <= s:
                    running -= 1
                new = (s + 1) % 2 * states.stride + unit0 * n
                at = rows * columns + column
                step_tile(running, unit1 - unit0, a_x, at, columns,
                          part_of(a_h, at, a_h.size - at), columns,
                          states.buffers, s % 2 * states.stride + unit0 * n, new,
                          states.row, batch * states.row,
                          kept.saved, first * saved_row + unit0 * saved_count * n,
                          saved_row)  # fmt: skip
                if kept.unprojected.size:
                    for row in range(running):
                        to, from_at = (first + row) * hidden_p + unit0 * n, new + row * states.row
                        copy_row(kept.unprojected, to, states.buffers, from_at, (unit1 - unit0) * n)
                cut_states(s + 1, running, 0, sequences, states.buffers, new - unit0 * n,
                           states_count, states.row, unit0 * n, (unit1 - unit0) * n)  # fmt: skip
                rows += running
                first += running

    @jit(name=f"{name}_resume_states")
    def resume_states(s0, projects, sequences, output, carried, states, hidden_size):
        """Put the states before step s0 where its step reads them."""
        batch = sequences.order.size
        for j in range(batch):
            to = s0 % 2 * states.stride + j * states.row
            if not projects and s0 == 0:  # under a projection a cell does not read h
                at = j * states.emitted_row
                copy_row(states.buffers, to, states.emitted, at, hidden_size)
            elif not projects and sequences.lengths[j] > s0 and is_cut(sequences, s0, j):
                clear(states.buffers, to, hidden_size)
            elif not projects and sequences.lengths[j] > s0:
                t = time_of(s0 - 1, sequences.lengths[j], sequences.reverse)
                at = output.at + t * output.time + sequences.order[j] * output.row
                copy_row(states.buffers, to, output.array, at, hidden_size)
            if s0 > 0:
                for i in range(states_count - 1):
                    copy_row(
                        states.buffers,
                        to + (i + 1) * batch * states.row,
                        carried,
                        (i * batch + j) * hidden_size,
                        hidden_size,
                    )

    @kernel(name=f"{name}_recompute")
    def recompute(
        pool,  # threads.call
        plan,  # Plan.words: as many parts of the hidden units as threads
        span,  # (row0, s0, s1): row of `residuals` for step s0; these steps. If row0 is not 0,
        # `work` has the states before s0.
        sequences,  # records.BatchedInput
        shorter,  # (B,) lengths - 1
        weights,  # (w_ih, w_hh, b_ih, b_hh)
        states,  # (slot, *States): initial
        carried,  # (states - 1, B, H) in the order of the batch, before s0
        output,  # batch.Rows, read
        residuals,  # (saved, unprojected) of this segment, written
        pack,  # the weights into `work`, first
        work,
    ):
        mode = flush_denormals()
        work, plan, (row0, s0, s1) = flat(work), read_plan(plan), span
        owned = plan.threads > 1 and parallel.acquire(pool)
        (w_ih, w_hh, b_ih, b_hh), (slot, h_0, carried_0) = weights, states
        sequences, output = read_input(sequences), read_rows(output)
        kept = Kept(flat(residuals[0]), flat(residuals[1]))
        hidden_size, parts = w_ih.shape[0] // gates, plan.threads
        # As under a projection: the emitted h_0 has a place that no step writes, for other parts
        # may still want it.
        operands, buffers = operands_in(
            work, plan, sequences.order.size, True, flat(w_ih), flat(w_hh)
        )
        this = Pass(
            w_ih.shape[1], hidden_size, w_hh.shape[1], sequences, operands, buffers, kept, output
        )
        if pack:
            # There is no place for W_hr, which is not multiplied: any matrix stands for it.
            to_ih = region(work, plan.offsets, FORWARD.w_ih, 0, 1)
            job = outlined(
                pack_part,
                (parts, w_ih, w_hh, w_hh, gates, width, to_ih, operands.w_hh, operands.w_hr),
            )
            parallel.share(pool, owned, parts, job)
            block_bias(b_ih, gates, operands.b_ih)
            block_bias(b_hh, gates, operands.b_hh)
            clear(operands.zeros, 0, operands.zeros.size)
        if s0 == 0:
            load_states(
                sequences.order,
                slot,
                h_0,
                carried_0,
                buffers.buffers,
                states_count,
                buffers.row,
                buffers.emitted,
                buffers.emitted_row,
            )
            cut_states(0, sequences.order.size, 0, sequences, buffers.emitted, 0, 1,
                       buffers.emitted_row, 0, this.emitted_size)  # fmt: skip
            cut_states(0, sequences.order.size, 0, sequences, buffers.buffers, 0, states_count,
                       buffers.row, 0, hidden_size)  # fmt: skip
        if row0 == 0:
            resume_states(
                s0,
                kept.unprojected.size > 0,
                sequences,
                output,
                flat(carried),
                buffers,
                hidden_size,
            )
        job = outlined(
            run_recompute,
            (
                parts,
                s0,
                s1,
                row0,
                plan.block,
                this,
                _earlier(sequences, output, flat(shorter)),
                work,
                plan.offsets,
            ),
        )
        parallel.share(pool, owned, parts, job)
        if owned:
            parallel.release(pool)
        restore_mode(mode)

    return recompute
