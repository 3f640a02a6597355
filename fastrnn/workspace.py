"""Every buffer a pass needs: its shape, how long it lives, how rows of a user's array are found.

Nothing is computed here. All memory a kernel writes comes from `memory`, so the tests fill it with
NaN there and see whatever is read before it is written.
"""

import itertools
import math
from typing import NamedTuple

import numpy as np

from fastrnn.kernels.simd import bytes_of_register

_LINE = 64  # bytes of a cache line
_INPUT_BYTES = 1 << 18  # pre-activations made ahead of the time loop: they must stay in L2
_PIECE_BYTES = 1 << 21  # pre-activation gradients between two weight products
_PIECE_ROWS = (256, 4096)
_PIECE_OPERATIONS = 4e9  # between two looks at Ctrl-C: a tenth of a second, at worst one second


def lanes(dtype: np.dtype) -> int:
    """Return how many elements of this type make a vector."""
    return bytes_of_register() // dtype.itemsize


def padded(n: int, dtype: np.dtype) -> int:
    """Return n rounded up to whole vectors."""
    width = lanes(dtype)
    return -(-n // width) * width


def pitch(n: int, dtype: np.dtype) -> int:
    """Return a row length of at least n, of whole vectors, whose rows do not share cache sets.

    Products walk such rows column-wise; rows a multiple of 1 KiB apart would evict each other.
    """
    row = padded(n, dtype)
    return row + _LINE // dtype.itemsize if row * dtype.itemsize % 1024 == 0 else row


def memory(size: int) -> np.ndarray:
    """Return so many bytes, uninitialised."""
    return np.empty(size, np.uint8)


def empty(dtype: np.dtype, *shapes: tuple[int, ...]) -> list[np.ndarray]:
    """Return uninitialised C-contiguous arrays that live and die together.

    Each begins on a cache line; they are cut from one piece, which is faster than asking often.
    """
    sizes = [-(-math.prod(shape) * dtype.itemsize // _LINE) * _LINE for shape in shapes]
    piece = memory(sum(sizes) + _LINE)
    at, arrays = -piece.ctypes.data % _LINE, []
    for shape, size in zip(shapes, sizes, strict=True):
        arrays.append(np.ndarray(shape, dtype, piece, at))
        at += size
    return arrays


def zeros(dtype: np.dtype, *shapes: tuple[int, ...]) -> list[np.ndarray]:
    """Return such arrays full of zeros."""
    arrays = empty(dtype, *shapes)
    for array in arrays:
        array.fill(0)
    return arrays


class Rows(NamedTuple):
    """A (T, B, F) array as kernels see it: row (t, b) begins at flat[at + t * time + b * row]."""

    flat: np.ndarray
    at: int
    time: int
    row: int


def rows_of(array: np.ndarray) -> Rows:
    """Return the rows of a (T, B, F) or, for indices, (T, B) array.

    Without a copy if its memory is in that order or batch first, has no gaps and is writeable:
    kernels are compiled for one kind of array. Else of a copy.
    """
    time, batch = array.shape[:2]
    width = array.shape[2] if array.ndim == 3 else 1
    batch_first = array.swapaxes(0, 1)
    if array.flags.c_contiguous and array.flags.writeable:
        return Rows(array.reshape(-1), 0, batch * width, width)
    if batch_first.flags.c_contiguous and array.flags.writeable:
        return Rows(batch_first.reshape(-1), 0, width, time * width)
    return Rows(np.array(array, order="C").reshape(-1), 0, batch * width, width)


class Batch(NamedTuple):
    """The sequences of a batch, sorted by falling length, as the time loop wants them."""

    order: np.ndarray  # (B,) int64: which sequence
    lengths: np.ndarray  # (B,) int64: how long
    steps: int  # of the longest
    rows: int  # steps of all together

    def row_at(self, s: int) -> int:
        """Return the number of the first row of step s."""
        if self.rows == self.steps * len(self.lengths):
            return s * len(self.lengths)
        return int(np.minimum(self.lengths, s).sum())

    def slices(self, parts: int) -> list[tuple[int, int]]:
        """Return at most `parts` ranges of sequences with about the same number of steps."""
        if parts == 1:
            return [(0, len(self.lengths))]
        ends = np.cumsum(self.lengths)
        cuts = np.searchsorted(ends, np.arange(1, parts) * self.rows / parts, side="left") + 1
        bounds = [0, *cuts.tolist(), len(self.lengths)]
        return [(a, b) for a, b in itertools.pairwise(bounds) if a < b]


def sort_by_length(time: int, batch: int, lengths: np.ndarray | None) -> Batch:
    """Return the batch of sequences with these lengths, all `time` long if there are none."""
    if lengths is None:
        return Batch(np.arange(batch), np.full(batch, time), time if batch else 0, time * batch)
    order = np.argsort(-lengths, kind="stable")
    ordered = lengths[order]
    return Batch(order, ordered, int(ordered[0]) if batch else 0, int(ordered.sum()))


def input_steps(rows_per_step: int, row_bytes: int) -> int:
    """Return for how many steps the input part is computed ahead: at least 24 rows, for speed."""
    return max(1, max(24, _INPUT_BYTES // row_bytes) // rows_per_step)


def piece_steps(batch: int, row_bytes: int) -> int:
    """Return how many steps of BPTT lie between two weight products.

    It must not depend on the number of threads: it decides the order of summation.
    """
    least, most = _PIECE_ROWS
    return max(1, min(most, max(least, _PIECE_BYTES // row_bytes)) // batch)


def interruptible_steps(operations_per_step: float) -> int:
    """Return how many steps may pass before Python looks for Ctrl-C."""
    return max(1, int(_PIECE_OPERATIONS / max(1.0, operations_per_step)))


def parts(operations: float, threads: int) -> int:
    """Return among how many threads this much work is worth sharing."""
    return max(1, min(threads, int(operations // 2e6)))
