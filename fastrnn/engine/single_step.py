"""A single step: forward and backward kernels for few rows, by one thread, weights unpacked.

The same arithmetic in the same order as forward.py and backward.py have for a sequence of one step,
so the same bits; without their plans and regions, which take longer than a step of a small layer.
Deliberately not here: many rows, long sums, lengths, projections and one-hot input.

Kernels take C-contiguous arrays or their addresses, whichever the caller has at hand: each is
compiled for either. What is missing has size 0, or the address 0.

Notation as in forward.py: I input, H hidden, G gates; a `_p` suffix means padded to whole vectors.
"""

from fastrnn.engine.inputs import affine_unpacked
from fastrnn.kernels.gemm import add_columns, add_outer, block_bias, product_back
from fastrnn.kernels.jit import jit, kernel
from fastrnn.kernels.machine import flush_denormals, restore_mode
from fastrnn.kernels.memory import flat, memory_of, part_of
from fastrnn.kernels.rows import add_row, clear, copy_row, pad_row
from fastrnn.kernels.simd import lanes


@jit
def _padded(size, n):
    return (size + n - 1) // n * n


@jit
def _pad_states(h, carried, layers, layer, rows, hidden_size, hidden_p, states_count, to, at):
    """Write the states of a layer, or zeros, to `to` from `at` on: (states, rows, Hp)."""
    for i in range(states_count):
        source = h if i == 0 else carried
        slot = layer if i == 0 else (i - 1) * layers + layer
        size = hidden_size if source.size else 0
        for row in range(rows):
            pad_row(
                to,
                at + (i * rows + row) * hidden_p,
                source,
                (slot * rows + row) * size,
                size,
                hidden_p,
            )


@jit
def _write_states(h, carried, layers, layer, rows, hidden_size, hidden_p, states_count, source, at):
    """Write the states of a layer that lie at `at`, as _pad_states leaves them."""
    for i in range(states_count):
        to = h if i == 0 else carried
        slot = layer if i == 0 else (i - 1) * layers + layer
        for row in range(rows):
            copy_row(
                to,
                (slot * rows + row) * hidden_size,
                source,
                at + (i * rows + row) * hidden_p,
                hidden_size,
            )


def bind_single_step(name, step_tile, step_row, gates, states_count, saved_count, shared):
    """Return the compiled step of a cell, and its gradient.

    step_tile and step_row are step.bind_tile's and step.bind_row's; shared: Cell.shared.
    """

    @kernel(name=f"{name}_single_forward")
    def forward(
        sizes,  # (layers, layer, rows, I, H): of how many layers the state is, and which this is
        weights,  # (w_ih, w_hh, b_ih, b_hh); biases may be missing
        x,  # (rows, I); of an upper layer: h_n, which the layer below has written
        initial,  # (h_0, carried_0): (layers, rows, H), (states - 1, layers, rows, H); missing: 0
        final,  # (h_n, carried_n): the same, written
        output,  # (rows, H) gets h too, or is missing
        saved,  # (layers, rows, saved, Hp) written, or missing
        work,  # scratch, an array of forward_work elements
    ):
        mode = flush_denormals()
        layers, layer, rows, input_size, hidden_size = sizes
        n = lanes(work)
        hidden_p, k = _padded(hidden_size, n), gates * hidden_size
        columns, between = gates * hidden_p, rows * hidden_p
        state = layers * rows * hidden_size
        w_ih = memory_of(weights[0], k * input_size, work)
        w_hh = memory_of(weights[1], k * hidden_size, work)
        b_ih, b_hh = memory_of(weights[2], k, work), memory_of(weights[3], k, work)
        x = memory_of(x, rows * input_size * (1 if layer == 0 else layers), work)
        h_0, h_n = memory_of(initial[0], state, work), memory_of(final[0], state, work)
        carried_0 = memory_of(initial[1], (states_count - 1) * state, work)
        carried_n = memory_of(final[1], (states_count - 1) * state, work)
        output = memory_of(output, rows * hidden_size, work)
        saved = memory_of(saved, layers * rows * saved_count * hidden_p, work)
        work = flat(work)
        x_at = 0 if layer == 0 else (layer - 1) * rows * input_size
        blocked_ih, blocked_hh = part_of(work, 0, columns), part_of(work, columns, columns)
        old = 2 * columns
        new = old + states_count * between
        a_x = new + states_count * between
        a_h = a_x + rows * gates * n
        block_bias(b_ih, gates, blocked_ih)
        block_bias(b_hh, gates, blocked_hh)
        _pad_states(
            h_0, carried_0, layers, layer, rows, hidden_size, hidden_p, states_count, work, old
        )
        for unit in range(hidden_p // n):
            affine_unpacked(rows, input_size, x, x_at, input_size, w_ih, blocked_ih,
                            gates, hidden_size, unit, unit + 1, work, a_x, gates * n)  # fmt: skip
            affine_unpacked(rows, hidden_size, work, old, hidden_p, w_hh, blocked_hh,
                            gates, hidden_size, unit, unit + 1, work, a_h, gates * n)  # fmt: skip
            step_tile(rows, 1, work, a_x, gates * n, part_of(work, a_h, rows * gates * n),
                      gates * n, work, old + unit * n, new + unit * n, hidden_p, between,
                      saved, (layer * rows * (hidden_p // n) + unit) * saved_count * n,
                      hidden_p * saved_count)  # fmt: skip
        _write_states(
            h_n, carried_n, layers, layer, rows, hidden_size, hidden_p, states_count, work, new
        )
        if output.size:
            copy_row(output, 0, h_n, layer * rows * hidden_size, rows * hidden_size)
        restore_mode(mode)

    @kernel(name=f"{name}_single_backward")
    def backward(
        sizes,  # as in forward, as are weights (w_ih, w_hh) and x
        weights,
        x,
        kept,  # (h_0, saved) as in forward
        d_final,  # (d_h_n, d_carried_n); missing: zeros
        d_output,  # (rows, H); missing: zeros
        d_x,  # (rows, I) written, or missing: not wanted
        d_initial,  # (d_h_0, d_carried_0) written
        d_weights,  # (d_w_ih, d_w_hh, d_b_ih, d_b_hh) written; may be missing
        d_pre,  # (d_a_x, d_a_h), (rows, G*H) at the pre-activations, written; may be missing. The
        # cell is `shared`: the same in both, and only d_a_h is
        work,  # scratch, an array of backward_work elements
    ):
        mode = flush_denormals()
        layers, layer, rows, input_size, hidden_size = sizes
        n = lanes(work)
        k, hidden_p, input_p = gates * hidden_size, _padded(hidden_size, n), _padded(input_size, n)
        state = layers * rows * hidden_size
        w_ih = memory_of(weights[0], k * input_size, work)
        w_hh = memory_of(weights[1], k * hidden_size, work)
        d_w_ih = memory_of(d_weights[0], k * input_size, work)
        d_w_hh = memory_of(d_weights[1], k * hidden_size, work)
        d_b_ih, d_b_hh = memory_of(d_weights[2], k, work), memory_of(d_weights[3], k, work)
        x = memory_of(x, rows * input_size * (1 if layer == 0 else layers), work)
        d_x = memory_of(d_x, rows * input_size, work)
        h_0 = memory_of(kept[0], state, work)
        saved = memory_of(kept[1], layers * rows * saved_count * hidden_p, work)
        d_h_n, d_h_0 = memory_of(d_final[0], state, work), memory_of(d_initial[0], state, work)
        d_carried_n = memory_of(d_final[1], (states_count - 1) * state, work)
        d_carried_0 = memory_of(d_initial[1], (states_count - 1) * state, work)
        d_output = memory_of(d_output, rows * hidden_size, work)
        d_a_x, d_a_h = memory_of(d_pre[0], rows * k, work), memory_of(d_pre[1], rows * k, work)
        work = flat(work)
        x_at = 0 if layer == 0 else (layer - 1) * rows * input_size
        h_rows = states_count * rows * hidden_p  # after d_states
        x_rows = h_rows + rows * hidden_p
        zeros_at = x_rows + rows * input_p
        pre_at = zeros_at + max(hidden_p, input_p)
        if not d_a_h.size:
            d_a_h = part_of(work, pre_at, rows * k)
            d_a_x = d_a_h if shared else part_of(work, pre_at + rows * k, rows * k)
        if shared:
            d_a_x = d_a_h
        clear(work, zeros_at, max(hidden_p, input_p))
        zeros = part_of(work, zeros_at, max(hidden_p, input_p))
        _pad_states(
            d_h_n, d_carried_n, layers, layer, rows, hidden_size, hidden_p, states_count, work, 0
        )
        h_size = hidden_size if h_0.size else 0
        for r in range(rows):
            if d_output.size:
                add_row(work, r * hidden_p, d_output, r * hidden_size, hidden_size)
            h_at = h_rows + r * hidden_p
            pad_row(work, h_at, h_0, (layer * rows + r) * h_size, h_size, hidden_p)
            pad_row(work, x_rows + r * input_p, x, x_at + r * input_size, input_size, input_p)
            step_row(
                hidden_size,
                0,
                hidden_p // n,
                saved,
                (layer * rows + r) * hidden_p * saved_count,
                work,
                h_at,
                work,
                r * hidden_p,
                rows * hidden_p,
                d_a_x,
                d_a_h,
                r * k,
            )
        _write_states(
            d_h_0, d_carried_0, layers, layer, rows, hidden_size, hidden_p, states_count, work, 0
        )
        product_back(rows, 0, hidden_size, k, d_a_h, 0, k, w_hh, hidden_size, False,
                     work, 0, hidden_p, d_h_0, layer * rows * hidden_size, hidden_size)  # fmt: skip
        if d_x.size:
            product_back(rows, 0, input_size, k, d_a_x, 0, k, w_ih, input_size, False,
                         zeros, 0, 0, d_x, 0, input_size)  # fmt: skip
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
