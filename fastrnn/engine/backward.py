"""Backpropagation through time (BPTT): one direction of one layer, for any cell.

A cell brings `step_backward`, a function of a few vectors (cell.py); the loops around it are here,
and the large products over many steps in weight_gradients.py. Rows, threads, notation and blocks
of hidden units are those of forward.py.

    d_h += d_a_h W_hh                         step by step, the sequential part
    d_W_hh = d_a_hᵀ h    d_W_ih = d_a_xᵀ x    then one product each over the steps of a block
    d_x = d_a_x W_ih     d_b = sum of d_a

d_a, the gradients of the pre-activations, are kept for a block of steps at a time, in torch's
order of the gates, so that the products add to gradients in torch's order. A step first multiplies
the d_a of the later step and then goes through its own cell, so that threads that run hidden units
in lockstep (kernels/parallel.py) need each other's d_a of the later step only.

Source: Werbos 1990, "Backpropagation through time: what it does and how to do it".
"""

from fastrnn.engine.inputs import is_cut, time_of
from fastrnn.engine.records import read_input, read_rows
from fastrnn.engine.states import cut_states, load_states, store_states
from fastrnn.engine.weight_gradients import (
    Sums,
    buffers_in,
    input_gradient,
    transpose_table,
    weight_gradients,
)
from fastrnn.engine.work import BACKWARD, read_plan, region
from fastrnn.kernels import parallel
from fastrnn.kernels.gemm import pack_rows, product, product_back
from fastrnn.kernels.jit import jit, kernel
from fastrnn.kernels.machine import flush_denormals, outlined, restore_mode
from fastrnn.kernels.memory import flat
from fastrnn.kernels.rows import add_row, clear, copy_row
from fastrnn.kernels.simd import lanes
from fastrnn.kernels.tile import MAX_VECTORS, TERMS


@jit
def _pack_part(part, parts, w_ih, w_hh, w_hr, packed_ih, packed_hh, packed_hr):
    """Pack a share of each weight that has a place to go."""
    if packed_ih.size:
        pack_rows(w_ih, packed_ih, part, parts)
    if packed_hh.size:
        pack_rows(w_hh, packed_hh, part, parts)
    if packed_hr.size:
        pack_rows(w_hr, packed_hr, part, parts)


def bind_backward(name, step_row, gates, states_count, saved_count, shared):
    """Return the compiled BPTT of a cell; step_row: bind_row's."""

    @jit(name=f"{name}_step_backward")
    def step_backward(
        s, rows, first, at_row, later_rows, at_later, j0, unit0, unit1, hidden_size, emitted_size,
        sequences, output, d_output, back,
    ):  # fmt: skip
        """Take the gradient at `rows` sequences from j0 on through step s, for some blocks.

        First propagate d_a_h of step s + 1 to the `later_rows` still running there. A block of
        steps ends with that alone: rows = 0.
        """
        n = lanes(back.d_a_h)
        batch = sequences.order.size
        hidden_p = (hidden_size + n - 1) // n * n
        emitted_p = back.d_emitted.size // batch
        projects = back.w_hr.size > 0
        column0 = unit0 * n
        count = (emitted_size if projects else min(emitted_size, unit1 * n)) - column0
        if later_rows > 0:
            # d_states[0] is the part of d_h that does not come through a_h: under a projection,
            # where it would have another size, cells have none and it is 0.
            k = gates * hidden_size
            product_back(later_rows, column0, count, k,
                         back.d_a_h, at_later * back.a_pitch, back.a_pitch,
                         back.w_hh, emitted_size, back.packed,
                         back.d_states, j0 * hidden_p + column0, hidden_p,
                         back.d_emitted, j0 * emitted_p + column0, emitted_p)  # fmt: skip
            # After the product, which may have made a NaN, and before this step's own d_output.
            if sequences.cuts.size:
                cut_states(s + 1, later_rows, j0, sequences, back.d_emitted, 0, 1,
                           emitted_p, column0, count)  # fmt: skip
                cut_states(s + 1, later_rows, j0, sequences, back.d_states, 0, states_count,
                           hidden_p, column0, (unit1 - unit0) * n)  # fmt: skip
        for row in range(rows):
            j, at = j0 + row, at_row + row
            b, t = sequences.order[j], time_of(s, sequences.lengths[j], sequences.reverse)
            if unit0 == 0:
                back.place[at] = t * batch + b
            if d_output.array.size:
                from_at = d_output.at + t * d_output.time + b * d_output.row + column0
                add_row(back.d_emitted, j * emitted_p + column0, d_output.array, from_at, count)
            h_to = at * back.h_pitch + column0
            if is_cut(sequences, s, j):
                clear(back.h_rows, h_to, count)
            elif s:
                before = time_of(s - 1, sequences.lengths[j], sequences.reverse)
                from_at = output.at + before * output.time + b * output.row + column0
                copy_row(back.h_rows, h_to, output.array, from_at, count)
            elif back.h_0.size:
                from_at = (back.slot * batch + b) * emitted_size + column0
                copy_row(back.h_rows, h_to, back.h_0, from_at, count)
            else:
                clear(back.h_rows, h_to, count)
            from_at = j * emitted_p
            if projects:
                copy_row(back.d_h_rows, at * back.d_h_pitch, back.d_emitted, from_at, emitted_size)
            else:
                copy_row(
                    back.d_states, j * hidden_p + column0, back.d_emitted, from_at + column0, count
                )
        if projects and rows > 0:
            product(rows, hidden_size, emitted_size, TERMS,
                    back.d_emitted, j0 * emitted_p, emitted_p, 1,
                    back.w_hr, 0, MAX_VECTORS * n * emitted_size, 0, MAX_VECTORS, back.zeros, 0, 0,
                    back.d_states, j0 * hidden_p, hidden_p)  # fmt: skip
        for row in range(rows):
            j, at = j0 + row, at_row + row
            step_row(
                hidden_size,
                unit0,
                unit1,
                back.saved,
                (first + j) * hidden_p * saved_count,
                back.h_rows,
                at * back.h_pitch,
                back.d_states,
                j * hidden_p,
                batch * hidden_p,
                back.d_a_x,
                back.d_a_h,
                at * back.a_pitch,
            )

    @jit(name=f"{name}_run_backward")
    def run_backward(
        part, pool, chunks, cuts, s0, s1, row0, row1, hidden_size, emitted_size,
        sequences, output, d_output, back,
    ):  # fmt: skip
        """All steps of a block, from the last: of one slice of the batch, or in lockstep."""
        j0, j1 = (0, cuts[cuts.size - 1]) if chunks else (cuts[part], cuts[part + 1])
        n, batch = lanes(back.d_a_h), sequences.lengths.size
        blocks = (hidden_size + n - 1) // n
        panels = (blocks + MAX_VECTORS - 1) // MAX_VECTORS
        unit0, unit1 = 0, blocks
        running, later, waited = 0, 0, 0
        first = later_first = row1
        s = s1 - 1
        while s >= s0 - 1:
            if s >= s0 and first == later_first:  # this step has just started
                while running < batch and sequences.lengths[running] > s:
                    running += 1
                first -= running
            if chunks == 0 or parallel.lockstep_step(pool, chunks) == s1 - 1 - s:
                if chunks:
                    mine = parallel.claim_chunk(pool, s1 - 1 - s, part, chunks, waited)
                    if mine < 0:
                        parallel.wait_a_little(pool, waited)
                        waited += 1
                        continue
                    unit0 = mine * panels // chunks * MAX_VECTORS
                    unit1 = min(blocks, (mine + 1) * panels // chunks * MAX_VECTORS)
                rows = min(running, j1) - j0 if s >= s0 else 0
                step_backward(
                    s,
                    rows,
                    first,
                    first - row0 + j0,
                    min(later, j1) - j0,
                    later_first - row0 + j0,
                    j0,
                    unit0,
                    unit1,
                    hidden_size,
                    emitted_size,
                    sequences,
                    output,
                    d_output,
                    back,
                )
                if chunks:
                    parallel.chunk_done(pool)
                    waited = 0
                    continue
            later, later_first = running, first
            s -= 1

    @kernel(name=f"{name}_backward")
    def backward(
        pool,  # threads.call
        plan,  # Plan.words
        span,  # (row1, s0, s1): the number of the row past the last one of step s1 - 1, in
        # `residuals`; these steps. `work` keeps what the steps from s1 on have left.
        sequences,  # records.BatchedInput
        weights,  # (w_ih, w_hh, w_hr)
        states,  # (slot, h_0, *States at the end, *States at the start): the last two written
        residuals,  # (saved, unprojected)
        output,  # batch.Rows: h after each step
        d_output,  # batch.Rows; of size 0: zeros
        d_x,  # batch.Rows, written; of size 0: not wanted
        d_weights,  # records.Weights, written
        work,  # (Plan.size elements, Plan.block_rows int64)
    ):
        mode = flush_denormals()
        plan, (row1, s0, s1) = read_plan(plan), span
        owned = plan.threads > 1 and parallel.acquire(pool)
        chunks = plan.chunks if owned else 0
        (w_ih, w_hh, w_hr), (work, place) = weights, (flat(work[0]), work[1])
        slot, h_0, d_h_n, d_carried_n, d_h_0, d_carried_0 = states
        d_w_ih, d_w_hh, d_b_ih, d_b_hh, d_w_hr = d_weights
        sequences, output = read_input(sequences), read_rows(output)
        d_output, d_x = read_rows(d_output), read_rows(d_x)
        n, batch, k = lanes(work), sequences.order.size, w_ih.shape[0]
        input_size, emitted_size, hidden_size = w_ih.shape[1], w_hh.shape[1], k // gates
        hidden_p = (hidden_size + n - 1) // n * n
        sizes = input_size, emitted_size, hidden_size, k, hidden_p
        back = buffers_in(work, plan, slot, h_0, residuals, place, w_ih, w_hh, shared)
        emitted_p = back.d_emitted.size // batch
        scratch = region(work, plan.offsets, BACKWARD.d_x_rows, 0, 1)
        sums = Sums(
            flat(d_w_ih),
            flat(d_w_hh),
            flat(d_b_ih),
            flat(d_b_hh),
            flat(d_w_hr),
            region(work, plan.offsets, BACKWARD.table, 0, 1),
        )
        parts = plan.threads
        if s1 == sequences.lengths[0]:
            packed_ih = region(work, plan.offsets, BACKWARD.w_ih, 0, 1)
            packed_hh = region(work, plan.offsets, BACKWARD.w_hh, 0, 1)
            job = outlined(_pack_part, (parts, w_ih, w_hh, w_hr, packed_ih, packed_hh, back.w_hr))
            parallel.share(pool, owned, parts, job)
            clear(back.zeros, 0, back.zeros.size)
            clear(sums.table, 0, sums.table.size)
            load_states(
                sequences.order,
                slot,
                d_h_n,
                d_carried_n,
                back.d_states,
                states_count,
                hidden_p,
                back.d_emitted,
                emitted_p,
            )
        while s1 > s0:
            block0, row0 = max(s0, s1 - plan.block), row1
            for j in range(batch):
                row0 -= max(0, min(sequences.lengths[j], s1) - block0)
            if chunks:
                parallel.start_lockstep(pool, 0, chunks, plan.threads)
            job = outlined(
                run_backward,
                (pool, chunks, plan.cuts, block0, s1, row0, row1, hidden_size, emitted_size,
                 sequences, output, d_output, back),
            )  # fmt: skip
            parallel.share(pool, owned, plan.threads if chunks else plan.cuts.size - 1, job)
            rows, fresh = row1 - row0, s1 == sequences.lengths[0]
            job = outlined(
                input_gradient, (parts, rows, sequences, back, input_size, k, d_x, scratch)
            )
            parallel.share(pool, owned, parts, job)
            job = outlined(
                weight_gradients, (parts, rows, row0, sequences, back, sizes, sums, fresh)
            )
            parallel.share(pool, owned, parts, job)
            s1, row1 = block0, row0
        if s0 == 0:
            if sums.table.size:
                job = outlined(transpose_table, (parts, sums, input_size, k, back.a_pitch))
                parallel.share(pool, owned, parts, job)
            store_states(
                sequences.order,
                sequences.lengths,
                slot,
                back.d_states,
                0,
                hidden_p,
                back.d_emitted,
                0,
                emitted_p,
                d_h_0,
                d_carried_0,
            )
        if owned:
            parallel.release(pool)
        restore_mode(mode)

    return backward
