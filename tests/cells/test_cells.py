"""One step of every cell against its specification, `equations`: derivative, and extreme states.

Many steps are in tests/engine/test_forward.py, by the same oracle.
"""

import numpy as np
import pytest

from fastrnn.engine import buffers
from fastrnn.nn.function import run_cell
from tests.support.compare import assert_close
from tests.support.configurations import bare, every_cell, members

LANES = buffers.lanes(np.dtype(np.float64))


@every_cell
def test_the_derivative_of_the_equations_by_complex_steps(cell):
    """One step: d_state and d_x of the compiled cell against the specification's own derivative."""
    rng, G, B, H = np.random.default_rng(0), len(cell.gates), 2, LANES + 1
    eye, zero = np.eye(G * H), np.zeros(G * H)
    x, h_part = rng.normal(size=(1, B, G * H)), rng.normal(size=(G * H, H)) / H**0.5
    states = [rng.normal(size=(B, H)) for _ in cell.states]
    cotangents = [rng.normal(size=(B, H)) for _ in cell.states]
    weights, kept = (eye, h_part, zero, zero, None), {"checkpoint": None, "memory": None}
    _, pullback = run_cell("t", cell, x, bare(states), weights, None, False, True, **kept)
    grads = pullback(None, bare(cotangents))

    def loss(a_x, *states):
        new = cell.equations(a_x, states[0] @ h_part.T, *states)
        return sum(np.sum(s * d) for s, d in zip(new, cotangents, strict=True))

    arguments = [x[0], *states]
    for i, got in enumerate([grads.input[0], *members(grads.state)]):
        expected = np.empty_like(arguments[i])
        for index in np.ndindex(expected.shape):
            stepped = [a.astype(complex) for a in arguments]
            stepped[i][index] += 1e-30j
            expected[index] = loss(*stepped).imag / 1e-30
        assert_close(got, expected, atol=1e-13, rtol=1e-13)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e308, 0.0, -0.0, 5e-324])
@every_cell
def test_extreme_states_follow_the_equations(cell, value):
    G, B, H = len(cell.gates), 2, LANES + 1
    states = [np.full((B, H), 0.5) for _ in cell.states]
    states[-1][:, 1] = value
    x = np.full((1, B, 1), 0.25)
    w_ih, zero = np.ones((G * H, 1)), np.zeros(G * H)
    w_hh = np.zeros((G * H, H)) if len(states) > 1 else np.concatenate([np.eye(H)] * G)
    with np.errstate(all="ignore"):
        # 0 * inf of the product is the matrix's: here only the unit itself is looked at.
        finite = [np.where(np.isfinite(s), s, 0) for s in states]
        a_h = states[0] if len(states) == 1 else 0 * finite[0]
        expected = cell.equations(x[0] @ w_ih.T, np.concatenate([a_h] * G, axis=1), *states)
    weights = (w_ih, w_hh, zero, zero, None)
    (_, last), _ = run_cell("t", cell, x, bare(states), weights, None, False)
    for s, want in zip(members(last), expected, strict=True):
        assert_close(s[:, 1], want[:, 1], atol=1e-15, rtol=1e-15)
