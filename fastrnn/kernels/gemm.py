"""Matrix products over the register tile: packing of the weights, and the loops around `tile`.

Two layouts of a weight matrix serve all cells, both with zeros where they are padded:

blocked columns  The G*H rows of a torch weight, reordered so that the gates of one vector of
                 hidden units stand together: column (u, g, l) is gate g of unit u * lanes + l.
                 A row of pre-activations in this order is read by a cell one unit vector at a
                 time, all gates at once, with no rest to treat: `blocked_size` floats.
panels           The columns cut into strips of `width` vectors, each strip stored row by row, so
                 that the tile reads its operand b as one stream.

Threads and time are elsewhere: every function works on the part of the result it is told.
"""

from fastrnn._jit import jit
from fastrnn.kernels.simd import lanes
from fastrnn.kernels.tile import WIDEST, most_rows, tile

_ROWS = tuple(most_rows(vectors) if vectors else 1 for vectors in range(WIDEST + 1))


@jit
def product(
    rows, columns, k,
    a, a_at, a_row, a_step,            # (rows, k), as in simd.tile
    b, b_at, b_panel, b_step, width,   # (k, columns) in panels of `width` vectors, b_panel apart;
                                       # rows b_step apart, or each panel packed tight (b_step = 0)
    d, d_at, d_row,                    # (rows, columns), or one row repeated (d_row = 0)
    c, c_at, c_row,                    # (rows, columns) written
):
    """C = D + A B. The panel is the outer loop: it stays in cache while all rows pass."""
    n = lanes(c)
    for panel in range((columns + width * n - 1) // (width * n)):
        column = panel * width * n
        vectors = min(width, (columns - column + n - 1) // n)
        last = min(n, columns - column - (vectors - 1) * n)
        tiles = (rows + _ROWS[vectors] - 1) // _ROWS[vectors]
        row = 0
        for i in range(tiles):
            # Tiles of nearly one height: 8 rows are 4 + 4, not 6 + 2.
            height = (rows - row + tiles - i - 1) // (tiles - i)
            tile(height, vectors, last, k, a, a_at + row * a_row, a_row, a_step,
                 b, b_at + panel * b_panel, b_step if b_step else vectors * n,
                 d, d_at + row * d_row + column, d_row,
                 c, c_at + row * c_row + column, c_row)
            row += height


@jit
def pack_gates(
    weight,   # (gates * H, k) C-contiguous
    gates, width,
    packed,   # written: (k, blocked columns) in panels of `width` vectors
):
    """Pack weightᵀ with blocked columns: for the pre-activations x weightᵀ and h weightᵀ."""
    n = lanes(packed)
    hidden, k = weight.shape[0] // gates, weight.shape[1]
    source = weight.reshape(weight.size)
    vectors = (hidden + n - 1) // n * gates
    for vector in range(vectors):
        panel, within = vector // width, vector % width
        pitch = min(width, vectors - panel * width) * n
        unit, gate = vector // gates * n, vector % gates
        there = min(n, hidden - unit)
        at = panel * width * n * k + within * n
        for lane in range(n):
            if lane < there:
                row = (gate * hidden + unit + lane) * k
                for s in range(k):
                    packed[at + s * pitch + lane] = source[row + s]
            else:
                for s in range(k):
                    packed[at + s * pitch + lane] = 0


@jit
def pack_gates_transposed(
    weight,   # (gates * H, columns) C-contiguous
    gates,
    packed,   # written: (blocked columns, columns) in panels of WIDEST vectors
):
    """Pack weight with blocked rows: for the gradients d_a weight."""
    n = lanes(packed)
    hidden, columns = weight.shape[0] // gates, weight.shape[1]
    source = weight.reshape(weight.size)
    blocks = (hidden + n - 1) // n
    k = blocks * gates * n
    for panel in range((columns + WIDEST * n - 1) // (WIDEST * n)):
        column = panel * WIDEST * n
        count = min(WIDEST * n, columns - column)
        pitch = (count + n - 1) // n * n
        for s in range(k):
            unit, gate = s // (gates * n) * n + s % n, s // n % gates
            at = panel * WIDEST * n * k + s * pitch
            row = (gate * hidden + unit) * columns + column
            here = count if unit < hidden else 0
            for j in range(here):
                packed[at + j] = source[row + j]
            for j in range(here, pitch):
                packed[at + j] = 0


@jit
def block_bias(
    bias,      # (gates * H,)
    gates,
    blocked,   # written: (blocked columns,)
):
    """Reorder a bias as the columns of pack_gates."""
    n = lanes(blocked)
    hidden = bias.size // gates
    for m in range(blocked.size):
        unit, gate = m // (gates * n) * n + m % n, m // n % gates
        blocked[m] = bias[gate * hidden + unit] if unit < hidden else 0


@jit
def unblock_rows(
    blocked,   # (blocked columns, pitch): a gradient with blocked rows
    pitch, gates,
    weight,    # written: (gates * H, columns)
):
    """Put the rows of a weight's gradient back in torch's order."""
    n = lanes(blocked)
    hidden = weight.shape[0] // gates
    for gate in range(gates):
        for unit in range(hidden):
            at = ((unit // n * gates + gate) * n + unit % n) * pitch
            for j in range(weight.shape[1]):
                weight[gate * hidden + unit, j] = blocked[at + j]
