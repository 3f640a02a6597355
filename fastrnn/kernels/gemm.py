"""Matrix products over the register tile: packing of the weights, and the loops around `tile`.

Two layouts of a weight matrix serve all cells, both with zeros where they are padded:

blocked columns  The G*H rows of a torch weight, reordered so that the gates of one vector of
                 hidden units stand together: column (u, g, l) is gate g of unit u * lanes + l.
                 A row of pre-activations in this order is read by a cell one unit vector at a
                 time, all gates at once, with no rest to treat.
panels           The columns cut into strips of `width` vectors, each strip stored row by row, so
                 that the tile reads its operand b as one stream.

Threads and time are elsewhere: every function works on the part of the result it is told.
Operands are flat memory and where it starts, as in BLAS; `_row` is the distance between rows.
"""

from fastrnn.kernels.jit import jit
from fastrnn.kernels.memory import flat, load_part, store_part
from fastrnn.kernels.rows import add_column, clear, pad_row
from fastrnn.kernels.simd import lanes
from fastrnn.kernels.tile import MAX_VECTORS, TERMS, max_rows, tile
from fastrnn.kernels.transpose import transpose_square

_ROWS = tuple(max_rows(vectors) if vectors else 1 for vectors in range(MAX_VECTORS + 1))


@jit
def product(
    rows, columns, k, terms,
    a, a_at, a_row, a_step,
    b, b_at, b_panel, b_step, width,
    d, d_at, d_row,
    c, c_at, c_row,
):  # fmt: skip
    """C = D + A B. The panel is the outer loop: it stays in cache while all rows pass.

    a: (rows, k), and `terms` of a block of a sum: as in tile.tile.
    b: (k, columns) in panels of `width` vectors, b_panel apart; its rows are b_step apart, or each
        panel is packed tight (b_step = 0).
    d: (rows, columns), or one row repeated (d_row = 0).
    c: (rows, columns), written.
    """
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
            tile(height, vectors, last, k, terms, a, a_at + row * a_row, a_row, a_step,
                 b, b_at + panel * b_panel, b_step if b_step else vectors * n,
                 d, d_at + row * d_row + column, d_row,
                 c, c_at + row * c_row + column, c_row)  # fmt: skip
            row += height


@jit
def product_back(
    rows, first, columns, k, a, a_at, a_row, w, w_row, packed, d, d_at, d_row, c, c_at, c_row
):
    """C = D + A W, for gradients: `columns` of W from `first` on; a, d and c as in product.

    w: (k, w_row), packed by pack_rows, or the caller's, with whole vectors in each row.
    """
    n = lanes(c)
    if packed:
        product(rows, columns, k, TERMS, a, a_at, a_row, 1, w, first * k, MAX_VECTORS * n * k, 0,
                MAX_VECTORS, d, d_at, d_row, c, c_at, c_row)  # fmt: skip
    else:
        # Some of its rows for all columns, then the next: memory is read in order. The blocks of
        # the sums are those of the packed product, so are the results.
        for s in range(0, k, TERMS):
            product(rows, columns, min(TERMS, k - s), TERMS, a, a_at + s, a_row, 1,
                    w, s * w_row + first, MAX_VECTORS * n, w_row, MAX_VECTORS,
                    d, d_at, d_row, c, c_at, c_row)  # fmt: skip
            d, d_at, d_row = c, c_at, c_row


@jit
def terms_over_time(rows):
    """Return the block of a sum over time: its rounding is seen, as it is long.

    About as precise as adding step by step, which is what autograd does.
    """
    return 16 if rows < 256 else 64


@jit
def add_outer(rows, m0, m1, a, a_at, a_pitch, b, b_at, b_pitch, columns, c, fresh, zeros):
    """Add rows m0..m1 of aᵀ b to c, (.., columns): sums over rows, of columns m0..m1 of a.

    fresh: c holds nothing yet; zeros: (columns,).
    """
    d, d_at, d_row = (zeros, 0, 0) if fresh else (c, m0 * columns, columns)
    product(m1 - m0, columns, rows, terms_over_time(rows), a, a_at + m0, 1, a_pitch,
            b, b_at, MAX_VECTORS * lanes(c), b_pitch, MAX_VECTORS,
            d, d_at, d_row, c, m0 * columns, columns)  # fmt: skip


@jit
def add_columns(rows, m0, m1, a, a_at, a_pitch, c, fresh):
    """Add the sums of columns m0..m1 of a to a bias' gradient c, if the bias exists."""
    n = lanes(a)
    if c.size:
        for m in range(m0, m1, n):
            valid = min(n, m1 - m)
            start = load_part(c, m, 0 if fresh else valid)
            total = add_column(start, valid, a, a_at + m, a_pitch, rows)
            store_part(c, m, total, valid)


@jit
def pack_gates(weight, gates, width, packed, part, parts):
    """Pack weightᵀ with blocked columns: for the pre-activations x weightᵀ and h weightᵀ.

    weight: (gates * H, k) C-contiguous.
    packed: written: (k, blocked columns) in panels of `width` vectors.
    part, parts: which share of the panels.
    """
    n = lanes(packed)
    hidden, k = weight.shape[0] // gates, weight.shape[1]
    source = flat(weight)
    vectors = (hidden + n - 1) // n * gates
    panels = (vectors + width - 1) // width
    first, end = panels * part // parts * width, panels * (part + 1) // parts * width
    for vector in range(first, min(end, vectors)):
        panel, within = vector // width, vector % width
        pitch = min(width, vectors - panel * width) * n
        unit, gate = vector // gates * n, vector % gates
        row = (gate * hidden + unit) * k
        at = panel * width * n * k + within * n
        pack_columns(packed, at, pitch, source, row, k, min(n, hidden - unit))


@jit
def pack_columns(packed, at, pitch, source, row, k, rows):
    """Transpose a few rows into one vector for each of their elements, padded with zeros.

    packed: written: k vectors, pitch apart.
    source: rows of k elements, at most as many as a vector has lanes.
    """
    n = lanes(packed)
    whole = k // n * n if rows == n else 0
    for s in range(0, whole, n):
        transpose_square(packed, at + s * pitch, pitch, source, row + s, k)
    zero = source[row] * 0  # of its type
    for s in range(whole, k):
        for lane in range(n):
            packed[at + s * pitch + lane] = source[row + lane * k + s] if lane < rows else zero


@jit
def pack_rows(weight, packed, part, parts):
    """Pack a weight as it is: for the gradients d_a weight.

    weight: (k, columns) C-contiguous.
    packed: written: the same in panels of MAX_VECTORS vectors.
    part, parts: which share of the panels.
    """
    n = lanes(packed)
    k, columns = weight.shape
    source = flat(weight)
    panels = (columns + MAX_VECTORS * n - 1) // (MAX_VECTORS * n)
    for panel in range(panels * part // parts, panels * (part + 1) // parts):
        column = panel * MAX_VECTORS * n
        count = min(MAX_VECTORS * n, columns - column)
        pitch = (count + n - 1) // n * n
        for s in range(k):
            pad_row(packed, column * k + s * pitch, source, s * columns + column, count, pitch)


@jit
def block_bias(bias, gates, blocked):
    """Reorder a bias, (gates * H,) or of size 0: zeros, as the columns of pack_gates.

    blocked: written: (blocked columns,).
    """
    n = lanes(blocked)
    hidden = bias.size // gates
    if not hidden:
        clear(blocked, 0, blocked.size)
    for unit in range(0, hidden, n):
        for gate in range(gates):
            pad_row(
                blocked,
                unit * gates + gate * n,
                bias,
                gate * hidden + unit,
                min(n, hidden - unit),
                n,
            )
