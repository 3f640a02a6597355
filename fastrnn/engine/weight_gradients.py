"""What BPTT does for many time steps at once: the large products around its loop (backward.py).

Rows, letters and threads are those of forward.py. Each function computes a part of a result,
whole sums in the order of the rows, so that the result does not depend on how work is shared.
"""

from typing import NamedTuple

import numpy as np

from fastrnn.kernels.gemm import add_columns, add_outer, product_back
from fastrnn.kernels.jit import jit
from fastrnn.kernels.memory import load, store
from fastrnn.kernels.rows import copy_row, fill
from fastrnn.kernels.simd import lanes


class Back(NamedTuple):
    """What the loop back reads and writes besides the sequences; rows are `*_pitch` long."""

    saved: np.ndarray  # as forward wrote it
    unprojected: np.ndarray
    number: int  # of this pass, in
    h_0: np.ndarray  # (passes, B, E) in the caller's order, or of size 0: zeros
    d_states: np.ndarray  # (states, B, Hp) gradient at the states, of the step that is next
    d_emitted: np.ndarray  # (B, Ep) and at the emitted h
    d_a_x: np.ndarray  # (rows of a piece, a_pitch); the same as d_a_h where a cell shares them
    d_a_h: np.ndarray
    a_pitch: int
    h_rows: np.ndarray  # (rows of a piece, h_pitch) h before each step
    h_pitch: int
    d_h_rows: np.ndarray  # (rows of a piece, d_h_pitch) gradient at each projected h
    d_h_pitch: int
    place: np.ndarray  # of a row: time * B + sequence
    packed: bool  # W_hh and W_ih are; else they are the caller's
    w_hh: np.ndarray  # (GH, E)
    w_hr: np.ndarray  # packed (E, H); empty: no projection
    zeros: np.ndarray


class Sums(NamedTuple):
    """Gradients of the weights, in torch's shapes; of size 0: not there."""

    w_ih: np.ndarray
    w_hh: np.ndarray
    b_ih: np.ndarray
    b_hh: np.ndarray
    w_hr: np.ndarray
    table: np.ndarray  # (I, a_pitch) of a one-hot input: w_ih transposed. Empty: w_ih itself


@jit
def input_rows(
    part,
    parts,
    rows,
    sequences,
    back,
    input_size,
    k,
    x_rows,
    x_pitch,
    w_ih,
    d_x,
    d_x_time,
    d_x_row,
    scratch,
):
    """Gather a share of the rows of x, and compute the same rows of its gradient."""
    batch = sequences.order.size
    r0, r1 = rows * part // parts, rows * (part + 1) // parts
    if x_rows.size:
        for row in range(r0, r1):
            at = back.place[row] // batch * sequences.time + back.place[row] % batch * sequences.row
            copy_row(x_rows, row * x_pitch, sequences.x, at, input_size)
    if d_x.size and r0 < r1:
        n = lanes(scratch)
        pitch = (input_size + n - 1) // n * n
        own = scratch.size // parts * part
        product_back(
            r1 - r0,
            0,
            input_size,
            k,
            back.d_a_x,
            r0 * back.a_pitch,
            back.a_pitch,
            w_ih,
            input_size,
            back.packed,
            back.zeros,
            0,
            0,
            scratch,
            own,
            pitch,
        )
        for row in range(r0, r1):
            at = back.place[row] // batch * d_x_time + back.place[row] % batch * d_x_row
            copy_row(d_x, at, scratch, own + (row - r0) * pitch, input_size)


@jit
def weight_sums(
    part,
    parts,
    rows,
    row0,
    sequences,
    back,
    input_size,
    emitted_size,
    hidden_size,
    k,
    hidden_p,
    x_rows,
    x_pitch,
    sums,
    fresh,
):
    """Add the rows of a piece to a share of the rows of each weight's gradient."""
    n, batch = lanes(x_rows), sequences.order.size
    vectors = (k + n - 1) // n
    m0, m1 = vectors * part // parts * n, min(k, vectors * (part + 1) // parts * n)
    add_outer(
        rows,
        m0,
        m1,
        back.d_a_h,
        0,
        back.a_pitch,
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
            back.a_pitch,
            x_rows,
            0,
            x_pitch,
            input_size,
            sums.w_ih,
            fresh,
            back.zeros,
        )
    else:
        if fresh and not sums.table.size:
            fill(sums.w_ih, m0 * input_size, (m1 - m0) * input_size, 0)
        for row in range(rows):
            code = sequences.index[
                back.place[row] // batch * sequences.time + back.place[row] % batch * sequences.row
            ]
            if sums.table.size:
                for m in range(m0, m1, n):
                    at = code * back.a_pitch + m
                    total = load(sums.table, at) + load(back.d_a_x, row * back.a_pitch + m)
                    store(sums.table, at, total)
            else:
                for m in range(m0, m1):
                    at = m * input_size + code
                    sums.w_ih[at] = sums.w_ih[at] + back.d_a_x[row * back.a_pitch + m]
    add_columns(rows, m0, m1, back.d_a_x, 0, back.a_pitch, sums.b_ih, fresh)
    add_columns(rows, m0, m1, back.d_a_h, 0, back.a_pitch, sums.b_hh, fresh)
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
def untable(part, parts, sums, input_size, k, pitch):
    """Give a share of the rows of W_ih's gradient what was added up by class."""
    for m in range(k * part // parts, k * (part + 1) // parts):
        for code in range(input_size):
            sums.w_ih[m * input_size + code] = sums.table[code * pitch + m]
