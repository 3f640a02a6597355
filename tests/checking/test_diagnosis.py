"""The hints of a failed check: which variables and steps they name, and when there are none."""

import numpy as np
import pytest

from fastrnn.checking import gradcheck
from fastrnn.checking.mutants import MUTANTS, right


def test_right_gradients_have_neither_hints_nor_a_location():
    report = gradcheck(*right("gru", 0, ("lengths", "reverse")))
    assert not report.hints
    assert report.location is None
    assert not report.sweep


def test_a_pattern_in_mode_project():
    report = gradcheck(
        lambda x: (np.sin(x), lambda d: 2 * np.cos(x) * d),
        (np.ones((3, 2)),),
        mode="project",
        raise_exception=False,
    )
    assert any("twice as large" in hint for hint in report.hints)


def hints_of(words):
    [mutant] = [m for m in MUTANTS if m.words == words]
    return gradcheck(*mutant.problem(0), raise_exception=False).hints


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ("gates i and f exchanged", "at step"),
        ("nothing carried to the step before", "what is carried from step to step?"),
        ("no gradient of b_hh", "the gradient at every pre-activation is right"),
    ],
)
def test_hints_start_with_the_first_wrong_step(words, hint):
    assert hint in hints_of(words)[0]


def test_a_factor_that_other_outputs_hide():
    def f(x):
        return (np.sin(x), np.cos(x)), lambda d: 3 * np.cos(x) * d[0] - np.sin(x) * d[1]

    x = np.random.default_rng(0).standard_normal(5)
    hints = gradcheck(f, (x,), raise_exception=False).hints
    assert any("for a loss of the first output alone 3 times as large" in hint for hint in hints)


def test_variables_that_look_alike_share_a_line():
    def f(a, b):
        return a + b, lambda d: (-d, -d)

    x = np.random.default_rng(0).standard_normal(5)
    assert gradcheck(f, (x, x), raise_exception=False).hints == ["the opposite sign (a, b)"]
