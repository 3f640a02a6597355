"""Vectors: arithmetic, one function at a time, in compiled code; memory is in test_memory.py.

What is computed with them is in test_activation.py, test_tile.py and test_gemm.py.
"""

import numpy as np

from fastrnn.kernels import simd
from fastrnn.kernels.memory import load, store
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


def test_what_the_cpu_has():
    assert simd.bytes_of_register() in (16, 32, 64)
    assert width(np.float32) == 2 * width(np.float64)
