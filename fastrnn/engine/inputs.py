"""The input's part of the pre-activations: a_x = b_ih + x W_ihᵀ, for many steps at once.

Rows, threads and notation are those of forward.py, whose loop consumes a_x. One-hot input picks
columns of W_ih; no one-hot vector is ever built.
"""

from fastrnn.kernels.dots import dots
from fastrnn.kernels.gemm import product
from fastrnn.kernels.jit import jit
from fastrnn.kernels.memory import load, store
from fastrnn.kernels.rows import clear, copy_row
from fastrnn.kernels.simd import lanes
from fastrnn.kernels.tile import TERMS


@jit
def time_of(s, length, reverse):
    """Return the time a sequence of this length reads at its step s."""
    return length - 1 - s if reverse else s


@jit(inline=True)  # for each row of a step
def is_cut(sequences, s, j):
    """Return whether a reset lies between the steps s - 1 and s of the sequence at j.

    s may be 0: then it lies between the initial state and the first step.
    """
    if not sequences.cuts.size or (sequences.reverse and s == 0):
        return False
    # Read from its end, a sequence is cut by the reset after the time that it reads next.
    t = sequences.lengths[j] - s if sequences.reverse else s
    return sequences.cuts[t * sequences.order.size + sequences.order[j]] != 0


@jit
def affine_unpacked(
    rows, k, a, a_at, a_row, w, b, gates, hidden_size, unit0, unit1, c, c_at, c_row
):
    """Write b + a wᵀ for hidden units in blocks unit0..unit1, of a weight that is not packed.

    c_at is where block unit0 starts.
    """
    n = lanes(c)
    for unit in range(unit0, unit1):
        for gate in range(gates):
            w_at, b_at = (gate * hidden_size + unit * n) * k, (unit * gates + gate) * n
            to = c_at + ((unit - unit0) * gates + gate) * n
            count = min(n, hidden_size - unit * n)
            dots(rows, count, k, a, a_at, a_row, w, w_at, k, b, b_at, c, to, c_row)


@jit
def affine(rows, k, a, a_at, a_row, packed, w, b, gates, hidden_size, width, unit0, unit1, c, c_at):
    """Write the pre-activations b + a wᵀ of the hidden units in blocks unit0..unit1."""
    n = lanes(c)
    blocks = (hidden_size + n - 1) // n
    columns, column = blocks * gates * n, unit0 * gates * n
    if packed:
        product(rows, (unit1 - unit0) * gates * n, k, TERMS, a, a_at, a_row, 1,
                w, column * k, width * n * k, 0, width, b, column, 0,
                c, c_at + column, columns)  # fmt: skip
    else:
        affine_unpacked(rows, k, a, a_at, a_row, w, b, gates, hidden_size, unit0, unit1,
                        c, c_at + column, columns)  # fmt: skip


@jit
def pick(
    rows,
    sequences,
    s,
    j0,
    operands,
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
            if operands.gather:
                first = vector // gates * n
                for lane in range(n):
                    unit = vector % gates * hidden_size + min(first + lane, hidden_size - 1)
                    weight = operands.w_ih[unit * input_size + code]
                    a_x[to + lane] = operands.b_ih[column + lane] + weight
            else:
                panel = column // (width * n)
                pitch = min(width * n, columns - panel * width * n)
                at = panel * width * n * input_size + code * pitch + column - panel * width * n
                store(a_x, to, load(operands.b_ih, column) + load(operands.w_ih, at))


@jit
def input_part(
    s0,
    s1,
    block,  # the work space has room for this many steps
    j0,
    j1,
    unit0,
    unit1,
    sequences,
    operands,
    input_size,
    hidden_size,
    gates,
    width,
    x_rows,  # scratch for rows of x
    a_x,  # written
):
    """Write a_x = b_ih + x W_ihᵀ for steps s0..s1 of a slice, for some hidden units."""
    n = lanes(a_x)
    columns = (hidden_size + n - 1) // n * gates * n
    lengths, order, reverse = sequences.lengths, sequences.order, sequences.reverse
    packed, w, b = operands.packed, operands.w_ih, operands.b_ih
    batch, rows = lengths.size, 0
    # Equal lengths, in the caller's order: row (s, j) is where a formula says.
    regular = lengths[batch - 1] == lengths[0] and not sequences.blanks.size
    step = -sequences.time if reverse else sequences.time
    whole = j1 - j0 == 1 or (step == sequences.row * (j1 - j0) and packed)
    pitch = x_rows.size // (block * (j1 - j0))
    for s in range(s0, s1):
        running = 0
        for j in range(j0, j1):
            running += lengths[j] > s
        at = time_of(s, lengths[j0], reverse) * sequences.time + j0 * sequences.row
        if not sequences.x.size:
            pick(running, sequences, s, j0, operands, input_size, gates, hidden_size, width,
                 unit0, unit1, a_x, rows * columns)  # fmt: skip
        elif regular and whole:
            if s == s0:
                x_row = step if j1 - j0 == 1 else sequences.row
                affine((s1 - s0) * running, input_size, sequences.x, at, x_row, packed, w, b,
                       gates, hidden_size, width, unit0, unit1, a_x, 0)  # fmt: skip
        elif regular and running >= 24 and packed:
            affine(running, input_size, sequences.x, at, sequences.row, packed, w, b,
                   gates, hidden_size, width, unit0, unit1, a_x, rows * columns)  # fmt: skip
        else:
            for j in range(j0, j0 + running):
                t, to = time_of(s, lengths[j], reverse), (rows + j - j0) * pitch
                if sequences.blanks.size and sequences.blanks[t * batch + order[j]]:
                    clear(x_rows, to, input_size)
                else:
                    at = t * sequences.time + order[j] * sequences.row
                    copy_row(x_rows, to, sequences.x, at, input_size)
            if s == s1 - 1:
                affine(rows + running, input_size, x_rows, 0, pitch, packed, w, b,
                       gates, hidden_size, width, unit0, unit1, a_x, 0)  # fmt: skip
        rows += running
