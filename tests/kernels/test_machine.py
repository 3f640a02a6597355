"""Atomic words, calls by address and the floating-point mode, one function at a time.

What threads make of them is test_parallel.py's; what a layer does to its caller's mode,
test_conditions.py's.
"""

import ctypes
import os
import threading

import numpy as np
import pytest

from fastrnn.kernels.jit import jit
from fastrnn.kernels.machine import (
    atomic_add,
    atomic_read,
    atomic_replace,
    atomic_write,
    call_if_any,
    flush_denormals,
    invoke,
    outlined,
    pause,
    restore_mode,
)
from fastrnn.kernels.memory import flat, load, store
from tests.support.compare import assert_close
from tests.support.compiled import compiled
from tests.support.configurations import both_dtypes


@compiled
def words_one_by_one(words, out):
    atomic_write(words, 0, 5)
    atomic_add(words, 0, -7)
    out[0] = atomic_read(words, 0)
    out[1] = atomic_replace(words, 0, -2, 1 << 40)
    out[2] = atomic_read(words, 0)
    out[3] = atomic_replace(words, 0, -2, 9)
    out[4] = atomic_read(words, 0)
    pause()


def test_atomic_words():
    words, out = np.arange(3), np.zeros(5, np.int64)
    words_one_by_one(words, out)
    assert out.tolist() == [-2, 1, 1 << 40, 0, 1 << 40]
    assert words[1:].tolist() == [1, 2]  # the others are left alone


@compiled
def count_up(words, times):
    for _ in range(times):
        atomic_add(words, 0, 1)
        while True:
            before = atomic_read(words, 1)
            if atomic_replace(words, 1, before, before + 1):
                break


def test_no_addition_of_another_thread_is_lost():
    words, times = np.zeros(2, np.int64), 200_000
    count_up(words, 0)  # compiles
    others = [threading.Thread(target=count_up, args=(words, times)) for _ in range(4)]
    for thread in others:
        thread.start()
    for thread in others:
        thread.join()
    assert words.tolist() == [4 * times, 4 * times]


@jit
def _part(part, out, factor, offset):
    out[part] = factor * part + offset


@jit
def _fails(part, out):
    if part == 2:
        raise IndexError("it does")
    out[part] = 1


@compiled
def invoke_all(out, factor, offset, failed):
    code, data = outlined(_part, (flat(out), factor, offset))
    for part in range(out.size):
        failed[part] = invoke(code, data, part)


@compiled
def invoke_failing(out, failed):
    code, data = outlined(_fails, (flat(out),))
    for part in range(out.size):
        failed[part] = invoke(code, data, part)


def test_a_call_by_address_gets_its_arguments_and_reports_failure():
    out, failed = np.zeros(4), np.ones(4, np.int64)
    invoke_all(out, 2.0, 3, failed)
    assert out.tolist() == [3, 5, 7, 9]
    assert not failed.any()
    out[:] = 0
    invoke_failing(out, failed)
    assert out.tolist() == [1, 1, 0, 1]
    assert (failed != 0).tolist() == [False, False, True, False]


@compiled
def call_c(address):
    call_if_any(address)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no C library by this name here")
def test_a_c_function_is_called_if_there_is_one():
    called = []
    function = ctypes.CFUNCTYPE(ctypes.c_int)(lambda: len(called.append(1) or called))
    address = ctypes.cast(function, ctypes.c_void_p).value
    # The callback takes the GIL; the kernel holds none.
    call_c(0)
    assert not called
    call_c(address)
    call_c(address)
    assert len(called) == 2


@compiled
def halve(x, out, flush):
    mode = flush_denormals() if flush else 0
    store(out, 0, load(x, 0) * 0.5)
    if flush:
        restore_mode(mode)
    store(out, x.size, load(x, 0) * 0.5)


@both_dtypes
def test_denormals_are_zero_until_the_mode_is_restored(dtype):
    n = 64 // np.dtype(dtype).itemsize
    for size in (np.finfo(dtype).tiny, np.finfo(dtype).tiny / 4, 1.0):  # result, operand, neither
        x, out = np.full(n, size, dtype), np.full(2 * n, -1, dtype)
        halves = (x / 2).tobytes()
        halve(x, out, True)
        assert_close(out[0], dtype(0.5 if size == 1 else 0), atol=0)
        assert out[n:].tobytes() == halves  # bits: flushed, all of them would compare as equal
        halve(x, out, False)
        assert out[:n].tobytes() == halves
        assert (x * dtype(0.5)).tobytes() == halves  # and in Python
