"""The part of BPTT that is not sequential: large products over the rows of many steps.

Rows, notation and threads are those of forward.py; the loop back that makes the rows is in
backward.py. Each function computes a share of a result, whole sums in the order of the rows, so
that the result does not depend on how work is shared.
"""

from typing import NamedTuple

import numpy as np

from fastrnn.engine.work import BACKWARD, region
from fastrnn.kernels.gemm import add_columns, add_outer, product_back
from fastrnn.kernels.jit import jit
from fastrnn.kernels.memory import flat, load, store
from fastrnn.kernels.rows import clear, copy_row
from fastrnn.kernels.simd import lanes


class BackwardBuffers(NamedTuple):
    """What the loop back reads and writes besides sequences; rows are `*_pitch` long."""

    saved: np.ndarray  # as the forward pass wrote it
    unprojected: np.ndarray
    slot: int  # where this direction's states are, in
    h_0: np.ndarray  # (directions of all layers, B, E) in the caller's order; empty: zeros
    d_states: np.ndarray  # (states, B, Hp) gradient at the states, of the step that comes next
    d_emitted: np.ndarray  # (B, Ep) and at the emitted h
    d_a_x: np.ndarray  # (rows of a block, a_pitch); the same as d_a_h where a cell shares them
    d_a_h: np.ndarray
    a_pitch: int
    h_rows: np.ndarray  # (rows of a block, h_pitch) h before each step
    h_pitch: int
    d_h_rows: np.ndarray  # (rows of a block, d_h_pitch) gradient at each projected h
    d_h_pitch: int
    x_rows: np.ndarray  # (rows of a block, x_pitch)
    x_pitch: int
    place: np.ndarray  # of each row: time * B + sequence
    packed: bool  # W_hh and W_ih are; else they are the caller's
    w_hh: np.ndarray  # (G*H, E)
    w_ih: np.ndarray  # (G*H, I)
    w_hr: np.ndarray  # packed (E, H); empty: no projection
    zeros: np.ndarray


class Sums(NamedTuple):
    """Gradients of the weights, in torch's shapes; empty: missing."""

    w_ih: np.ndarray
    w_hh: np.ndarray
    b_ih: np.ndarray
    b_hh: np.ndarray
    w_hr: np.ndarray
    table: np.ndarray  # (I, a_pitch) for one-hot input: w_ih's transposed. Empty: w_ih itself


@jit
def buffers_in(work, plan, slot, h_0, residuals, place, w_ih, w_hh, shared):
    """Return the BackwardBuffers that lie in a work space."""
    offsets, rows = plan.offsets, plan.block_rows
    d_a_h = region(work, offsets, BACKWARD.d_a_h, 0, 1)
    d_a_x = d_a_h if shared else region(work, offsets, BACKWARD.d_a_x, 0, 1)
    h_rows = region(work, offsets, BACKWARD.h_rows, 0, 1)
    d_h_rows = region(work, offsets, BACKWARD.d_h_rows, 0, 1)
    x_rows = region(work, offsets, BACKWARD.x_rows, 0, 1)
    packed_hh = region(work, offsets, BACKWARD.w_hh, 0, 1)
    packed_ih = region(work, offsets, BACKWARD.w_ih, 0, 1)
    return BackwardBuffers(
        flat(residuals[0]),
        flat(residuals[1]),
        slot,
        flat(h_0),
        region(work, offsets, BACKWARD.d_states, 0, 1),
        region(work, offsets, BACKWARD.d_emitted, 0, 1),
        d_a_x,
        d_a_h,
        d_a_h.size // rows,
        h_rows,
        h_rows.size // rows,
        d_h_rows,
        d_h_rows.size // rows,
        x_rows,
        x_rows.size // rows,
        flat(place),
        plan.packed,
        packed_hh if plan.packed else flat(w_hh),
        packed_ih if plan.packed else flat(w_ih),
        region(work, offsets, BACKWARD.w_hr, 0, 1),
        region(work, offsets, BACKWARD.zeros, 0, 1),
    )


@jit
def input_gradient(part, parts, rows, sequences, back, input_size, k, d_x, scratch):
    """Gather a share of the rows of x, and compute the same rows of its gradient.

    d_x: batch.Rows, empty: not wanted.
    """
    batch = sequences.order.size
    r0, r1 = rows * part // parts, rows * (part + 1) // parts
    if back.x_rows.size:
        for row in range(r0, r1):
            t, b = back.place[row] // batch, back.place[row] % batch
            at = t * sequences.time + b * sequences.row
            copy_row(back.x_rows, row * back.x_pitch, sequences.x, at, input_size)
    if d_x.array.size and r0 < r1:
        n = lanes(scratch)
        pitch = (input_size + n - 1) // n * n
        own = scratch.size // parts * part
        product_back(r1 - r0, 0, input_size, k, back.d_a_x, r0 * back.a_pitch, back.a_pitch,
                     back.w_ih, input_size, back.packed, back.zeros, 0, 0,
                     scratch, own, pitch)  # fmt: skip
        for row in range(r0, r1):
            t, b = back.place[row] // batch, back.place[row] % batch
            to = d_x.at + t * d_x.time + b * d_x.row
            copy_row(d_x.array, to, scratch, own + (row - r0) * pitch, input_size)


@jit
def weight_gradients(part, parts, rows, row0, sequences, back, sizes, sums, fresh):
    """Add the rows of a block to a share of the rows of each weight's gradient.

    row0: the number of the first row; sizes: (I, E, H, G*H, Hp); fresh: the sums hold nothing yet.
    """
    input_size, emitted_size, hidden_size, k, hidden_p = sizes
    n, a_pitch = lanes(back.zeros), back.a_pitch
    vectors = (k + n - 1) // n
    m0, m1 = vectors * part // parts * n, min(k, vectors * (part + 1) // parts * n)
    add_outer(
        rows,
        m0,
        m1,
        back.d_a_h,
        0,
        a_pitch,
        back.h_rows,
        0,
        back.h_pitch,
        emitted_size,
        sums.w_hh,
        fresh,
        back.zeros,
    )
    if sequences.x.size:
        add_outer(
            rows,
            m0,
            m1,
            back.d_a_x,
            0,
            a_pitch,
            back.x_rows,
            0,
            back.x_pitch,
            input_size,
            sums.w_ih,
            fresh,
            back.zeros,
        )
    else:
        _one_hot_gradient(rows, m0, m1, sequences, back, input_size, sums, fresh)
    add_columns(rows, m0, m1, back.d_a_x, 0, a_pitch, sums.b_ih, fresh)
    add_columns(rows, m0, m1, back.d_a_h, 0, a_pitch, sums.b_hh, fresh)
    if sums.w_hr.size:
        e0, e1 = emitted_size * part // parts, emitted_size * (part + 1) // parts
        add_outer(
            rows,
            e0,
            e1,
            back.d_h_rows,
            0,
            back.d_h_pitch,
            back.unprojected,
            row0 * hidden_p,
            hidden_p,
            hidden_size,
            sums.w_hr,
            fresh,
            back.zeros,
        )


@jit
def _one_hot_gradient(rows, m0, m1, sequences, back, input_size, sums, fresh):
    """Add rows m0..m1 of W_ih's gradient for one-hot input: each row has one column."""
    n, batch = lanes(back.zeros), sequences.order.size
    if fresh and not sums.table.size:
        clear(sums.w_ih, m0 * input_size, (m1 - m0) * input_size)
    for row in range(rows):
        t, b = back.place[row] // batch, back.place[row] % batch
        code = sequences.index[t * sequences.time + b * sequences.row]
        if sums.table.size:
            for m in range(m0, m1, n):
                at = code * back.a_pitch + m
                total = load(sums.table, at) + load(back.d_a_x, row * back.a_pitch + m)
                store(sums.table, at, total)
        else:
            for m in range(m0, m1):
                at = m * input_size + code
                sums.w_ih[at] = sums.w_ih[at] + back.d_a_x[row * back.a_pitch + m]


@jit
def transpose_table(part, parts, sums, input_size, k, pitch):
    """Give a share of the rows of W_ih's gradient what was added up by class."""
    for m in range(k * part // parts, k * (part + 1) // parts):
        for code in range(input_size):
            sums.w_ih[m * input_size + code] = sums.table[code * pitch + m]
