"""WHEN, backward: backpropagation through time (BPTT), for any cell. Forward is forward.py.

A cell brings `step_backward`, a function of a few vectors (cells/contract.py); the loops around it
are here. Rows, threads, letters and blocks are those of forward.py.

    d_h += d_a_h W_hh                         step by step, the sequential part
    d_W_hh = d_a_hᵀ h    d_W_ih = d_a_xᵀ x    then one product each over the steps of a piece
    d_x = d_a_x W_ih     d_b = sum of d_a

d_a, the gradients of the pre-activations, are kept for a piece at a time, in torch's order of the
gates, so that the products add to gradients in torch's order. A step multiplies what the later
step left and then goes through its own cell, so that threads that march by hidden units
(kernels/team.py) need each other's d_a of the later step only.

Source: Werbos 1990, "Backpropagation through time: what it does and how to do it".
"""

from fastrnn.engine.forward import Target, begin_states, end_states, region
from fastrnn.engine.inputs import Sequences, time_of
from fastrnn.engine.weight_gradients import Back, Sums, input_rows, untable, weight_sums
from fastrnn.kernels import parallel
from fastrnn.kernels.gemm import pack_rows, product, product_back
from fastrnn.kernels.jit import jit, kernel
from fastrnn.kernels.machine import flush_denormals, outlined, restore_mode
from fastrnn.kernels.memory import flat, load, load_many, store_many, store_many_parts
from fastrnn.kernels.rows import add_row, copy_row, fill
from fastrnn.kernels.simd import lanes
from fastrnn.kernels.tile import TERMS, WIDEST

# Regions of the work space, as numbered in workspace.BackPlan.
(
    W_HH,
    W_HR,
    W_IH,
    ZEROS,
    D_STATES,
    D_EMITTED,
    D_A_H,
    D_A_X,
    H_ROWS,
    D_H_ROWS,
    X_ROWS,
    D_X_ROWS,
    TABLE,
) = range(13)


@jit
def _pack_part(part, parts, w_ih, w_hh, w_hr, packed_ih, packed_hh, packed_hr):
    """Pack a share of each weight that has a place to go."""
    if packed_ih.size:
        pack_rows(w_ih, packed_ih, part, parts)
    if packed_hh.size:
        pack_rows(w_hh, packed_hh, part, parts)
    if packed_hr.size:
        pack_rows(w_hr, packed_hr, part, parts)


def bind_row(name, step_backward, states_count, saved_count):
    """Return the gradient of a cell's step, of one row."""

    @jit(name=f"{name}_step_backward")
    def step_row(
        hidden_size,
        unit0,
        unit1,  # blocks of hidden units
        saved,
        saved_at,
        h,
        h_at,  # of one row
        d_states,
        states_at,
        between,  # states `between` apart; changed
        d_a_x,
        d_a_h,
        d_at,
        shared,  # written
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
            there = hidden_size - unit * n
            if there >= n:
                store_many(d_a_h, gates_at, hidden_size, d_h)
                if not shared:
                    store_many(d_a_x, gates_at, hidden_size, d_x)
            else:
                store_many_parts(d_a_h, gates_at, hidden_size, d_h, there)
                if not shared:
                    store_many_parts(d_a_x, gates_at, hidden_size, d_x, there)

    return step_row


def bind_backward(name, step_row, gates, states_count, saved_count):
    """Return the compiled BPTT of a cell, for one layer in one direction; step_row: bind_row's."""

    @jit(name=f"{name}_retreat")
    def retreat(
        s,
        rows,
        first,
        at_row,
        later_rows,
        at_later,
        j0,
        unit0,
        unit1,
        hidden_size,
        emitted_size,
        sequences,
        output,
        d_output,
        back,
        shared,
    ):
        """Take the gradient at `rows` sequences from j0 on through step s, for some blocks.

        Before, the `later_rows` that were in step s + 1 get what its d_a_h has for them. A piece
        ends with that alone: rows = 0.
        """
        n = lanes(back.d_a_h)
        batch = sequences.order.size
        hidden_p = (hidden_size + n - 1) // n * n
        emitted_p = back.d_emitted.size // batch
        projects = back.w_hr.size > 0
        begin = unit0 * n
        count = (emitted_size if projects else min(emitted_size, unit1 * n)) - begin
        if later_rows > 0:
            # d_states[0] is the part of d_h that does not come through a_h: under a projection,
            # where it would have another size, cells have none and it is 0.
            k = gates * hidden_size
            product_back(
                later_rows,
                begin,
                count,
                k,
                back.d_a_h,
                at_later * back.a_pitch,
                back.a_pitch,
                back.w_hh,
                emitted_size,
                back.packed,
                back.d_states,
                j0 * hidden_p + begin,
                hidden_p,
                back.d_emitted,
                j0 * emitted_p + begin,
                emitted_p,
            )
        for row in range(rows):
            j, at = j0 + row, at_row + row
            t = time_of(s, sequences.lengths[j], sequences.reverse)
            if unit0 == 0:
                back.place[at] = t * batch + sequences.order[j]
            if d_output.flat.size:
                add_row(
                    back.d_emitted,
                    j * emitted_p + begin,
                    d_output.flat,
                    d_output.at + t * d_output.time + sequences.order[j] * d_output.row + begin,
                    count,
                )
            if s:
                before = time_of(s - 1, sequences.lengths[j], sequences.reverse)
                copy_row(
                    back.h_rows,
                    at * back.h_pitch + begin,
                    output.flat,
                    output.at + before * output.time + sequences.order[j] * output.row + begin,
                    count,
                )
            elif back.h_0.size:
                copy_row(
                    back.h_rows,
                    at * back.h_pitch + begin,
                    back.h_0,
                    (back.number * batch + sequences.order[j]) * emitted_size + begin,
                    count,
                )
            else:
                fill(back.h_rows, at * back.h_pitch + begin, count, 0)
            if projects:
                copy_row(
                    back.d_h_rows, at * back.d_h_pitch, back.d_emitted, j * emitted_p, emitted_size
                )
            else:
                copy_row(
                    back.d_states,
                    j * hidden_p + begin,
                    back.d_emitted,
                    j * emitted_p + begin,
                    count,
                )
        if projects and rows > 0:
            product(
                rows,
                hidden_size,
                emitted_size,
                TERMS,
                back.d_emitted,
                j0 * emitted_p,
                emitted_p,
                1,
                back.w_hr,
                0,
                WIDEST * n * emitted_size,
                0,
                WIDEST,
                back.zeros,
                0,
                0,
                back.d_states,
                j0 * hidden_p,
                hidden_p,
            )
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
                shared,
            )

    @jit(name=f"{name}_run_back")
    def run_back(
        part,
        pool,
        chunks,
        cuts,
        s0,
        s1,
        row0,
        row1,
        hidden_size,
        emitted_size,
        sequences,
        output,
        d_output,
        back,
        shared,
    ):
        """All steps of a piece, backwards: of one slice of the batch, or marching."""
        j0, j1 = (0, cuts[cuts.size - 1]) if chunks else (cuts[part], cuts[part + 1])
        n, batch = lanes(back.d_a_h), sequences.lengths.size
        blocks = (hidden_size + n - 1) // n
        panels = (blocks + WIDEST - 1) // WIDEST
        unit0, unit1 = 0, blocks
        running, later, waited = 0, 0, 0
        first = later_first = row1
        s = s1 - 1
        while s >= s0 - 1:
            if s >= s0 and first == later_first:  # this step has just begun
                while running < batch and sequences.lengths[running] > s:
                    running += 1
                first -= running
            if chunks == 0 or parallel.step_of_march(pool, chunks) == s1 - 1 - s:
                if chunks:
                    mine = parallel.claim_chunk(pool, s1 - 1 - s, part, chunks, waited)
                    if mine < 0:
                        parallel.wait_a_little(pool, waited)
                        waited += 1
                        continue
                    unit0 = mine * panels // chunks * WIDEST
                    unit1 = min(blocks, (mine + 1) * panels // chunks * WIDEST)
                rows = min(running, j1) - j0 if s >= s0 else 0
                retreat(
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
                    shared,
                )
                if chunks:
                    parallel.chunk_done(pool)
                    waited = 0
                    continue
            later, later_first = running, first
            s -= 1

    @kernel(name=f"{name}_backward")
    def backward(
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
        w_hr,  # the caller's
        number,
        h_0,
        saved,
        unprojected,  # Trace
        output,
        out_at,
        out_time,
        out_row,  # Target: h after each step
        d_output,
        d_out_at,
        d_out_time,
        d_out_row,  # Target; of size 0: zeros
        d_h_n,
        d_others_n,  # passes.States; of size 0: zeros
        d_h_0,
        d_others_0,  # passes.States, written
        d_x,
        d_x_time,
        d_x_row,  # written; of size 0: not wanted
        d_w_ih,
        d_w_hh,
        d_b_ih,
        d_b_hh,
        d_w_hr,  # written
        shared,
        chunks,
        cuts,
        parts,
        piece,
        offsets,
        place,
        work,  # workspace.BackPlan
        row1,  # number behind the last row of step s1
        s0,
        s1,  # these steps
    ):
        mode = flush_denormals()
        owned = threads > 1 and parallel.acquire(pool)
        if not owned:
            chunks = 0
        work, cuts, offsets = flat(work), flat(cuts), flat(offsets)
        n, batch, k = lanes(work), order.size, w_ih.shape[0]
        input_size, emitted_size, hidden_size = w_ih.shape[1], w_hh.shape[1], k // gates
        hidden_p = (hidden_size + n - 1) // n * n
        most = place.size
        d_a_h = region(work, offsets, D_A_H, 0, 1)
        d_a_x = d_a_h if shared else region(work, offsets, D_A_X, 0, 1)
        h_rows = region(work, offsets, H_ROWS, 0, 1)
        d_h_rows = region(work, offsets, D_H_ROWS, 0, 1)
        x_rows = region(work, offsets, X_ROWS, 0, 1)
        scratch = region(work, offsets, D_X_ROWS, 0, 1)
        packed_hh = region(work, offsets, W_HH, 0, 1)
        packed_hr = region(work, offsets, W_HR, 0, 1)
        packed_ih = region(work, offsets, W_IH, 0, 1)
        packed = packed_hh.size > 0
        d_states = region(work, offsets, D_STATES, 0, 1)
        d_emitted = region(work, offsets, D_EMITTED, 0, 1)
        emitted_p = d_emitted.size // batch
        sequences = Sequences(flat(x), flat(index), time, row, flat(order), flat(lengths), reverse)
        target = Target(flat(output), out_at, out_time, out_row)
        d_target = Target(flat(d_output), d_out_at, d_out_time, d_out_row)
        back = Back(
            flat(saved),
            flat(unprojected),
            number,
            flat(h_0),
            d_states,
            d_emitted,
            d_a_x,
            d_a_h,
            d_a_h.size // most,
            h_rows,
            h_rows.size // most,
            d_h_rows,
            d_h_rows.size // most,
            flat(place),
            packed,
            packed_hh if packed else flat(w_hh),
            packed_hr,
            region(work, offsets, ZEROS, 0, 1),
        )
        sums = Sums(
            flat(d_w_ih),
            flat(d_w_hh),
            flat(d_b_ih),
            flat(d_b_hh),
            flat(d_w_hr),
            region(work, offsets, TABLE, 0, 1),
        )
        if s1 == lengths[0]:
            parallel.share(
                pool,
                owned,
                parts,
                outlined(_pack_part, (parts, w_ih, w_hh, w_hr, packed_ih, packed_hh, packed_hr)),
            )
            fill(back.zeros, 0, back.zeros.size, 0)
            fill(sums.table, 0, sums.table.size, 0)
            begin_states(
                sequences.order,
                number,
                d_h_n,
                d_others_n,
                d_states,
                states_count,
                hidden_p,
                d_emitted,
                emitted_p,
            )
        while s1 > s0:
            begin = max(s0, s1 - piece)
            row0 = row1
            for j in range(batch):
                row0 -= max(0, min(lengths[j], s1) - begin)
            if chunks:
                parallel.begin_march(pool, 0, chunks, threads)
            parallel.share(
                pool,
                owned,
                threads if chunks else cuts.size - 1,
                outlined(
                    run_back,
                    (
                        pool,
                        chunks,
                        cuts,
                        begin,
                        s1,
                        row0,
                        row1,
                        hidden_size,
                        emitted_size,
                        sequences,
                        target,
                        d_target,
                        back,
                        shared,
                    ),
                ),
            )
            parallel.share(
                pool,
                owned,
                parts,
                outlined(
                    input_rows,
                    (
                        parts,
                        row1 - row0,
                        sequences,
                        back,
                        input_size,
                        k,
                        x_rows,
                        x_rows.size // most,
                        packed_ih if packed else flat(w_ih),
                        flat(d_x),
                        d_x_time,
                        d_x_row,
                        scratch,
                    ),
                ),
            )
            parallel.share(
                pool,
                owned,
                parts,
                outlined(
                    weight_sums,
                    (
                        parts,
                        row1 - row0,
                        row0,
                        sequences,
                        back,
                        input_size,
                        emitted_size,
                        hidden_size,
                        k,
                        hidden_p,
                        x_rows,
                        x_rows.size // most,
                        sums,
                        s1 == lengths[0],
                    ),
                ),
            )
            s1, row1 = begin, row0
        if s0 == 0:
            if sums.table.size:
                parallel.share(
                    pool,
                    owned,
                    parts,
                    outlined(untable, (parts, sums, input_size, k, back.a_pitch)),
                )
            end_states(
                sequences.order,
                sequences.lengths,
                number,
                d_states,
                0,
                hidden_p,
                d_emitted,
                0,
                emitted_p,
                d_h_0,
                d_others_0,
            )
        if owned:
            parallel.release(pool)
        restore_mode(mode)

    return backward
