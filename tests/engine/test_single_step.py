"""The kernels of a single step: what is missing changes nothing else, from arrays and addresses.

That their numbers are right is tests/nn/test_single_step.py's.
"""

import numpy as np
import pytest

from fastrnn.engine import scan
from fastrnn.nn.call import Call
from fastrnn.nn.single_step import SingleStep
from tests.support.compare import assert_close
from tests.support.configurations import Configuration, every_cell

ROWS, LAYERS = 3, 2


class Step:
    """A program, its weights, and NaN wherever it has to write."""

    def __init__(self, cell, at):
        drawn = Configuration(cell, T=1, B=ROWS, I=8, H=8, num_layers=LAYERS)
        self.layer, self.at = drawn.layer(np.float64), at
        self.program = SingleStep(self.layer.spec, Call(1, ROWS, 1, keep=True))
        values = drawn.values(np.float64)
        self.x, self.h_0 = values["x"], self.new(LAYERS, ROWS, 8) * 0 + 0.5
        self.carried = self.new(len(cell.states) - 1, LAYERS, ROWS, 8) * 0 - 0.5

    def new(self, *shape):
        return np.nan_to_num(np.full(shape, np.nan), nan=7.0)

    def given(self, value):
        """Arrays, or their places; what is missing is of size 0, or at 0."""
        if not self.at:
            return value
        if isinstance(value, tuple | list):
            return tuple(self.given(one) for one in value)
        return value.ctypes.data if value.size else 0

    def forward(self, output=True, saved=True):
        h_n, carried_n = self.new(*self.h_0.shape), self.new(*self.carried.shape)
        nothing = scan.NOTHING[np.dtype(np.float64)]
        out = self.new(1, ROWS, 8) if output else nothing
        kept = self.new(*self.program.saved_shape) if saved else np.zeros((0, 0, 0, 0))
        weights = [self.given(own) for own in self.layer.weights()]
        states = self.given((self.h_0, self.carried)), self.given((h_n, carried_n))
        arguments = self.given(self.x), *states, self.given(out), self.given(kept)
        self.program.forward(weights, *arguments, self.given(nothing))
        return h_n, carried_n, out, kept

    def backward(self, h_n, saved, d_x=True, weights=True):
        nothing, own = scan.NOTHING[np.dtype(np.float64)], self.layer.weights()
        missing = scan.new_gradients(scan.NO_WEIGHTS[np.dtype(np.float64)], 1)
        d_weights = [tuple(self.new(*w.shape) for w in one) if weights else missing for one in own]
        d_inputs = [self.new(1, ROWS, 8) if d_x else nothing, self.new(1, ROWS, 8)]
        d_initial = self.new(*self.h_0.shape), self.new(*self.carried.shape)
        self.program.backward(
            [self.given(one) for one in own],
            self.given((self.x, h_n)),
            self.given((self.h_0, saved)),
            self.given((h_n, self.carried)),
            self.given(h_n[:1]),
            [self.given(d) for d in d_inputs],
            self.given(d_initial),
            [self.given(one) for one in d_weights],
            [self.given((nothing, nothing))] * LAYERS,
        )
        return d_inputs, d_initial, d_weights


@every_cell
@pytest.mark.parametrize("at", [False, True], ids=["arrays", "addresses"])
def test_what_is_missing_changes_nothing_else(cell, at):
    step = Step(cell, at)
    h_n, carried_n, output, saved = step.forward()
    assert_close(output[0], h_n[-1], atol=0)
    for options in ({"output": False}, {"saved": False}):
        got = step.forward(**options)
        assert_close(got[0], h_n, atol=0)
        assert_close(got[1], carried_n, atol=0)
    d_inputs, d_initial, d_weights = step.backward(h_n, saved)
    _, got, weights = step.backward(h_n, saved, d_x=False)
    for one, other in zip(got, d_initial, strict=True):
        assert_close(one, other, atol=0)
    for one, other in zip(weights, d_weights, strict=True):
        for a, b in zip(one[:4], other[:4], strict=True):
            assert_close(a, b, atol=0)
    inputs, got, _ = step.backward(h_n, saved, weights=False)
    assert_close(inputs[0], d_inputs[0], atol=0)
    for one, other in zip(got, d_initial, strict=True):
        assert_close(one, other, atol=0)
