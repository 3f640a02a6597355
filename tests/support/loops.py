"""A cell's equations in a plain loop: the oracle for cells that nobody else has."""

import numpy as np


def loop(cell, x, states, w_ih, w_hh, b_ih, b_hh, lengths=None, reverse=False):
    """Return the output and the last states, row by row and step by step."""
    T, B, _ = x.shape
    output, last = np.zeros((T, B, states[0].shape[1])), [s.copy() for s in states]
    for b in range(B):
        state = tuple(s[b] for s in states)
        times = range(T if lengths is None else lengths[b])
        for t in reversed(times) if reverse else times:
            state = cell.equations(x[t, b] @ w_ih.T + b_ih, state[0] @ w_hh.T + b_hh, *state)
            output[t, b] = state[0]
        for kept, s in zip(last, state, strict=True):
            kept[b] = s
    return output, last
