"""WHEN there is one step: of few rows, by one thread, with weights as they lie in memory.

The same arithmetic in the same order as forward.py and backward.py have for a sequence of one step,
so the same bits; without their plans, regions and fifty arguments, which take longer than a step
of a small layer. Many rows, long sums, lengths, projections and one-hot input are theirs.

Kernels take C-contiguous arrays or their addresses, whichever the caller has at hand: the kernel
is compiled for either. What is missing has size 0, or the address 0.

Letters as there: I input, H hidden, G gates; p: rounded up to whole vectors.
"""

from fastrnn.engine.inputs import affine_thin
from fastrnn.kernels.gemm import add_columns, add_outer, block_bias, product_back
from fastrnn.kernels.jit import jit, kernel
from fastrnn.kernels.machine import flush_denormals, restore_mode
from fastrnn.kernels.memory import flat, memory_of, part_of
from fastrnn.kernels.rows import add_row, copy_row, fill, pad_row
from fastrnn.kernels.simd import lanes


@jit
def _padded(size, n):
    return (size + n - 1) // n * n


@jit
def _pad_states(first, others, passes, number, rows, hidden_size, hidden_p, states_count, to, at):
    """Write the states of pass `number`, or zeros, to `to` from `at` on: (states, rows, Hp)."""
    for i in range(states_count):
        source = first if i == 0 else others
        begin = number if i == 0 else (i - 1) * passes + number
        there = hidden_size if source.size else 0
        for row in range(rows):
            pad_row(
                to,
                at + (i * rows + row) * hidden_p,
                source,
                (begin * rows + row) * there,
                there,
                hidden_p,
            )


@jit
def _write_states(
    first, others, passes, number, rows, hidden_size, hidden_p, states_count, source, at
):
    """Write the states of pass `number` that lie at `at`, as _pad_states leaves them."""
    for i in range(states_count):
        to = first if i == 0 else others
        begin = number if i == 0 else (i - 1) * passes + number
        for row in range(rows):
            copy_row(
                to,
                (begin * rows + row) * hidden_size,
                source,
                at + (i * rows + row) * hidden_p,
                hidden_size,
            )


def bind_one_step(name, step_tile, step_row, gates, states_count, saved_count):
    """Return the compiled step of a cell, and its gradient.

    step_tile and step_row are recurrence.bind_tile's and bptt.bind_row's.
    """

    @kernel(name=f"{name}_one_forward")
    def forward(
        passes,
        number,  # of the layer, and which
        rows,
        input_size,
        hidden_size,
        w_ih,
        w_hh,
        b_ih,
        b_hh,  # biases may be missing
        x,  # (rows, I); the states of the pass below
        h_0,
        others_0,  # (passes, rows, H), (states - 1, passes, rows, H), or zeros
        h_n,
        others_n,  # the same, written
        output,  # (rows, H) gets h too, or is missing
        saved,  # (passes, rows, saved, Hp) written, or missing
        work,  # scratch, forward_work elements: an array
    ):
        mode = flush_denormals()
        n = lanes(work)
        hidden_p, k = _padded(hidden_size, n), gates * hidden_size
        columns, between = gates * hidden_p, rows * hidden_p
        w_ih, w_hh = memory_of(w_ih, k * input_size, work), memory_of(w_hh, k * hidden_size, work)
        x = memory_of(x, rows * input_size * (1 if number == 0 else passes), work)
        h_0, h_n = (
            memory_of(h_0, passes * rows * hidden_size, work),
            memory_of(h_n, passes * rows * hidden_size, work),
        )
        others = (states_count - 1) * passes * rows * hidden_size
        others_0, others_n = memory_of(others_0, others, work), memory_of(others_n, others, work)
        output = memory_of(output, rows * hidden_size, work)
        saved = memory_of(saved, passes * rows * saved_count * hidden_p, work)
        b_ih, b_hh, work = memory_of(b_ih, k, work), memory_of(b_hh, k, work), flat(work)
        x_at = 0 if number == 0 else (number - 1) * rows * input_size
        blocked_ih, blocked_hh = part_of(work, 0, columns), part_of(work, columns, columns)
        old = 2 * columns
        new = old + states_count * between
        a_x = new + states_count * between
        a_h = a_x + rows * gates * n
        block_bias(b_ih, gates, blocked_ih)
        block_bias(b_hh, gates, blocked_hh)
        _pad_states(
            h_0, others_0, passes, number, rows, hidden_size, hidden_p, states_count, work, old
        )
        for unit in range(hidden_p // n):
            affine_thin(
                rows,
                input_size,
                x,
                x_at,
                input_size,
                w_ih,
                blocked_ih,
                gates,
                hidden_size,
                unit,
                unit + 1,
                work,
                a_x,
                gates * n,
            )
            affine_thin(
                rows,
                hidden_size,
                work,
                old,
                hidden_p,
                w_hh,
                blocked_hh,
                gates,
                hidden_size,
                unit,
                unit + 1,
                work,
                a_h,
                gates * n,
            )
            step_tile(
                rows,
                1,
                work,
                a_x,
                gates * n,
                part_of(work, a_h, rows * gates * n),
                gates * n,
                work,
                old + unit * n,
                new + unit * n,
                hidden_p,
                between,
                saved,
                (number * rows * (hidden_p // n) + unit) * saved_count * n,
                hidden_p * saved_count,
            )
        _write_states(
            h_n, others_n, passes, number, rows, hidden_size, hidden_p, states_count, work, new
        )
        if output.size:
            copy_row(output, 0, h_n, number * rows * hidden_size, rows * hidden_size)
        restore_mode(mode)

    @kernel(name=f"{name}_one_backward")
    def backward(
        passes,
        number,
        rows,
        input_size,
        hidden_size,
        w_ih,
        w_hh,
        x,
        h_0,
        saved,  # as in forward
        d_output,  # (rows, H); missing: zeros
        d_h_n,
        d_others_n,  # as h_0 and others_0 in forward
        d_x,  # (rows, I) written, or missing: not wanted
        d_h_0,
        d_others_0,  # written
        d_w_ih,
        d_w_hh,
        d_b_ih,
        d_b_hh,  # written; may be missing
        d_a_x,
        d_a_h,  # (rows, G*H) at the pre-activations, written; may be
        # missing. The cell is `shared`: the same in both, and
        shared,  # then only d_a_h is
        work,  # scratch, backward_work elements: an array
    ):
        mode = flush_denormals()
        n = lanes(work)
        k, hidden_p, input_p = gates * hidden_size, _padded(hidden_size, n), _padded(input_size, n)
        w_ih, w_hh = memory_of(w_ih, k * input_size, work), memory_of(w_hh, k * hidden_size, work)
        d_w_ih = memory_of(d_w_ih, k * input_size, work)
        d_w_hh = memory_of(d_w_hh, k * hidden_size, work)
        d_b_ih, d_b_hh = memory_of(d_b_ih, k, work), memory_of(d_b_hh, k, work)
        x = memory_of(x, rows * input_size * (1 if number == 0 else passes), work)
        d_x = memory_of(d_x, rows * input_size, work)
        state = passes * rows * hidden_size
        h_0, d_h_n = memory_of(h_0, state, work), memory_of(d_h_n, state, work)
        d_h_0, d_others_0 = (
            memory_of(d_h_0, state, work),
            memory_of(d_others_0, (states_count - 1) * state, work),
        )
        d_others_n = memory_of(d_others_n, (states_count - 1) * state, work)
        d_output = memory_of(d_output, rows * hidden_size, work)
        saved = memory_of(saved, passes * rows * saved_count * hidden_p, work)
        work = flat(work)
        x_at = 0 if number == 0 else (number - 1) * rows * input_size
        h_rows = states_count * rows * hidden_p  # behind d_states
        x_rows = h_rows + rows * hidden_p
        zeros = x_rows + rows * input_p
        widest = max(hidden_p, input_p)
        d_a_x, d_a_h = memory_of(d_a_x, rows * k, work), memory_of(d_a_h, rows * k, work)
        if not d_a_h.size:
            d_a_h = part_of(work, zeros + widest, rows * k)
            d_a_x = d_a_h if shared else part_of(work, zeros + widest + rows * k, rows * k)
        if shared:
            d_a_x = d_a_h
        fill(work, zeros, widest, 0)
        zeros = part_of(work, zeros, widest)
        _pad_states(
            d_h_n, d_others_n, passes, number, rows, hidden_size, hidden_p, states_count, work, 0
        )
        before = hidden_size if h_0.size else 0
        for r in range(rows):
            if d_output.size:
                add_row(work, r * hidden_p, d_output, r * hidden_size, hidden_size)
            pad_row(
                work, h_rows + r * hidden_p, h_0, (number * rows + r) * before, before, hidden_p
            )
            pad_row(work, x_rows + r * input_p, x, x_at + r * input_size, input_size, input_p)
            step_row(
                hidden_size,
                0,
                hidden_p // n,
                saved,
                (number * rows + r) * hidden_p * saved_count,
                work,
                h_rows + r * hidden_p,
                work,
                r * hidden_p,
                rows * hidden_p,
                d_a_x,
                d_a_h,
                r * k,
                shared,
            )
        _write_states(
            d_h_0, d_others_0, passes, number, rows, hidden_size, hidden_p, states_count, work, 0
        )
        product_back(
            rows,
            0,
            hidden_size,
            k,
            d_a_h,
            0,
            k,
            w_hh,
            hidden_size,
            False,
            work,
            0,
            hidden_p,
            d_h_0,
            number * rows * hidden_size,
            hidden_size,
        )
        if d_x.size:
            product_back(
                rows,
                0,
                input_size,
                k,
                d_a_x,
                0,
                k,
                w_ih,
                input_size,
                False,
                zeros,
                0,
                0,
                d_x,
                0,
                input_size,
            )
        if d_w_hh.size:
            add_outer(
                rows, 0, k, d_a_h, 0, k, work, h_rows, hidden_p, hidden_size, d_w_hh, True, zeros
            )
            add_outer(
                rows, 0, k, d_a_x, 0, k, work, x_rows, input_p, input_size, d_w_ih, True, zeros
            )
        add_columns(rows, 0, k, d_a_x, 0, k, d_b_ih, True)
        add_columns(rows, 0, k, d_a_h, 0, k, d_b_hh, True)
        restore_mode(mode)

    return forward, backward


def forward_work(rows: int, columns: int, hidden_p: int, states: int, lanes: int) -> int:
    """Return the elements of `work` in forward; columns: G*Hp."""
    return 2 * columns + 2 * states * rows * hidden_p + 2 * rows * columns // hidden_p * lanes


def backward_work(rows: int, k: int, hidden_p: int, input_p: int, states: int) -> int:
    """Return the elements of `work` in backward; k: G*H."""
    return rows * ((states + 1) * hidden_p + input_p + 2 * k) + max(hidden_p, input_p)
