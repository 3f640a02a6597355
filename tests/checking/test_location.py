"""Where in time a gradient goes wrong: the first wrong step from the end, and its gate."""

import numpy as np
import pytest

from fastrnn.checking import gradcheck
from fastrnn.checking.location import Location
from fastrnn.checking.mutants import MUTANTS, right

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("step", [64, 99, 100, 123, 140])
def test_long_sequences_are_bisected_for_the_first_wrong_step(step):
    def decay(x):
        h, states = np.zeros(x.shape[1], x.dtype), []
        for row in x:
            h = np.tanh(row + 0.9 * h)
            states.append(h)

        def pullback(d):
            d_x, d_h = np.zeros(x.shape), np.zeros(x.shape[1])
            for t in range(len(x) - 1, -1, -1):
                d_a = (d[t] + d_h) * (1 - states[t].real ** 2) * (0.5 if t == step else 1)
                d_x[t], d_h = d_a, 0.9 * d_a
            return d_x

        return np.array(states), pullback

    # Small inputs: between saturated units the error would die out before the first step.
    x = 0.3 * RNG.standard_normal((200, 2))
    report = gradcheck(decay, (x,), mode="sample", raise_exception=False)
    assert report.location.first == (step, [""])


@pytest.mark.parametrize(
    ("words", "gates"),
    [
        ("the forget gate's from the new c", ["f"]),
        ("the derivative of the sigmoid for gate g", ["g"]),
        ("no derivative of gate o", ["o"]),
        ("gate i with the other sign", ["i"]),
        ("one part in a million", ["f"]),
        ("the reset gate's without a_h", ["r"]),
        ("the update gate's sign", ["z"]),
    ],
)
def test_the_gate_and_the_last_step_are_located(words, gates):
    [mutant] = [m for m in MUTANTS if m.words == words]
    target, inputs = mutant.problem(0)
    location = gradcheck(target, inputs, raise_exception=False).location
    assert location.first == (len(inputs[0]) - 1, gates)


@pytest.mark.parametrize(
    "words",
    [
        "no gradient carried by c",
        "c carried without the forget gate",
        "c carried in float32",
        "the reset gate forgotten in a_h",
        "the way past the gates forgotten",
        "nothing carried to the step before",
    ],
)
def test_an_error_in_what_is_carried_shows_one_step_back(words):
    [mutant] = [m for m in MUTANTS if m.words == words]
    target, inputs = mutant.problem(0)
    report = gradcheck(target, inputs, raise_exception=False)
    assert report.location.first[0] == len(inputs[0]) - 2
    assert any("carried from step to step" in hint for hint in report.hints)


def test_right_gradients_have_no_location():
    assert gradcheck(*right("gru", 0, ("lengths", "reverse"))).location is None


def test_it_is_not_looked_for_unless_asked():
    [mutant] = [m for m in MUTANTS if m.words == "gate i with the other sign"]
    report = gradcheck(*mutant.problem(0), localize=False, raise_exception=False)
    assert not report.ok
    assert report.location is None


def test_lines_show_where_steps_are_wrong():
    excess = [[0.1, 0.2, 0.1], [5.0, 3.0, 0.5]]
    location = Location("layer 1", [0, 1, 2], ("r", "z"), excess, (1, ["z"]), 3)
    first, *_, r, z = location.lines()
    assert first == "first wrong: layer 1, step t = 1 (1 back from the last one), gate z"
    assert (r.split(), z.split()) == (["r", "..."], ["z", "XX."])
    assert not Location("", [0], ("",), [[0.0]], None, 1).lines()
    last = Location("", [0], ("",), [[2.0]], (0, [""]), 1, reverse=True)
    assert last.lines() == ["first wrong: step t = 0 (the last one)"]
