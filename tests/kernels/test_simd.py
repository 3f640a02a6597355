"""Vectors: arithmetic, memory and its ends, one function at a time, in compiled code.

What is computed with them is in test_activation.py, test_tile.py and test_gemm.py.
"""

import numpy as np

from fastrnn.kernels import simd
from fastrnn.kernels.memory import (
    flat,
    load,
    load_many,
    load_part,
    part_of,
    store,
    store_many,
    store_many_parts,
    store_part,
    transpose_square,
)
from fastrnn.kernels.simd import (
    at_most,
    copysign,
    fma,
    is_double,
    lanes,
    where_not_positive,
    zero_like,
)
from tests.support.compare import assert_close
from tests.support.compiled import compiled
from tests.support.configurations import both_dtypes


def width(dtype):
    return simd.bytes_of_register() // np.dtype(dtype).itemsize


@compiled
def arithmetic(x, y, z, out):
    n = lanes(x)
    a, b, c = load(x, 0), load(y, 0), load(z, 0)
    store(out, 0 * n, a + b)
    store(out, 1 * n, a - b)
    store(out, 2 * n, a * b)
    store(out, 3 * n, a / b)
    store(out, 4 * n, -a)
    store(out, 5 * n, fma(a, b, c))
    store(out, 6 * n, 1.0 - a * 0.5)
    store(out, 7 * n, copysign(a, b))
    store(out, 8 * n, at_most(a, b))
    store(out, 9 * n, where_not_positive(a, b, c))
    store(out, 10 * n, zero_like(a))
    total = a
    total += b
    store(out, 11 * n, total)
    store(out, 12 * n, fma(a, 3, 1.0))
    store(out, 13 * n, at_most(a, 0.25))
    out[14 * n] = 64 if is_double(a) else 32


@both_dtypes
def test_arithmetic_is_numpys(dtype):
    n, rng = width(dtype), np.random.default_rng(0)
    for _ in range(20):
        a, b, c = (rng.normal(size=n).astype(dtype) for _ in range(3))
        out = np.full(15 * n, np.nan, dtype)
        arithmetic(a, b, c, out)
        exact = (a.astype(np.longdouble) * b + c).astype(dtype)
        expected = [
            a + b,
            a - b,
            a * b,
            a / b,
            -a,
            exact,
            1 - a * dtype(0.5),
            np.copysign(a, b),
            np.minimum(a, b),
            np.where(a <= 0, b, c),
            0 * c + 0,
            a + b,
            (a.astype(np.longdouble) * 3 + 1).astype(dtype),
            np.minimum(a, 0.25),
        ]
        for i, want in enumerate(expected):
            assert_close(out[i * n : i * n + n], want, atol=0, name=f"line {i}")
        assert out[14 * n] == np.dtype(dtype).itemsize * 8


@both_dtypes
def test_what_is_not_finite(dtype):
    n = width(dtype)
    special = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0], dtype)
    for x in special:
        for y in special:
            a, b, c = np.full(n, x), np.full(n, y), np.full(n, 2.0, dtype)
            out = np.zeros(15 * n, dtype)
            arithmetic(a, b, c, out)
            with np.errstate(all="ignore"):
                assert_close(out[: 4 * n : n], np.stack([x + y, x - y, x * y, x / y]), atol=0)
                assert_close(out[5 * n], x * y + c[0], atol=0)
            if np.isnan(x) or np.isnan(y):  # NaN in the first stays; a bound of NaN binds nothing
                assert_close(out[8 * n], x, atol=0)
            assert_close(out[9 * n], y if x <= 0 else c[0], atol=0)


@compiled
def move(source, at, count, out):
    store(out, 0, load(source, at))
    store(out, lanes(out), load_part(source, at, count))
    store_part(out, 2 * lanes(out), load(source, at), count)


@both_dtypes
def test_parts_of_a_vector_touch_nothing_else(dtype):
    n = width(dtype)
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
    n = width(dtype)
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
def transposed(to, to_at, to_row, source, at, row):
    transpose_square(flat(to), to_at, to_row, flat(source), at, row)


@both_dtypes
def test_a_square_is_transposed(dtype):
    n = width(dtype)
    source = np.arange((n + 1) * (n + 3), dtype=dtype).reshape(n + 1, n + 3)
    to = np.full((n + 1, n + 2), -1, dtype)
    transposed(to, 1, n + 2, source, 2, n + 3)
    expected = np.full_like(to, -1)
    expected[:n, 1 : n + 1] = source[:n, 2 : n + 2].T
    assert_close(to, expected, atol=0)


def test_what_the_cpu_has():
    assert simd.bytes_of_register() in (16, 32, 64)
    assert width(np.float32) == 2 * width(np.float64)
