"""The simple network by hand: what its two nonlinearities do, and how they are chosen."""

import numpy as np
import pytest

from fastrnn.cells import rnn
from fastrnn.nn.function import run_cell
from tests.support.compare import assert_bits, assert_close


def one_step(cell, x, h, w_hh, d):
    """Return the new state and the gradients of one step with W_ih = 1 and no bias."""
    weights = np.eye(len(h[0])), w_hh, None, None, None
    (_, new), pullback = run_cell(
        "test", cell, x[None], h, weights, None, False, True, checkpoint=None, memory=None
    )
    return new, pullback(None, d)


def test_tanh_by_hand():
    x, h, w_hh = np.array([[0.5, -1.0]]), np.array([[0.25, 2.0]]), np.array([[1.0, 2], [0, -1]])
    d = np.array([[3.0, -5.0]])
    new, grads = one_step(rnn.TANH, x, h, w_hh, d)
    expected = np.tanh([[0.5 + 0.25 + 4, -1 - 2.0]])  # a = x + h W_hhᵀ
    d_a = d * (1 - expected**2)
    assert_close(new, expected, atol=1e-15)
    assert_close(grads.input[0], d_a, atol=1e-15)
    assert_close(grads.state, np.array([[d_a[0, 0], 2 * d_a[0, 0] - d_a[0, 1]]]), atol=1e-14)


def test_relu_has_no_gradient_at_zero_and_below():
    x = np.array([[1.0, 0.0, -0.0, -1.0, 5e-324]])
    h = np.zeros_like(x)
    new, grads = one_step(rnn.RELU, x, h, np.zeros((5, 5)), np.ones_like(x))
    assert_close(new[:, :4], np.array([[1.0, 0, 0, 0]]), atol=0)
    assert new[0, 4] >= 0  # a kernel may take a denormal number for zero
    assert_bits(grads.input[0, :, :4], np.array([[1.0, 0, 0, 0]]))


def test_a_relu_network_of_identity_weights_counts():
    """Le, Jaitly and Hinton's start: W_hh = 1 keeps and adds up what is positive."""
    x, total = np.array([[[1.0]], [[-0.5]], [[2.0]], [[-4.0]], [[3.0]]]), 0.0
    weights = np.ones((1, 1)), np.ones((1, 1)), None, None, None
    (output, _), _ = run_cell("test", rnn.RELU, x, None, weights, None, False)
    for got, step in zip(output[:, 0, 0], x[:, 0, 0], strict=True):
        total = max(0.0, total + step)
        assert got == total


@pytest.mark.parametrize(("name", "cell"), [("tanh", rnn.TANH), ("relu", rnn.RELU)])
def test_cells_by_their_nonlinearity(name, cell):
    assert rnn.cell_of("RNN", name) is cell
    assert cell.name == f"rnn_{name}"
    assert cell.activations == (name,)


@pytest.mark.parametrize("wrong", ["sigmoid", "", None, ["tanh"]])
def test_others_are_refused_by_the_name_of_the_caller(wrong):
    with pytest.raises(ValueError, match="Mine: nonlinearity must be 'tanh' or 'relu', got"):
        rnn.cell_of("Mine", wrong)
