"""Every cell against its own specification, `equations`, run in a plain loop; and what Cell says.

The loop here is the oracle for cells that nobody else has; torch's and the textbook's are in
test_layers.py and test_functional.py.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastrnn.cells import CELLS
from fastrnn.engine import buffers
from fastrnn.functional import run_cell
from fastrnn.kernels.tile import MAX_VECTORS
from tests.support.compare import assert_close
from tests.support.configurations import around, bare, every_cell, members

LANES = buffers.lanes(np.dtype(np.float64))


def loop(cell, x, states, w_ih, w_hh, b_ih, b_hh, lengths, reverse):
    """The output and the last state, row by row and step by step."""
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


@every_cell
@settings(max_examples=30)
@given(data=st.data())
def test_equals_its_equations_in_a_loop(cell, data):
    T = data.draw(st.sampled_from([1, 2, 5, 12, 30]), "T")
    B = data.draw(st.sampled_from([1, 2, 6, 9, 13]), "B")
    I, H = (data.draw(st.sampled_from(around(LANES)), name) for name in "IH")  # noqa: E741
    lengths = data.draw(st.none() | st.lists(st.integers(0, T), min_size=B, max_size=B), "lengths")
    lengths = None if lengths is None else np.array(lengths)
    reverse = data.draw(st.booleans(), "reverse")
    rng = np.random.default_rng(data.draw(st.integers(0, 99), "seed"))
    G = len(cell.gates)
    weights = [rng.uniform(-1, 1, s) / H**0.5 for s in ((G * H, I), (G * H, H), G * H, G * H)]
    x, states = rng.normal(size=(T, B, I)), [rng.normal(size=(B, H)) for _ in cell.states]
    output, last = loop(cell, x, states, *weights, lengths, reverse)
    given = (*weights, None)
    (got, final), _ = run_cell("test", cell, x, bare(states), given, lengths, reverse)
    assert_close(got, output, atol=1e-12, rtol=1e-12, name="output")
    for s, expected in zip(members(final), last, strict=True):
        assert_close(s, expected, atol=1e-12, rtol=1e-12, name="state")


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


@every_cell
def test_what_a_cell_says_of_itself(cell):
    assert cell.states[0] == "h"
    assert cell.width % len(cell.gates) == 0
    assert len(cell.gates) <= cell.width <= max(MAX_VECTORS, len(cell.gates))
    assert len(set(cell.gates)) == len(cell.gates)
    assert cell.forward.__name__ == f"{cell.name}_forward"
    assert cell.backward.__name__ == f"{cell.name}_backward"


def test_names_are_unique_and_identifiers():
    names = [cell.name for cell in CELLS]
    assert len(set(names)) == len(names)
    assert all(name.isidentifier() for name in names)


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


@every_cell
def test_what_is_kept_has_the_names_that_traces_ask_for(cell):
    assert {*cell.saved} >= {*cell.gates, *cell.states[1:]}
    assert len(cell.activations) == len(cell.gates)
    assert {*cell.activations} <= {"sigmoid", "tanh", "relu"}
