"""The kernels of a single step against the general call: the same bits, from arrays and addresses.

That the general call is right is test_layers.py's; when a step is taken this way, test_single.py's.
"""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fastrnn.engine import single_step, workspace
from fastrnn.engine.scan import zero_states
from fastrnn.nn.single import OneStep
from fastrnn.nn.stack import StackCall
from tests.support.compare import assert_close
from tests.support.configurations import Configuration, every_cell, members

both_dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["f32", "f64"])


def places(arrays, as_addresses):
    """Return arrays, or where they begin; what is missing, with size 0 or at 0."""
    if not as_addresses:
        return arrays
    return [a.ctypes.data if a.size else 0 for a in arrays]


class Step:
    """The kernels' arguments for one configuration of one step."""

    def __init__(self, configuration, dtype, as_addresses):
        self.configuration, self.dtype, self.at = configuration, np.dtype(dtype), as_addresses
        self.layer, self.values = configuration.layer(dtype), configuration.values(dtype)
        self.cell, c = self.layer.cell, configuration
        self.lanes = workspace.lanes(self.dtype)
        self.hidden_p = workspace.padded(c.H, self.dtype)
        self.h_0, self.others_0 = self.states(self.values["state"])
        self.h_n, self.others_n = self.states(None, np.nan)
        self.output = np.full((1, c.B, c.H), np.nan, dtype)
        self.saved = np.full(
            (c.num_layers, c.B, len(self.cell.saved), self.hidden_p), np.nan, dtype
        )

    def states(self, given, value=None):
        """Return states as kernels take them: `given`, or none, or filled with a value."""
        c, others = self.configuration, len(self.cell.states) - 1
        shape = c.num_layers, c.B, c.H
        if value is not None:
            return np.full(shape, value, self.dtype), np.full((others, *shape), value, self.dtype)
        if given is None:
            return zero_states(self.dtype)
        first, *rest = members(given)
        return first, np.array(rest, self.dtype).reshape(others, *shape)

    def weights(self, number):
        params = self.layer.params
        names = [f"{n}_l{number}" for n in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
        return [params.get(name, np.zeros(0, self.dtype)) for name in names]

    def sizes(self, number):
        c = self.configuration
        return c.num_layers, number, c.B, c.H if number else c.I, c.H

    def forward(self):
        c = self.configuration
        columns = len(self.cell.gates) * self.hidden_p
        work = np.full(
            single_step.forward_work(
                c.B, columns, self.hidden_p, len(self.cell.states), self.lanes
            ),
            np.nan,
            self.dtype,
        )
        nothing = zero_states(self.dtype).first
        for number in range(c.num_layers):
            x = self.h_n if number else self.values["x"]
            output = self.output if number == c.num_layers - 1 else nothing
            arrays = [
                *self.weights(number),
                x,
                self.h_0,
                self.others_0,
                self.h_n,
                self.others_n,
                output,
                self.saved,
            ]
            self.cell.one_forward(*self.sizes(number), *places(arrays, self.at), work)
        return self.output, (self.h_n, *self.others_n)

    def backward(self, wanted, factors=False):
        """Return d_x, d_states and the weights' gradients; with factors, d_a_x and d_a_h too."""
        c = self.configuration
        k = len(self.cell.gates) * c.H
        widest = workspace.padded(max(c.I, c.H), self.dtype)
        work = np.full(
            single_step.backward_work(c.B, k, self.hidden_p, widest, len(self.cell.states)),
            np.nan,
            self.dtype,
        )
        d_h_n, d_others_n = self.states(self.values["d_state"])
        d_h_0, d_others_0 = self.states(None, np.nan)
        nothing, gradients = zero_states(self.dtype).first, {}
        d_output = nothing if self.values["d_output"] is None else self.values["d_output"]
        for number in reversed(range(c.num_layers)):
            own, x = self.weights(number), self.h_n if number else self.values["x"]
            d_x = np.full((1, c.B, x.shape[2]), np.nan, self.dtype) if number or wanted else nothing
            d_own = [np.full(w.shape, np.nan, self.dtype) for w in own]
            d_a = [np.full((c.B, k), np.nan, self.dtype) if factors else nothing for _ in "xh"]
            arrays = [
                *own[:2],
                x,
                self.h_0,
                self.saved,
                d_output,
                d_h_n,
                d_others_n,
                d_x,
                d_h_0,
                d_others_0,
                *d_own,
                *d_a,
            ]
            self.cell.one_backward(
                *self.sizes(number), *places(arrays, self.at), self.cell.shared, work
            )
            gradients[number], d_output = (d_own, d_a, x), d_x
        return d_output, (d_h_0, *d_others_0), gradients


def drawn(cell, data, dtype, whole):
    lanes = workspace.lanes(np.dtype(dtype))
    sizes = [2 * lanes, 4 * lanes] if whole else [1, lanes - 1, lanes, 2 * lanes + 1]
    size = st.sampled_from(sizes)
    return Configuration(
        cell,
        T=1,
        B=data.draw(st.integers(1, 1 if not whole else 3)),
        I=data.draw(size),
        H=data.draw(size),
        num_layers=data.draw(st.integers(1, 3)),
        bias=data.draw(st.booleans()),
        given=(data.draw(st.booleans()),) * 2,
        cotangents=(data.draw(st.booleans()), data.draw(st.booleans())),
    )


@every_cell
@both_dtypes
@settings(max_examples=25)
@given(data=st.data())
def test_a_step_equals_the_general_call_bit_for_bit(cell, dtype, data):
    this = Step(drawn(cell, data, dtype, whole=False), dtype, data.draw(st.booleans()))
    general = StackCall(this.layer, this.values["x"], this.values["state"], None)
    expected, after = general.run(keep=False, training=False)
    output, states = this.forward()
    assert_close(output, expected, atol=0)
    for got, want in zip(states, members(after), strict=True):
        assert_close(got, want, atol=0)


@every_cell
@both_dtypes
@settings(max_examples=25)
@given(data=st.data())
def test_its_gradient_equals_the_general_one_bit_for_bit(cell, dtype, data):
    this = Step(drawn(cell, data, dtype, whole=True), dtype, data.draw(st.booleans()))
    assume(OneStep(this.layer, this.configuration.B).differentiable[1])  # else they need not agree
    general = StackCall(this.layer, this.values["x"], this.values["state"], None)
    general.run(keep=True, training=False)
    this.forward()
    expected = general(this.values["d_output"], this.values["d_state"])
    d_x, d_states, gradients = this.backward(wanted=True)
    assert_close(d_x, expected.input, atol=0)
    for got, want in zip(d_states, members(expected.state), strict=True):
        assert_close(got, want, atol=0)
    names = ["weight_ih", "weight_hh", *(["bias_ih", "bias_hh"] if this.layer.bias else [])]
    for number, (d_own, _, _) in gradients.items():
        for name, got in zip(names, d_own, strict=False):
            assert_close(got, expected.params[f"{name}_l{number}"], atol=0, name=name)


@every_cell
def test_the_gradients_factors(cell):
    """What deferred products are made of: d_W = d_aᵀ x."""
    this = Step(Configuration(cell, T=1, B=2, I=8, H=8, num_layers=2), np.float64, False)
    this.forward()
    _, _, gradients = this.backward(wanted=False, factors=True)
    for number, (d_own, (d_a_x, d_a_h), x) in gradients.items():
        read = x[number - 1] if number else x[0]
        left = d_a_h if cell.shared else d_a_x
        assert_close(d_own[0], left.T @ read, atol=1e-13)
        assert_close(d_own[1], d_a_h.T @ this.h_0[number], atol=1e-13)
        assert_close(d_own[2], left.sum(0), atol=1e-13)
        assert_close(d_own[3], d_a_h.sum(0), atol=1e-13)
