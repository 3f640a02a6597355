"""Rows of floats: copied, padded and added, a vector at a time.

Memory is named as in memory.py; nothing overlaps.
"""

from fastrnn.kernels.jit import jit
from fastrnn.kernels.memory import load, load_part, store, store_part
from fastrnn.kernels.simd import lanes, zero_like


@jit
def copy_row(to, to_at, source, at, count):
    """Copy `count` elements."""
    n = lanes(to)
    whole = count // n * n
    for i in range(0, whole, n):
        store(to, to_at + i, load(source, at + i))
    if whole < count:
        rest = load_part(source, at + whole, count - whole)
        store_part(to, to_at + whole, rest, count - whole)


@jit
def clear(to, at, count):
    """Set `count` elements to 0."""
    n = lanes(to)
    zero, whole = zero_like(load_part(to, at, 0)), count // n * n
    for i in range(0, whole, n):
        store(to, at + i, zero)
    if whole < count:
        store_part(to, at + whole, zero, count - whole)


@jit
def pad_row(to, to_at, source, at, count, width):
    """Copy `count` elements and fill up with zeros to `width`, a number of whole vectors."""
    n = lanes(to)
    whole = count // n * n
    for i in range(0, whole, n):
        store(to, to_at + i, load(source, at + i))
    for i in range(whole, width, n):
        store(to, to_at + i, load_part(source, at + i, max(0, count - i)))


@jit
def add_row(to, to_at, source, at, count):
    """Add `count` elements to as many."""
    n = lanes(to)
    for i in range(0, count, n):
        here = min(n, count - i)
        total = load_part(to, to_at + i, here) + load_part(source, at + i, here)
        store_part(to, to_at + i, total, here)


@jit
def add_column(total, count, source, at, pitch, rows):
    """Return a vector plus the sum of a column of `count` elements, at most one vector.

    Compensated: nothing else would even out the rounding of a long sum.

    Source: Kahan 1965, "Further remarks on reducing truncation errors".
    """
    lost = zero_like(total)
    for row in range(rows):
        term = load_part(source, at + row * pitch, count) - lost
        new = total + term
        lost = (new - total) - term
        total = new
    return total
