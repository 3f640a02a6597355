"""The gated recurrent unit by hand: what each gate does alone, and where the reset is."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastrnn.cells.gru import CELL
from tests.support.compare import assert_close
from tests.support.gates import gradients, step

OPEN, SHUT = 50.0, -50.0  # of a sigmoid: 1 and 0 to the last digit


def test_gates_are_in_torchs_order():
    assert CELL.gates == ("r", "z", "n")
    assert CELL.states == ("h",)


@given(st.floats(-3, 3), st.floats(-3, 3), st.floats(-1, 1))
def test_an_update_gate_of_one_keeps_the_state_and_of_zero_forgets_it(a_n, a_hn, h):
    [kept] = step(CELL, [0.0, OPEN, a_n], [0.0, 0.0, a_hn], [h])
    assert_close(kept, np.float64(h), atol=1e-15)
    [new] = step(CELL, [OPEN, SHUT, a_n], [0.0, 0.0, a_hn], [h])
    assert_close(new, np.tanh(a_n + a_hn), atol=1e-15)


@given(st.floats(-3, 3), st.floats(-3, 3), st.floats(-1, 1))
def test_the_reset_gate_acts_after_the_product(a_n, a_hn, h):
    """On W_hn h + b_hn, as torch and cuDNN have it: a shut one leaves the input's part alone."""
    [new] = step(CELL, [SHUT, SHUT, a_n], [0.0, 0.0, a_hn], [h])
    assert_close(new, np.tanh(a_n), atol=1e-15)
    [half] = step(CELL, [0.0, SHUT, a_n], [0.0, 0.0, a_hn], [h])
    assert_close(half, np.tanh(a_n + a_hn / 2), atol=1e-15)


@pytest.mark.parametrize("z", [OPEN, SHUT])
def test_gradients_go_where_the_gates_let_them(z):
    d_x, d_h, d_state = gradients(CELL, [0.0, z, 0.3], [0.0, 0.0, 0.4], [0.5], [2.0])
    if z == OPEN:
        assert_close(d_state[0], np.float64(2.0), atol=1e-15)
        assert_close(np.array([*d_x, *d_h]), np.zeros(6), atol=1e-15)
    else:
        d_n = 2.0 * (1 - np.tanh(0.3 + 0.4 / 2) ** 2)
        assert_close(np.array(d_x), np.array([d_n * 0.4 / 4, 0, d_n]), atol=1e-15)
        assert_close(np.array(d_h), np.array([d_n * 0.4 / 4, 0, d_n / 2]), atol=1e-15)
        assert_close(d_state[0], np.float64(0.0), atol=1e-15)
