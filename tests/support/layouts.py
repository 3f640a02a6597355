"""The layouts of memory that kernels use, by definition and slowly, in NumPy."""

import numpy as np

from fastrnn.engine.batch import NO_CUTS


def blocked(weight, gates, n):
    """The rows of a (gates * H, k) array in blocked order, zeros where padded (gemm.py)."""
    hidden = len(weight) // gates
    units = -(-hidden // n)
    rows = np.zeros((units * gates * n, *weight.shape[1:]), weight.dtype)
    for unit in range(hidden):
        for gate in range(gates):
            rows[(unit // n * gates + gate) * n + unit % n] = weight[gate * hidden + unit]
    return rows


def in_panels(matrix, width):
    """A (k, columns) matrix cut into panels of `width` columns, each stored row by row."""
    cuts = range(0, matrix.shape[1], width)
    return np.concatenate([matrix[:, c : c + width].ravel() for c in cuts])


def padded(array, width, value=0):
    """An array whose last axis is filled up to `width`."""
    result = np.full((*array.shape[:-1], width), value, array.dtype)
    result[..., : array.shape[-1]] = array
    return result


def given_input(x, order, lengths, reverse=False, one_hot=False, cuts=NO_CUTS):
    """The argument of a kernel for (T, B, I) floats, or (T, B) integers: records.read_input's."""
    order, lengths = (np.asarray(a, np.int64) for a in (order, lengths))
    time, row = (x.strides[axis] // x.itemsize for axis in (0, 1))
    if one_hot:
        return np.empty((0, 0, 0)), x, time, row, order, lengths, reverse, cuts
    return x, np.empty((0, 0), np.int64), time, row, order, lengths, reverse, cuts
