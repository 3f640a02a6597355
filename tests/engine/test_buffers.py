"""Sizes of buffers: vectors, pitches, cache lines. Buffers are judged by their users, which all run
on memory full of NaN (conftest.py).
"""

import numpy as np
import pytest

from fastrnn.engine import buffers

DTYPES = [np.dtype(np.float32), np.dtype(np.float64)]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_sizes_are_whole_vectors_and_rows_do_not_share_cache_sets(dtype):
    n = buffers.lanes(dtype)
    for size in range(2000):
        padded, pitch = buffers.padded(size, dtype), buffers.pitch(size, dtype)
        assert size <= padded < size + n
        assert padded % n == 0
        assert padded <= pitch <= padded + 64 // dtype.itemsize
        assert pitch % n == 0
        assert size == 0 or pitch * dtype.itemsize % 1024


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_aligned_arrays_start_on_cache_lines_and_do_not_overlap(dtype):
    shapes = [(3, 5), (0,), (1,), (7, 2, 3)]
    arrays = buffers.aligned(dtype, *shapes)
    for number, (array, shape) in enumerate(zip(arrays, shapes, strict=True)):
        assert (array.shape, array.dtype) == (shape, dtype)
        assert array.ctypes.data % buffers.LINE == 0
        array.fill(number)
    for number, array in enumerate(arrays):
        assert (array == number).all()


def test_read_only_memory_is_presented_as_writeable_without_a_copy():
    array = np.arange(6.0)
    array.flags.writeable = False
    view = buffers.writeable(array)
    assert view.flags.writeable
    assert np.shares_memory(view, array)
    assert not array.flags.writeable


def test_plain_copies_what_kernels_do_not_take():
    array = np.arange(6.0).reshape(2, 3)
    assert buffers.plain(array) is array
    for other in (array.T, array[:, ::2], array.view(np.ndarray)[::-1]):
        copy = buffers.plain(other)
        assert copy.flags.carray
        assert (copy == other).all()
