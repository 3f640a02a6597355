"""The forward pass: one direction of one layer, step by step, for any cell.

A cell brings `step`, a function of a few vectors (cell.py); the loops around it are here, and no
cell is named. Deliberately not here: the way back (backward.py), the case of a single step
(single_step.py), and every check: kernels allocate nothing, check nothing and raise nothing.

    a_x = b_ih + x W_ihᵀ      one product for many steps
    a_h = b_hh + h W_hhᵀ      one tile at a time, consumed by `step` while it is in L1

Rows. The B sequences are sorted by falling length, so that the first ones are still running at
step s. Real steps are numbered step by step, row after row of those running: with equal lengths,
step s of row j is row s * B + j. A sequence is read as it is given or, `reverse`, from its end.

Threads. Either the batch is cut into slices, which share nothing but weights; or, where the
weights are large, the hidden units are cut into chunks that run in lockstep (kernels/parallel.py),
each weight read by one core only. What is computed, and the order of each sum, is the same.

Weights. Packed for the tile (kernels/gemm.py), or, where the steps are too few for that to pay,
read where the caller has them, as a GEMV does (kernels/dots.py).

Notation: T time, B batch, I input, H hidden, E emitted (H, or the projection's size), G gates; a
`_p` suffix means padded to whole vectors. Pre-activations have blocked columns (kernels/gemm.py).
"""

from fastrnn.engine.batch import Rows
from fastrnn.engine.inputs import affine_unpacked, input_part, time_of
from fastrnn.engine.operands import Pass, pack_part
from fastrnn.engine.records import BatchedInput, Kept, read_input, read_rows
from fastrnn.engine.states import cut_states, load_states, store_states
from fastrnn.engine.work import FORWARD, KernelPlan, read_plan, region
from fastrnn.kernels import parallel
from fastrnn.kernels.gemm import block_bias, product
from fastrnn.kernels.jit import jit, kernel
from fastrnn.kernels.machine import flush_denormals, outlined, restore_mode
from fastrnn.kernels.memory import flat, part_of
from fastrnn.kernels.rows import clear, copy_row
from fastrnn.kernels.simd import lanes
from fastrnn.kernels.tile import MAX_VECTORS, TERMS, max_rows, tile


def bind_forward(name, step_tile, operands_in, gates, states_count, saved_count, width):
    """Return the compiled forward pass of a cell, and one step of its stream.

    step_tile and operands_in are bind_tile's and bind_operands'; width: Cell.width.
    """
    tile_rows = max_rows(width)
    units = width // gates

    @jit(name=f"{name}_cut")
    def cut(s, rows, j0, this, column, count):
        """Write zeros over `count` units of the states before step s where a reset cuts them."""
        sequences, states = this.sequences, this.states
        cut_states(s, rows, j0, sequences, states.buffers, s % 2 * states.stride, states_count,
                   states.row, column, count)  # fmt: skip
        if this.operands.w_hr.size:
            cut_states(s, rows, j0, sequences, states.emitted, 0, 1, states.emitted_row, 0,
                       this.emitted_size)  # fmt: skip

    @jit(name=f"{name}_step_forward", inline=True)  # else its sixty words go through memory
    def step_forward(s, rows, j0, unit0, unit1, first, this, a_x, a_x_row, a_h):
        """Compute step s of `rows` sequences from j0 on, for some blocks of hidden units."""
        n = lanes(a_h)
        operands, states, kept = this.operands, this.states, this.kept
        hidden_size, emitted_size = this.hidden_size, this.emitted_size
        batch = this.sequences.order.size
        blocks = (hidden_size + n - 1) // n
        hidden_p, columns, saved_row = blocks * n, blocks * gates * n, blocks * saved_count * n
        before, after = s % 2, (s + 1) % 2
        old, new = before * states.stride + j0 * states.row, after * states.stride + j0 * states.row
        h_at = before * states.emitted_stride + j0 * states.emitted_row
        tiles = (rows + tile_rows - 1) // tile_rows if operands.packed else 1
        for unit in range(unit0, unit1, units):
            vectors = min(units, unit1 - unit)
            column, row = unit * gates * n, 0
            for i in range(tiles):
                height = (rows - row + tiles - i - 1) // (tiles - i)
                if operands.packed:
                    tile(height, vectors * gates, n, emitted_size, TERMS,
                         states.emitted, h_at + row * states.emitted_row, states.emitted_row, 1,
                         operands.w_hh, column * emitted_size, vectors * gates * n,
                         operands.b_hh, column, 0,
                         a_h, 0, width * n)  # fmt: skip
                else:
                    affine_unpacked(
                        rows, emitted_size, states.emitted, h_at, states.emitted_row,
                        operands.w_hh, operands.b_hh, gates, hidden_size,
                        unit, unit + vectors, a_h, 0, width * n)  # fmt: skip
                step_tile(height, vectors,
                          a_x, (a_x_row + row) * columns + column, columns,
                          a_h, width * n,
                          states.buffers, old + row * states.row + unit * n,
                          new + row * states.row + unit * n, states.row, batch * states.row,
                          kept.saved, (first + j0 + row) * saved_row + unit * saved_count * n,
                          saved_row)  # fmt: skip
                row += height
        if operands.w_hr.size:
            product(rows, emitted_size, hidden_size, TERMS, states.buffers, new, states.row, 1,
                    operands.w_hr, 0, MAX_VECTORS * n * hidden_size, 0, MAX_VECTORS,
                    operands.zeros, 0, 0, states.emitted, h_at, states.emitted_row)  # fmt: skip
            if kept.saved.size:
                for row in range(rows):
                    to, at = (first + j0 + row) * hidden_p, new + row * states.row
                    copy_row(kept.unprojected, to, states.buffers, at, hidden_p)
        column0 = unit0 * n
        count = (emitted_size if operands.w_hr.size else min(emitted_size, unit1 * n)) - column0
        h_at = after * states.emitted_stride + j0 * states.emitted_row + column0
        output = this.output
        for row in range(rows):
            j = j0 + row
            t = time_of(s, this.sequences.lengths[j], this.sequences.reverse)
            to = output.at + t * output.time + this.sequences.order[j] * output.row + column0
            copy_row(output.array, to, states.emitted, h_at + row * states.emitted_row, count)
        if this.sequences.cuts.size:
            cut(s + 1, rows, j0, this, column0, (unit1 - unit0) * n)

    @jit(name=f"{name}_run_forward")
    def run_forward(part, parts, pool, plan, s0, s1, row0, this, work):
        """All steps: of one slice of the batch or, in lockstep, of any chunks that are to do."""
        chunks, cuts, sequences = plan.chunks, plan.cuts, this.sequences
        slices = cuts.size - 1
        j0, j1 = (0, cuts[slices]) if chunks else (cuts[part], cuts[part + 1])
        x_rows = region(work, plan.offsets, FORWARD.x_rows, part, parts)
        a_x = region(work, plan.offsets, FORWARD.a_x, 0 if chunks else part, slices)
        a_h = region(work, plan.offsets, FORWARD.a_h, part, parts)
        blocks = (this.hidden_size + lanes(work) - 1) // lanes(work)
        panels = (blocks + units - 1) // units
        unit0, unit1 = 0, blocks
        running, first, a_x_row, waited = sequences.lengths.size, row0, 0, 0
        s = block0 = s0  # block0: the first step of the block whose a_x is made
        while s < s1:
            while running > 0 and sequences.lengths[running - 1] <= s:
                running -= 1
            rows = min(running, j1) - j0
            if rows <= 0:
                return
            if chunks == 0 or parallel.lockstep_step(pool, chunks) == s:
                if chunks:
                    mine = parallel.claim_chunk(pool, s, part, chunks, waited)
                    if mine < 0:
                        parallel.wait_a_little(pool, waited)
                        waited += 1
                        continue
                    unit0 = mine * panels // chunks * units
                    unit1 = min(blocks, (mine + 1) * panels // chunks * units)
                if s == block0:
                    input_part(s, min(s + plan.block, s1), plan.block, j0, j1, unit0, unit1,
                               sequences, this.operands, this.input_size, this.hidden_size,
                               gates, width, x_rows, a_x)  # fmt: skip
                step_forward(s, rows, j0, unit0, unit1, first, this, a_x, a_x_row, a_h)
                if chunks:
                    parallel.chunk_done(pool)
                    waited = 0
                    continue  # with another chunk of this step, if one is left
            a_x_row += rows
            first += running
            s += 1
            if s == block0 + plan.block:
                block0, a_x_row = s, 0

    @jit(name=f"{name}_share_forward")
    def share_forward(pool, owned, plan, s0, s1, row0, this, work):
        """Run steps s0..s1, in lockstep or in slices, with the threads that help."""
        if not owned:
            plan = KernelPlan(
                plan.threads,
                plan.packed,
                plan.gather,
                0,
                plan.block,
                plan.block_rows,
                plan.cuts,
                plan.offsets,
            )
        if plan.chunks:
            parallel.start_lockstep(pool, s0, plan.chunks, plan.threads)
        parts = plan.threads if plan.chunks else plan.cuts.size - 1
        job = outlined(run_forward, (parts, pool, plan, s0, s1, row0, this, work))
        parallel.share(pool, owned, parts, job)

    @kernel(name=f"{name}_forward")
    def forward(
        pool,  # threads.call
        plan,  # Plan.words
        span,  # (row0, s0, s1): the number of step s0's first row; these steps. `work` keeps
        # packed weights and states from the steps before s0.
        sequences,  # records.BatchedInput
        weights,  # records.Weights
        states,  # (slot, *States, *States): where, initial, final (written)
        output,  # batch.Rows, written; nothing past a sequence's end
        residuals,  # (saved, unprojected), written; of size 0: keep nothing
        work,  # Plan.size elements
    ):
        mode = flush_denormals()
        work, plan, (row0, s0, s1) = flat(work), read_plan(plan), span
        w_ih, w_hh, b_ih, b_hh, w_hr = weights
        slot, h_0, carried_0, h_n, carried_n = states
        owned = plan.threads > 1 and parallel.acquire(pool)
        sequences = read_input(sequences)
        operands, buffers = operands_in(
            work, plan, sequences.order.size, w_hr.size > 0, flat(w_ih), flat(w_hh)
        )
        this = Pass(
            w_ih.shape[1],
            w_ih.shape[0] // gates,
            w_hh.shape[1],
            sequences,
            operands,
            buffers,
            Kept(flat(residuals[0]), flat(residuals[1])),
            read_rows(output),
        )
        if s0 == 0:
            to_ih = region(work, plan.offsets, FORWARD.w_ih, 0, 1)
            to_hh = region(work, plan.offsets, FORWARD.w_hh, 0, 1)
            parts = plan.threads if to_ih.size + to_hh.size > 1 << 16 else 1
            job = outlined(
                pack_part, (parts, w_ih, w_hh, w_hr, gates, width, to_ih, to_hh, operands.w_hr)
            )
            parallel.share(pool, owned, parts, job)
            block_bias(b_ih, gates, operands.b_ih)
            block_bias(b_hh, gates, operands.b_hh)
            clear(operands.zeros, 0, operands.zeros.size)
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
            cut(0, sequences.order.size, 0, this, 0, buffers.row)
        share_forward(pool, owned, plan, s0, s1, row0, this, work)
        if s1 == sequences.lengths[0]:
            store_states(
                sequences.order,
                sequences.lengths,
                slot,
                buffers.buffers,
                buffers.stride,
                buffers.row,
                buffers.emitted,
                buffers.emitted_stride,
                buffers.emitted_row,
                h_n,
                carried_n,
            )
        if owned:
            parallel.release(pool)
        restore_mode(mode)

    @kernel(name=f"{name}_stream")
    def stream(
        pool,
        plan,  # of plan.plan_stream, whose work space `forward` has filled
        s,  # at least 1: only whether it is even matters
        one_hot,  # read the classes in rows[0], else x
        sizes,  # (hidden_size, projects)
        rows,  # (3, B) int64: classes, order, lengths (> s)
        x,  # (B, I)
        output,  # (B, E) written
        work,
    ):
        """One step more of what `forward` has started: packed weights and state are in `work`."""
        mode = flush_denormals()
        work, plan, (hidden_size, projects) = flat(work), read_plan(plan), sizes
        owned = plan.threads > 1 and parallel.acquire(pool)
        (batch, input_size), emitted_size = x.shape, output.shape[1]
        numbers, nothing = flat(rows), part_of(work, 0, 0)
        x, x_row = (nothing, 1) if one_hot else (flat(x), input_size)
        sequences = BatchedInput(
            x,
            part_of(numbers, 0, batch),
            0,
            x_row,
            part_of(numbers, batch, batch),
            part_of(numbers, 2 * batch, batch),
            False,
            part_of(numbers, 0, 0),
            part_of(numbers, 0, 0),
        )
        operands, buffers = operands_in(work, plan, batch, projects, nothing, nothing)
        this = Pass(
            input_size,
            hidden_size,
            emitted_size,
            sequences,
            operands,
            buffers,
            Kept(nothing, nothing),
            Rows(flat(output), 0, 0, emitted_size),
        )
        share_forward(pool, owned, plan, s, s + 1, 0, this, work)
        if owned:
            parallel.release(pool)
        restore_mode(mode)

    return forward, stream
