"""Gradients judged by the function itself, for every cell: central differences, Taylor's remainder.

No oracle is asked, only the forward pass. That the check would notice is shown by errors planted
on purpose, in compiled cells and in pullbacks. fastrnn.gradcheck, for users, is in tests/checking.
"""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fastrnn.cells import gru, lstm, rnn
from fastrnn.engine import backward
from fastrnn.engine import step as steps
from fastrnn.kernels.activation import tanh
from fastrnn.kernels.jit import jit
from fastrnn.kernels.simd import fma, where_not_positive, zero_like
from fastrnn.nn.function import run_cell
from tests.support.compare import assert_close
from tests.support.configurations import bare, every_cell, members

T, B, I, H, P = 4, 3, 2, 5, 3  # noqa: E741
LENGTHS = np.array([3, 0, 4])
RESET = np.array([[0, 1, 1], [0, 0, 1], [1, 0, 0], [1, 0, 1]], bool)


class Problem:
    """A scalar of everything one cell reads, and its gradient."""

    def __init__(self, cell, *, lengths=None, reset=None, reverse=False, projected=False, seed=0):
        rng = np.random.default_rng(seed)
        rows, E = len(cell.gates) * H, P if projected else H
        shapes = {"w_ih": (rows, I), "w_hh": (rows, E), "b_ih": (rows,), "b_hh": (rows,)}
        shapes |= {"w_hr": (P, H)} if projected else {}
        self.cell, self.weights, self.reset = cell, list(shapes), reset
        self.options = lengths, reverse
        shapes |= {"x": (T, B, I), "h": (B, E)} | {s: (B, H) for s in cell.states[1:]}
        self.values = {name: rng.normal(size=shape) / 2 for name, shape in shapes.items()}
        self.d_output = rng.normal(size=(T, B, E))
        self.d_state = [rng.normal(size=shapes[s]) for s in ("h", *cell.states[1:])]

    def call(self, values):
        weights = [values.get(name) for name in ("w_ih", "w_hh", "b_ih", "b_hh", "w_hr")]
        state = bare([values[s] for s in ("h", *self.cell.states[1:])])
        kept = {"checkpoint": None, "memory": None, "reset": self.reset}
        given = values["x"], state, tuple(weights), *self.options
        return run_cell("test", self.cell, *given, vjp=True, **kept)

    def loss(self, values):
        (output, state), _ = self.call(values)
        return np.sum(output * self.d_output) + sum(
            np.sum(s * d) for s, d in zip(members(state), self.d_state, strict=True)
        )

    def gradient(self):
        grads = self.call(self.values)[1](self.d_output, bare(self.d_state))
        states = dict(zip(("h", *self.cell.states[1:]), members(grads.state), strict=True))
        return {"x": grads.input, **states, **grads.params}

    def check(self, gradient, step=1e-4):
        """Assert every entry by central differences of fourth order."""
        assert set(gradient) == set(self.values)
        for name, array in self.values.items():
            expected = np.zeros_like(array)
            for index in np.ndindex(array.shape):
                at = {}
                for k in (-2, -1, 1, 2):
                    moved = array.copy()
                    moved[index] += k * step
                    at[k] = self.loss(self.values | {name: moved})
                expected[index] = (8 * (at[1] - at[-1]) - (at[2] - at[-2])) / (12 * step)
            assert_close(gradient[name], expected, atol=1e-9, rtol=1e-9, name=name)


PROBLEMS = {
    "plain": {},
    "ragged": {"lengths": LENGTHS},
    "ragged-reverse": {"lengths": LENGTHS, "reverse": True},
    "projected": {"projected": True},
    "episodes": {"reset": RESET, "lengths": LENGTHS},
    "episodes-reverse": {"reset": RESET, "reverse": True},
    "episodes-projected": {"reset": RESET, "projected": True},
}


def problem(cell, options):
    if options.get("projected") and "c" not in cell.states:
        pytest.skip("only the LSTM has a projection")
    return Problem(cell, **options)


@every_cell
@pytest.mark.parametrize("options", PROBLEMS.values(), ids=PROBLEMS)
def test_every_entry_equals_central_differences(cell, options):
    this = problem(cell, options)
    this.check(this.gradient())


@every_cell
@pytest.mark.parametrize("options", PROBLEMS.values(), ids=PROBLEMS)
def test_the_remainder_falls_with_the_square_of_the_step(cell, options):
    """|L(p + e v) - L(p) - e <g, v>| = O(e**2): a wrong gradient leaves a slope of 1."""
    this = problem(cell, options)
    rng, gradient = np.random.default_rng(1), this.gradient()
    for name, array in this.values.items():
        v = rng.normal(size=array.shape)
        start, slope = this.loss(this.values), np.sum(gradient[name] * v)
        steps = 2.0 ** -np.arange(10, 15)
        remainders = [
            abs(this.loss(this.values | {name: array + e * v}) - start - e * slope) for e in steps
        ]
        if max(remainders) < 1e-13:  # linear in this one, as the ReLU is nearly everywhere
            continue
        order = np.polyfit(np.log(steps), np.log(np.maximum(remainders, 1e-300)), 1)[0]
        assert order > 1.8, f"{name}: order {order:.2f}, remainders {remainders}"


# Errors on purpose. First in pullbacks, for every cell.


def flipped(name):
    return lambda this, g: g | {name: -g[name]}


def swapped_gates(this, g):
    gates = len(this.cell.gates)
    order = np.roll(np.arange(gates), 1) if gates > 1 else None
    if order is None:
        pytest.skip("one gate cannot be swapped")
    blocks = g["w_hh"].reshape(gates, H, -1)[order]
    return g | {"w_hh": blocks.reshape(g["w_hh"].shape)}


def dropped_row(this, g):
    """The sum over the batch without its last row, as a wrong loop bound would have it."""
    one = Problem(this.cell)
    one.d_output[:, -1] = 0
    for d in one.d_state:
        d[-1] = 0
    return g | {"b_ih": one.gradient()["b_ih"]}


PLANTED = {
    "sign": flipped("w_ih"),
    "sign of the state": flipped("h"),
    "swapped gate": swapped_gates,
    "transposed": lambda this, g: (
        g
        | {"w_hh": np.concatenate([block.T for block in np.split(g["w_hh"], len(this.cell.gates))])}
    ),
    "dropped row": dropped_row,
    "no gradient past the state": lambda this, g: g | {"h": 0 * g["h"]},
    "scaled": lambda this, g: g | {"b_hh": g["b_hh"] * (1 + 1e-6)},
}


@every_cell
@pytest.mark.parametrize("plant", PLANTED.values(), ids=PLANTED)
def test_an_error_in_a_pullback_is_found(cell, plant):
    this = Problem(cell)
    wrong = plant(this, this.gradient())
    with pytest.raises(AssertionError, match="entries differ"):
        this.check(wrong)


def test_a_wrong_mask_is_found():
    """The gradient of whole sequences where the rows end early."""
    for lengths, other in ((LENGTHS, None), (LENGTHS, np.array([4, 0, 4]))):
        this, wrong = Problem(lstm.CELL, lengths=lengths), Problem(lstm.CELL, lengths=other)
        with pytest.raises(AssertionError, match="entries differ"):
            this.check(wrong.gradient())


# Then in compiled cells, where a test of the layers could not reach.


@jit
def _gate(d, s):
    return d * (s * (1.0 - s))


def lstm_sign(saved, h, d_state):
    i, f, g, o, c = saved
    tanh_c = tanh(fma(f, c, i * g))
    d_h, d_c = d_state
    d_c = fma(d_h * o, 1.0 - tanh_c * tanh_c, d_c)
    d_a = (-_gate(d_c * g, i), _gate(d_c * c, f), d_c * i * (1.0 - g * g), _gate(d_h * tanh_c, o))
    return d_a, d_a, (zero_like(d_h), d_c * f)


def lstm_dropped_term(saved, h, d_state):
    i, f, g, o, c = saved
    tanh_c = tanh(fma(f, c, i * g))
    d_h, d_c = d_state
    d_c = fma(d_h, o, d_c)  # without 1 - tanh_c**2
    d_a = (_gate(d_c * g, i), _gate(d_c * c, f), d_c * i * (1.0 - g * g), _gate(d_h * tanh_c, o))
    return d_a, d_a, (zero_like(d_h), d_c * f)


def lstm_swapped_gates(saved, h, d_state):
    i, f, g, o, c = saved
    tanh_c = tanh(fma(f, c, i * g))
    d_h, d_c = d_state
    d_c = fma(d_h * o, 1.0 - tanh_c * tanh_c, d_c)
    d_a = (_gate(d_c * c, f), _gate(d_c * g, i), d_c * i * (1.0 - g * g), _gate(d_h * tanh_c, o))
    return d_a, d_a, (zero_like(d_h), d_c * f)


def lstm_lost_carry(saved, h, d_state):
    i, f, g, o, c = saved
    tanh_c = tanh(fma(f, c, i * g))
    d_h, d_c = d_state
    d_c = fma(d_h * o, 1.0 - tanh_c * tanh_c, d_c)
    d_a = (_gate(d_c * g, i), _gate(d_c * c, f), d_c * i * (1.0 - g * g), _gate(d_h * tanh_c, o))
    return d_a, d_a, (zero_like(d_h), zero_like(d_h))


def gru_dropped_factor(saved, h, d_state):
    r, z, n, a_hn = saved
    d_h = d_state[0]
    d_z = _gate(d_h * (h - n), z)
    d_n = d_h * (1.0 - z) * (1.0 - n * n)
    d_r = _gate(d_n * a_hn, r)
    return (d_r, d_z, d_n), (d_r, d_z, d_n), (d_h * z,)  # without r in the last of d_a_h


def gru_lost_carry(saved, h, d_state):
    r, z, n, a_hn = saved
    d_h = d_state[0]
    d_z = _gate(d_h * (h - n), z)
    d_n = d_h * (1.0 - z) * (1.0 - n * n)
    d_r = _gate(d_n * a_hn, r)
    return (d_r, d_z, d_n), (d_r, d_z, d_n * r), (zero_like(d_h),)


def relu_wrong_mask(saved, h, d_state):
    d_a = (where_not_positive(saved[0], d_state[0], 0.0),)
    return d_a, d_a, (zero_like(saved[0]),)


def tanh_dropped_term(saved, h, d_state):
    d_a = (d_state[0] * (1.0 - saved[0]),)
    return d_a, d_a, (zero_like(saved[0]),)


BROKEN = {
    lstm.CELL: [lstm_sign, lstm_dropped_term, lstm_swapped_gates, lstm_lost_carry],
    gru.CELL: [gru_dropped_factor, gru_lost_carry],
    rnn.RELU: [relu_wrong_mask],
    rnn.TANH: [tanh_dropped_term],
}
PAIRS = [(cell, step) for cell, steps in BROKEN.items() for step in steps]


@pytest.mark.parametrize(("cell", "step"), PAIRS, ids=[step.__name__ for _, step in PAIRS])
def test_an_error_in_a_compiled_cell_is_found(cell, step):
    # The cache of kernels does not know this file: its digest is in their names.
    digest = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:12]
    name = f"broken_{step.__name__}_{digest}"
    counts = len(cell.states), len(cell.saved)
    row = steps.bind_row(name, jit(step, name=f"{name}_step"), *counts, cell.shared)
    compiled = backward.bind_backward(name, row, len(cell.gates), *counts, cell.shared)
    this = Problem(replace(cell, backward=compiled))
    with pytest.raises(AssertionError, match="entries differ"):
        this.check(this.gradient())
