"""Good arguments of a small call, to be spoiled by tests of what is refused."""

import numpy as np

import fastrnn

T, B, I, H = 4, 3, 5, 6  # noqa: E741


def floats(*shape, dtype=np.float32):
    return np.zeros(shape, dtype)


X, INDEX = floats(T, B, I), np.zeros((T, B), int)
LSTM = fastrnn.LSTM(I, H, seed=0)


def index_with(value, dtype=int):
    """Return INDEX with one other entry, at [2, 1]."""
    index = INDEX.astype(dtype)
    index[2, 1] = value
    return index
