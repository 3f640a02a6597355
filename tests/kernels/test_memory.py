"""Memory: vectors and their parts read and written, arrays and addresses as memory, nothing beside.

That an access outside is noticed where bounds are checked is test_jit.py's.
"""

import numpy as np

from fastrnn.engine import buffers
from fastrnn.kernels.memory import (
    flat,
    load,
    load_many,
    load_part,
    memory_of,
    part_of,
    store,
    store_many,
    store_many_parts,
    store_part,
)
from fastrnn.kernels.simd import lanes
from tests.support.compare import assert_close
from tests.support.compiled import compiled
from tests.support.configurations import both_dtypes


@compiled
def move(source, at, count, out):
    store(out, 0, load(source, at))
    store(out, lanes(out), load_part(source, at, count))
    store_part(out, 2 * lanes(out), load(source, at), count)


@both_dtypes
def test_parts_of_a_vector_touch_nothing_else(dtype):
    n = buffers.lanes(np.dtype(dtype))
    source = np.arange(1, 3 * n + 1, dtype=dtype)
    for at in (0, 1, n - 1):
        for count in range(n + 1):
            out = np.full(3 * n, -1, dtype)
            move(source, at, count, out)
            whole = source[at : at + n]
            there = np.arange(n) < count
            assert_close(out[:n], whole, atol=0)
            assert_close(out[n : 2 * n], np.where(there, whole, 0), atol=0)
            assert_close(out[2 * n :], np.where(there, whole, -1), atol=0)


@compiled
def move_many(source, at, stride, count, out, out_stride):
    if count == lanes(out):
        store_many(out, 0, out_stride, load_many(source, at, stride, 3))
    else:
        store_many_parts(out, 0, out_stride, load_many(source, at, stride, 3), count)


@both_dtypes
def test_several_vectors_at_strides(dtype):
    n = buffers.lanes(np.dtype(dtype))
    source = np.arange(1, 12 * n + 1, dtype=dtype)
    for stride in (0, 1, n, 2 * n + 3):
        for count in (0, 1, n - 1, n):
            out = np.full(9 * n, -1, dtype)
            move_many(source, 2, stride, count, out, 2 * n)
            for i in range(3):
                want = source[2 + i * stride :][:n]
                got = out[2 * n * i :][:n]
                assert_close(got, np.where(np.arange(n) < count, want, -1), atol=0)
            assert (out[n : 2 * n] == -1).all()


@compiled
def through_memory(x, at, size, out):
    whole, some = flat(x), part_of(flat(x), at, size)
    out[0], out[1], out[2] = whole.size, some.size, some[0]
    some[size - 1] = 7
    store_part(some, 0, load_part(whole, 0, 1) + 1, 1)


@both_dtypes
def test_memory_is_an_array_counted_flat(dtype):
    x, out = np.arange(24, dtype=dtype).reshape(2, 3, 4), np.zeros(3, dtype)
    through_memory(x, 5, 10, out)
    assert out.tolist() == [24, 10, 5]
    expected = np.arange(24)
    expected[5], expected[14] = 1, 7
    assert_close(x.ravel(), expected.astype(dtype), atol=0)


@compiled
def given_memory(where, size, like, out):
    memory = memory_of(where, size, flat(like))
    out[0] = memory.size
    for i in range(memory.size):
        memory[i] = memory[i] + 1


@both_dtypes
def test_memory_of_an_array_is_that_of_its_address(dtype):
    x, out = np.arange(6, dtype=dtype), np.zeros(1)
    given_memory(x, 6, x, out)
    given_memory(x.ctypes.data, 6, x, out)
    assert out[0] == 6
    assert_close(x, np.arange(2, 8).astype(dtype), atol=0)
    given_memory(x.ctypes.data, 4, x, out)
    assert_close(x, np.array([3, 4, 5, 6, 6, 7], dtype), atol=0)
    for nothing, size in ((np.empty(0, dtype), 0), (0, 6)):  # whatever size it would have
        given_memory(nothing, size, x, out)
        assert out[0] == 0
