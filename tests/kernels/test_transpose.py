"""The transpose of a square of vectors, anywhere in memory, amid what must stay."""

import numpy as np

from fastrnn.engine import buffers
from fastrnn.kernels.memory import flat
from fastrnn.kernels.transpose import transpose_square
from tests.support.compare import assert_close
from tests.support.compiled import compiled
from tests.support.configurations import both_dtypes


@compiled
def transposed(to, to_at, to_row, source, at, row):
    transpose_square(flat(to), to_at, to_row, flat(source), at, row)


@both_dtypes
def test_a_square_is_transposed(dtype):
    n = buffers.lanes(np.dtype(dtype))
    source = np.arange((n + 1) * (n + 3), dtype=dtype).reshape(n + 1, n + 3)
    to = np.full((n + 1, n + 2), -1, dtype)
    transposed(to, 1, n + 2, source, 2, n + 3)
    expected = np.full_like(to, -1)
    expected[:n, 1 : n + 1] = source[:n, 2 : n + 2].T
    assert_close(to, expected, atol=0)
