"""What the report says of planted errors: found in every mode, named, and their likely cause."""

import numpy as np
import pytest

from fastrnn.checking import gradcheck
from fastrnn.checking.mutants import MUTANTS, WHERE, right

every_mutant = pytest.mark.parametrize(
    "mutant", MUTANTS, ids=lambda m: f"{m.where}-{m.words}".replace(" ", "_")
)


def test_there_are_enough_and_no_two_alike():
    assert len(MUTANTS) >= 40
    assert len({(m.where, m.words) for m in MUTANTS}) == len(MUTANTS)
    assert {m.where for m in MUTANTS} == set(WHERE)


@every_mutant
def test_a_planted_error_is_found_in_full_and_explained(mutant):
    report = gradcheck(*mutant.problem(0), raise_exception=False)
    assert not report.ok
    assert not mutant.hint or any(mutant.hint in hint for hint in report.hints)
    assert report.worst.variable in [v.name for v in report.variables]


@every_mutant
@pytest.mark.parametrize("mode", ["sample", "project"])
def test_it_is_found_in_other_modes(mutant, mode):
    assert not gradcheck(*mutant.problem(1), mode=mode, seed=1, raise_exception=False).ok


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


def test_right_gradients_have_neither_hints_nor_a_location():
    report = gradcheck(*right("gru", 0, ("lengths", "reverse")))
    assert not report.hints
    assert report.location is None
    assert not report.sweep


def product(change):
    def product(a, b):
        return a @ b, lambda d: change(d @ b.T, a.T @ d)

    random = np.random.default_rng(0)
    return gradcheck(
        product,
        (random.standard_normal((4, 4)), random.standard_normal((4, 4))),
        raise_exception=False,
    ).hints


@pytest.mark.parametrize(
    ("change", "hint"),
    [
        (lambda a, b: (b, a), "the gradient of b: exchanged? (a)"),
        (lambda a, b: (a, b.T), "transposed (b)"),
        (lambda a, b: (a, b[::-1]), "reversed along its first axis (b)"),
        (lambda a, b: (-2 * a, b), "the opposite sign and twice as large: counted twice? (a)"),
        (lambda a, b: (a / 0.8, b), "1/(1-p) or 1-p of a dropout of 0.2? (a)"),
        (lambda a, b: (a * 4, b), "4 times as large, axis 0 of the output"),
        (lambda a, b: (a, np.roll(b, 1, 0)), "shifted by one along its first axis (+1) (b)"),
        (lambda a, b: (a * (1 + 1e-8), b), "nearly right, by 1e-08 of itself"),
        (lambda a, b: (a, 0 * b), "zero: no gradient arrives here (b)"),
        (lambda a, b: (a, b * (np.arange(4) < 3)), ""),
        (lambda a, b: (a * (np.arange(4) < 3)[:, None], b), "wrong only at axis 0: 3 (a)"),
        (lambda a, b: (a.T.reshape(4, 4) * 3.7, b), ""),
    ],
)
def test_patterns(change, hint):
    assert any(hint in found for found in product(change)) or not hint


def test_a_pattern_in_mode_project():
    report = gradcheck(
        lambda x: (np.sin(x), lambda d: 2 * np.cos(x) * d),
        (np.ones((3, 2)),),
        mode="project",
        raise_exception=False,
    )
    assert any("twice as large" in hint for hint in report.hints)
