"""Long short-term memory by hand: what each gate does alone, forward and back."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fastrnn.cells.lstm import CELL
from tests.support.compare import assert_close
from tests.support.gates import gradients, step

OPEN, SHUT = 50.0, -50.0  # of a sigmoid: 1 and 0 to the last digit
NONE = [0.0] * 4


def test_gates_are_in_torchs_order():
    assert CELL.gates == ("i", "f", "g", "o")
    assert CELL.states == ("h", "c")


@given(st.floats(-3, 3), st.floats(-2, 2))
def test_each_gate_alone(a_g, c):
    g = np.tanh(a_g)
    for gates, new_c, emits in [
        ([SHUT, OPEN, a_g, OPEN], c, True),  # keeps
        ([OPEN, SHUT, a_g, OPEN], g, True),  # replaces
        ([OPEN, OPEN, a_g, OPEN], c + g, True),  # adds up: no gate but these two holds c back
        ([SHUT, SHUT, a_g, OPEN], 0.0, True),  # forgets
        ([OPEN, OPEN, a_g, SHUT], c + g, False),  # hides
    ]:
        h, got = step(CELL, gates, NONE, [0.7, c])
        assert_close(got, np.float64(new_c), atol=1e-14)
        assert_close(h, np.tanh(new_c) if emits else np.float64(0.0), atol=1e-14)


@given(st.lists(st.floats(-2, 2), min_size=4, max_size=4), st.floats(-1, 1))
def test_both_parts_of_the_pre_activations_are_one_sum(a, c):
    whole = step(CELL, a, NONE, [0.0, c])
    halves = step(CELL, [x / 2 for x in a], [x / 2 for x in a], [0.0, c])
    for one, other in zip(whole, halves, strict=True):
        assert_close(one, other, atol=1e-15)


def test_an_error_stays_in_the_cell_as_long_as_the_forget_gate_is_open():
    """The constant error carousel: d_c goes back unchanged, however many steps."""
    d_c = 2.0
    for _ in range(5):
        d_a, _, (d_h, d_c) = gradients(CELL, [SHUT, OPEN, 0.3, 0.0], NONE, [0.0, 0.9], [0.0, d_c])
        assert_close(np.array(d_a[:3]), np.zeros(3), atol=1e-15)
        assert_close(d_h, np.float64(0.0), atol=0)
    assert_close(d_c, np.float64(2.0), atol=1e-14)


def test_gradients_by_hand():
    i = f = o = 0.5
    g, c = np.tanh(0.2), 0.9
    new = f * c + i * g
    d_a, _, (_, d_c) = gradients(CELL, [0.0, 0.0, 0.2, 0.0], NONE, [0.1, c], [3.0, 2.0])
    through = 2.0 + 3.0 * o * (1 - np.tanh(new) ** 2)
    expected = [through * g / 4, through * c / 4, through * i * (1 - g**2), 3 * np.tanh(new) / 4]
    assert_close(np.array(d_a), np.array(expected), atol=1e-15)
    assert_close(d_c, np.float64(through * f), atol=1e-15)
