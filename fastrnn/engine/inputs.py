"""The input's part of the pre-activations: a_x = b_ih + x W_ihᵀ, for many steps at once.

Rows, threads and letters are those of forward.py, whose loop consumes a_x. One-hot input picks
columns of W_ih; no one-hot vector is ever built.
"""

from typing import NamedTuple

import numpy as np

from fastrnn.kernels.dots import dots
from fastrnn.kernels.gemm import product
from fastrnn.kernels.jit import jit
from fastrnn.kernels.memory import load, store
from fastrnn.kernels.rows import copy_row
from fastrnn.kernels.simd import lanes
from fastrnn.kernels.tile import TERMS


class Sequences(NamedTuple):
    """What is read, and in which order."""

    x: np.ndarray  # flat; (t, b) begins at t * time + b * row. Empty for one-hot input:
    index: np.ndarray  # flat, the same places; then this holds the classes
    time: int
    row: int
    order: np.ndarray  # (B,) sorted by falling length: which sequence
    lengths: np.ndarray  # (B,) how long
    reverse: bool


class Weights(NamedTuple):
    """What multiplies: packed, or `thin`, the caller's own arrays."""

    thin: bool
    gather: bool  # a one-hot input picks columns of the caller's w_ih
    w_ih: np.ndarray
    w_hh: np.ndarray
    w_hr: np.ndarray  # packed (H, E); empty: no projection
    b_ih: np.ndarray  # blocked, as b_hh
    b_hh: np.ndarray
    zeros: np.ndarray


@jit
def time_of(s, length, reverse):
    """Return the time a sequence of this length reads at its step s."""
    return length - 1 - s if reverse else s


@jit
def affine_thin(rows, k, a, a_at, a_row, w, b, gates, hidden_size, unit0, unit1, c, c_at, c_row):
    """Write b + a wᵀ for hidden units in blocks unit0..unit1, of a weight that is not packed.

    c_at is where block unit0 begins.
    """
    n = lanes(c)
    for unit in range(unit0, unit1):
        for gate in range(gates):
            dots(
                rows,
                min(n, hidden_size - unit * n),
                k,
                a,
                a_at,
                a_row,
                w,
                (gate * hidden_size + unit * n) * k,
                k,
                b,
                (unit * gates + gate) * n,
                c,
                c_at + ((unit - unit0) * gates + gate) * n,
                c_row,
            )


@jit
def affine(rows, k, a, a_at, a_row, thin, w, b, gates, hidden_size, width, unit0, unit1, c, c_at):
    """Write the pre-activations b + a wᵀ of the hidden units in blocks unit0..unit1."""
    n = lanes(c)
    blocks = (hidden_size + n - 1) // n
    columns, column = blocks * gates * n, unit0 * gates * n
    if thin:
        affine_thin(
            rows,
            k,
            a,
            a_at,
            a_row,
            w,
            b,
            gates,
            hidden_size,
            unit0,
            unit1,
            c,
            c_at + column,
            columns,
        )
    else:
        product(
            rows,
            (unit1 - unit0) * gates * n,
            k,
            TERMS,
            a,
            a_at,
            a_row,
            1,
            w,
            column * k,
            width * n * k,
            0,
            width,
            b,
            column,
            0,
            c,
            c_at + column,
            columns,
        )


@jit
def pick(
    rows,
    sequences,
    s,
    j0,
    weights,
    input_size,
    gates,
    hidden_size,
    width,
    unit0,
    unit1,
    a_x,
    a_x_at,
):
    """Write the input's part of one step for one-hot input: b_ih and the picked columns of W_ih."""
    n = lanes(a_x)
    blocks = (hidden_size + n - 1) // n
    columns = blocks * gates * n
    for row in range(rows):
        j = j0 + row
        t = time_of(s, sequences.lengths[j], sequences.reverse)
        code = sequences.index[t * sequences.time + sequences.order[j] * sequences.row]
        for vector in range(unit0 * gates, unit1 * gates):
            column, to = vector * n, a_x_at + row * columns + vector * n
            if weights.gather:
                first = vector // gates * n
                for lane in range(n):
                    unit = vector % gates * hidden_size + min(first + lane, hidden_size - 1)
                    a_x[to + lane] = (
                        weights.b_ih[column + lane] + weights.w_ih[unit * input_size + code]
                    )
            else:
                panel = column // (width * n)
                pitch = min(width * n, columns - panel * width * n)
                at = panel * width * n * input_size + code * pitch + column - panel * width * n
                store(a_x, to, load(weights.b_ih, column) + load(weights.w_ih, at))


@jit
def input_part(
    begin,
    end,
    most,
    j0,
    j1,
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
):
    """Write a_x = b_ih + x W_ihᵀ for steps begin..end of a slice, for some hidden units."""
    n = lanes(a_x)
    columns = (hidden_size + n - 1) // n * gates * n
    lengths, order, reverse = sequences.lengths, sequences.order, sequences.reverse
    batch = lengths.size
    rows = 0
    # Equal lengths, in the caller's order: row (s, j) is where a formula says.
    regular = lengths[batch - 1] == lengths[0]
    step = -sequences.time if reverse else sequences.time
    whole = j1 - j0 == 1 or (step == sequences.row * (j1 - j0) and not weights.thin)
    pitch = x_rows.size // (most * (j1 - j0))
    for s in range(begin, end):
        running = 0
        for j in range(j0, j1):
            running += lengths[j] > s
        at = time_of(s, lengths[j0], reverse) * sequences.time + j0 * sequences.row
        if not sequences.x.size:
            pick(
                running,
                sequences,
                s,
                j0,
                weights,
                input_size,
                gates,
                hidden_size,
                width,
                unit0,
                unit1,
                a_x,
                rows * columns,
            )
        elif regular and whole:
            if s == begin:
                affine(
                    (end - begin) * running,
                    input_size,
                    sequences.x,
                    at,
                    step if j1 - j0 == 1 else sequences.row,
                    weights.thin,
                    weights.w_ih,
                    weights.b_ih,
                    gates,
                    hidden_size,
                    width,
                    unit0,
                    unit1,
                    a_x,
                    0,
                )
        elif regular and running >= 24 and not weights.thin:
            affine(
                running,
                input_size,
                sequences.x,
                at,
                sequences.row,
                weights.thin,
                weights.w_ih,
                weights.b_ih,
                gates,
                hidden_size,
                width,
                unit0,
                unit1,
                a_x,
                rows * columns,
            )
        else:
            for j in range(j0, j0 + running):
                at = time_of(s, lengths[j], reverse) * sequences.time + order[j] * sequences.row
                copy_row(x_rows, (rows + j - j0) * pitch, sequences.x, at, input_size)
            if s == end - 1:
                affine(
                    rows + running,
                    input_size,
                    x_rows,
                    0,
                    pitch,
                    weights.thin,
                    weights.w_ih,
                    weights.b_ih,
                    gates,
                    hidden_size,
                    width,
                    unit0,
                    unit1,
                    a_x,
                    0,
                )
        rows += running
