"""What can be done for many time steps at once: the large products around the loop over time.

The rows, slices and letters are those of recurrence.py, whose loops do the rest. Each function
computes the part of a result it is told, whole sums in the order of the rows, so that the result
does not depend on how the work is shared.
"""

from fastrnn._jit import jit
from fastrnn.kernels.gemm import product
from fastrnn.kernels.rows import add_column, copy_row, flat
from fastrnn.kernels.simd import lanes, load, store
from fastrnn.kernels.tile import TERMS, WIDEST


@jit
def time_of(s, length, reverse):
    """Return the time a sequence of this length reads at its step s."""
    return length - 1 - s if reverse else s


@jit
def terms_over_time(rows):
    """Return the block of a sum over the rows of a piece: its rounding is seen, as it is long.

    About as precise as adding step by step, which is what autograd does.
    """
    return 16 if rows < 256 else 64


@jit
def input_part(
    x,              # flat; (t, b) begins at t * x_time + b * x_row.  Empty for one-hot input:
    index,          # flat, the same places                           then this holds the classes
    x_time, x_row, input_size,
    order, lengths, reverse,   # (B,) sorted: which sequence, how long
    w_ih, b_ih, width,         # packed (I, GHp); (GHp,)
    s0, s1, j0, j1,            # the steps and the slice
    x_rows,         # scratch (rows, I)
    a_x,            # (rows, GHp) written
):
    """a_x = b_ih + x W_ihᵀ for all steps s0..s1 of a slice; a one-hot x picks a row of W_ihᵀ."""
    n = lanes(a_x)
    columns = b_ih.size
    panel_size = width * n * input_size
    rows = 0
    for s in range(s0, s1):
        for j in range(j0, j1):
            if lengths[j] <= s:
                break
            at = time_of(s, lengths[j], reverse) * x_time + order[j] * x_row
            if x.size:
                copy_row(x_rows, rows * input_size, x, at, input_size)
            else:
                for column in range(0, columns, n):
                    panel = column // (width * n)
                    pitch = min(width * n, columns - panel * width * n)
                    w_at = (panel * panel_size + index[at] * pitch + column
                            - panel * width * n)
                    store(a_x, rows * columns + column,
                          load(b_ih, column) + load(w_ih, w_at))
            rows += 1
    if x.size:
        product(rows, columns, input_size, TERMS, x_rows, 0, input_size, 1,
                w_ih, 0, panel_size, 0, width, b_ih, 0, 0, a_x, 0, columns)


@jit
def backward_products(
    rows,              # real steps in this piece
    place, batch,
    x, index, x_time, x_row,       # the input, as in input_part
    d_a_x, d_a_h,      # (rows, pitch)
    h_rows,            # (rows, pitch)
    m0, m1,            # this part: rows m0..m1 of the blocked weights, ...
    d_w_ih,            # (GHp, pitch) added to; for one-hot input its transpose, (I, GHp)
    d_w_hh,            # (GHp, pitch) added to
    d_b_ih, d_b_hh,    # (GHp,)       added to
    x_rows,            # scratch (rows, pitch) of this part
    r0, r1,            # ... and rows r0..r1 of the input's gradient
    w_ih, input_size,  # packed (GHp, I), or empty: no gradient of the input
    zeros,
    d_x_rows,          # scratch (rows, Ip) of this part
    d_x, d_x_time, d_x_row,        # flat, written
    emitted_size,
):
    """The four products of BPTT over all rows of a piece, for one part of their results.

    A part computes whole sums, in the order of the rows: the result does not depend on how
    the work is shared.
    """
    n = lanes(d_a_h)
    pitch, h_pitch, x_pitch, x_p = (
        d_a_h.shape[1], h_rows.shape[1], x_rows.shape[1], d_x_rows.shape[1])
    k, ih_pitch, hh_pitch = d_w_hh.shape[0], d_w_ih.shape[1], d_w_hh.shape[1]
    d_a_x, d_a_h, h_rows, x_rows = flat(d_a_x), flat(d_a_h), flat(h_rows), flat(x_rows)
    d_w_ih, d_w_hh, d_x_rows = flat(d_w_ih), flat(d_w_hh), flat(d_x_rows)
    terms = terms_over_time(rows)
    if x.size:
        for row in range(rows):
            at = place[row] // batch * x_time + place[row] % batch * x_row
            copy_row(x_rows, row * x_pitch, x, at, input_size)
        product(m1 - m0, input_size, rows, terms, d_a_x, m0, 1, pitch,
                x_rows, 0, WIDEST * n, x_pitch, WIDEST,
                d_w_ih, m0 * ih_pitch, ih_pitch,
                d_w_ih, m0 * ih_pitch, ih_pitch)
    else:
        for row in range(rows):
            code = index[place[row] // batch * x_time + place[row] % batch * x_row]
            for m in range(m0, m1, n):
                at = code * ih_pitch + m
                store(d_w_ih, at, load(d_w_ih, at) + load(d_a_x, row * pitch + m))
    product(m1 - m0, emitted_size, rows, terms, d_a_h, m0, 1, pitch,
            h_rows, 0, WIDEST * n, h_pitch, WIDEST,
            d_w_hh, m0 * hh_pitch, hh_pitch,
            d_w_hh, m0 * hh_pitch, hh_pitch)
    for m in range(m0, m1, n):
        add_column(d_b_ih, m, d_a_x, m, pitch, rows)
        add_column(d_b_hh, m, d_a_h, m, pitch, rows)
    if w_ih.size and r0 < r1:
        product(r1 - r0, input_size, k, TERMS, d_a_x, r0 * pitch, pitch, 1,
                w_ih, 0, WIDEST * n * k, 0, WIDEST, zeros, 0, 0, d_x_rows, 0, x_p)
        for row in range(r0, r1):
            at = place[row] // batch * d_x_time + place[row] % batch * d_x_row
            copy_row(d_x, at, d_x_rows, (row - r0) * x_p, input_size)


@jit
def projection_product(
    rows, h_size, m_size,
    d_h_rows,          # (rows, pitch) gradient at the projected h
    unprojected, at,   # (rows, Hp) from element `at` on
    d_w_hr,            # (E, pitch) added to
):
    """d_W_hr += d_hᵀ m, m the state before the projection."""
    pitch = d_w_hr.shape[1]
    product(h_size, m_size, rows, terms_over_time(rows), flat(d_h_rows), 0, 1, d_h_rows.shape[1],
            flat(unprojected), at, WIDEST * lanes(d_w_hr), unprojected.shape[1], WIDEST,
            flat(d_w_hr), 0, pitch, flat(d_w_hr), 0, pitch)
