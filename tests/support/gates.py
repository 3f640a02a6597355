"""One step of one unit of a compiled cell, from given pre-activations and states."""

import numpy as np

from fastrnn.nn.function import run_cell
from tests.support.states import bare, members


def _run(cell, a_x, a_h, states):
    """x is a_x itself, by W_ih = 1; a_h is the bias b_hh, so W_hh = 0."""
    G = len(a_x)
    weights = np.eye(G), np.zeros((G, 1)), np.zeros(G), np.asarray(a_h), None
    state = bare([np.array([[s]]) for s in states])
    x = np.asarray(a_x)[None, None]
    kept = {"checkpoint": None, "memory": None}
    return run_cell("test", cell, x, state, weights, None, False, True, **kept)


def step(cell, a_x, a_h, states):
    """Return the new states."""
    (_, new), _ = _run(cell, a_x, a_h, states)
    return [s[0, 0] for s in members(new)]


def gradients(cell, a_x, a_h, states, d_states):
    """Return `d_a_x, d_a_h, d_states`; the last is what does not come through a_h."""
    _, pullback = _run(cell, a_x, a_h, states)
    grads = pullback(None, bare([np.array([[d]]) for d in d_states]))
    d_a_h = grads.params["b_hh"]
    return list(grads.input[0, 0]), list(d_a_h), [d[0, 0] for d in members(grads.state)]
