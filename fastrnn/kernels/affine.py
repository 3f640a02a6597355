"""The affine map y = x Wᵀ + b of many rows, and its gradient: the kernels of Linear.

Rows are shared among threads, and for the weight's gradient its own rows: every sum is computed
whole, in one order.
"""

from fastrnn.kernels import parallel
from fastrnn.kernels.gemm import add_columns, add_outer, pack_gates, pack_rows, product
from fastrnn.kernels.jit import jit, kernel
from fastrnn.kernels.machine import flush_denormals, outlined, restore_mode
from fastrnn.kernels.memory import flat
from fastrnn.kernels.rows import clear, copy_row
from fastrnn.kernels.simd import lanes
from fastrnn.kernels.tile import MAX_VECTORS, TERMS

PIECE = 1024  # rows between two looks at the gradient of the weight: they stay in cache


@jit
def _product_part(part, parts, rows, k, columns, x, packed, start, y):
    """Write a share of the rows of y = start + x packed."""
    r0, r1 = rows * part // parts, rows * (part + 1) // parts
    product(r1 - r0, columns, k, TERMS, x, r0 * k, k, 1,
            packed, 0, MAX_VECTORS * lanes(y) * k, 0, MAX_VECTORS,
            start, 0, 0, y, r0 * columns, columns)  # fmt: skip


@kernel
def affine_forward(
    pool,
    threads,
    x,  # (rows, k)
    weight,  # (columns, k)
    bias,  # (columns,), or of size 0
    y,  # (rows, columns) written
    packed,  # scratch (k, columns rounded up to whole vectors)
    start,  # scratch (columns,)
):
    """Write y = x weightᵀ + bias."""
    mode = flush_denormals()
    owned = threads > 1 and parallel.acquire(pool)
    rows, k = x.shape
    columns, packed, start = weight.shape[0], flat(packed), flat(start)
    pack_gates(weight, 1, MAX_VECTORS, packed, 0, 1)
    if bias.size:
        copy_row(start, 0, flat(bias), 0, columns)
    else:
        clear(start, 0, columns)
    job = outlined(_product_part, (threads, rows, k, columns, flat(x), packed, start, flat(y)))
    parallel.share(pool, owned, threads, job)
    if owned:
        parallel.release(pool)
    restore_mode(mode)


@jit
def _weight_backward(
    part, parts, r0, rows, k, columns, d_y, x_rows, pitch, d_weight, d_bias, zeros
):
    m0, m1 = columns * part // parts, columns * (part + 1) // parts
    add_outer(
        rows, m0, m1, d_y, r0 * columns, columns, x_rows, 0, pitch, k, d_weight, r0 == 0, zeros
    )
    add_columns(rows, m0, m1, d_y, r0 * columns, columns, d_bias, r0 == 0)


@jit
def _weights_backward(pool, owned, threads, x, d_y, d_weight, d_bias, zeros, x_rows, pitch):
    (rows, k), columns = x.shape, d_y.shape[1]
    d_y, d_weight, d_bias = flat(d_y), flat(d_weight), flat(d_bias)
    for r0 in range(0, rows, PIECE):
        count = min(PIECE, rows - r0)
        for row in range(count):
            copy_row(x_rows, row * pitch, flat(x), (r0 + row) * k, k)
        given = threads, r0, count, k, columns, d_y, x_rows, pitch, d_weight, d_bias, zeros
        parallel.share(pool, owned, threads, outlined(_weight_backward, given))


@kernel
def affine_weights_backward(
    pool,
    threads,
    x,  # as affine_backward's arguments
    d_y,
    d_weight,
    d_bias,
    zeros,
    x_rows,
    pitch,
):
    """Write the gradients of sum(y * d_y) at the parameters alone."""
    mode = flush_denormals()
    owned = threads > 1 and parallel.acquire(pool)
    zeros, x_rows = flat(zeros), flat(x_rows)
    clear(zeros, 0, x.shape[1])
    _weights_backward(pool, owned, threads, x, d_y, d_weight, d_bias, zeros, x_rows, pitch)
    if owned:
        parallel.release(pool)
    restore_mode(mode)


@kernel
def affine_backward(
    pool,
    threads,
    x,  # as in affine_forward, as is weight
    weight,
    d_y,  # (rows, columns)
    d_x,  # (rows, k) written
    d_weight,  # written, if there are rows, as is d_bias
    d_bias,  # of size 0: missing
    packed,  # scratch (columns, k rounded up to whole vectors)
    zeros,  # scratch (k,)
    x_rows,  # scratch (at most PIECE, pitch)
    pitch,
):
    """Write the gradients of sum(y * d_y)."""
    mode = flush_denormals()
    owned = threads > 1 and parallel.acquire(pool)
    rows, k = x.shape
    columns, packed, zeros, x_rows = weight.shape[0], flat(packed), flat(zeros), flat(x_rows)
    pack_rows(weight, packed, 0, 1)
    clear(zeros, 0, k)
    job = outlined(_product_part, (threads, rows, columns, k, flat(d_y), packed, zeros, flat(d_x)))
    parallel.share(pool, owned, threads, job)
    _weights_backward(pool, owned, threads, x, d_y, d_weight, d_bias, zeros, x_rows, pitch)
    if owned:
        parallel.release(pool)
    restore_mode(mode)
