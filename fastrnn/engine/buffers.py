"""Memory that kernels write: the one place where it is allocated, and how it is aligned.

Tests fill with NaN whatever `new` returns, and so see anything that is read before it is written.
Nothing is computed here, and nothing is kept: what a buffer is for is up to its caller.
"""

import math

import numpy as np

from fastrnn.kernels.simd import bytes_of_register

LINE = 64  # bytes of a cache line
_SMALL = 1 << 14  # elements of a buffer that need not start on a cache line

new = np.empty  # tests replace it
zeros = np.zeros


def lanes(dtype: np.dtype) -> int:
    """Return how many elements of this type make a vector."""
    return bytes_of_register() // dtype.itemsize


def padded(n: int, dtype: np.dtype) -> int:
    """Return n rounded up to whole vectors."""
    width = lanes(dtype)
    return -(-n // width) * width


def pitch(n: int, dtype: np.dtype) -> int:
    """Return a row length of at least n, in whole vectors, whose rows do not share cache sets.

    Products walk these rows column by column; rows a multiple of 1 KiB apart would evict each
    other.
    """
    row = padded(n, dtype)
    return row + LINE // dtype.itemsize if row * dtype.itemsize % 1024 == 0 else row


def aligned(dtype: np.dtype, *shapes: tuple[int, ...]) -> list[np.ndarray]:
    """Return uninitialised C-contiguous arrays that live and die together.

    Each starts on a cache line. They are cut from one block, which is faster than many requests.
    """
    sizes = [-(-math.prod(shape) * dtype.itemsize // LINE) * LINE for shape in shapes]
    block = new(sum(sizes) + LINE, np.uint8)
    at, arrays = -block.ctypes.data % LINE, []
    for shape, size in zip(shapes, sizes, strict=True):
        arrays.append(np.ndarray(shape, dtype, block, at))
        at += size
    return arrays


def scratch(dtype: np.dtype, size: int) -> np.ndarray:
    """Return an uninitialised (size,) array; a small one is not aligned, which is faster."""
    return new(size, dtype) if size < _SMALL else aligned(dtype, (size,))[0]


class _Writeable:
    """The memory of a read-only array, presented as writeable: kernels are compiled for that."""

    def __init__(self, array: np.ndarray):
        self._array = array  # keeps it alive
        known = array.__array_interface__
        self.__array_interface__ = {**known, "data": (known["data"][0], False)}


def writeable(array: np.ndarray) -> np.ndarray:
    """Return a view of a read-only array that kernels take. None of them writes to its inputs."""
    return np.asarray(_Writeable(array)) if array.size else array.copy()


def plain(array: np.ndarray) -> np.ndarray:
    """Return the array, or a copy, as kernels are compiled for it: C-contiguous and writeable."""
    return array if array.flags.carray else np.array(array, order="C")
