"""Errors planted on purpose: each is found in every mode, and explained where it can be."""

import pytest

from fastrnn.checking import gradcheck
from fastrnn.checking.mutants import MUTANTS, WHERE, Mutant, right

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


@pytest.mark.parametrize("where", WHERE)
def test_without_the_error_the_gradient_is_right(where):
    assert gradcheck(*right(where, 0)).ok


def test_an_edit_that_no_longer_fits_the_source_is_refused():
    stale = Mutant("rnn", "a line that was changed", (("d_a = of_long_ago", "d_a = 0"),))
    with pytest.raises(ValueError, match="0 times in rnn_vjp, expected once"):
        stale.problem(0)
