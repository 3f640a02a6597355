"""Errors at the ends of the number line: found in every mode, and without them no alarm."""

import pytest

from fastrnn.checking import gradcheck
from fastrnn.checking.extremes import EXTREMES, FAMILIES, UNTOLD, right

every_extreme = pytest.mark.parametrize(
    "extreme", EXTREMES, ids=lambda e: f"{e.where}-{e.words}".replace(" ", "_")
)


def test_there_are_enough_and_no_two_alike():
    assert len(EXTREMES) >= 80
    assert len({(e.where, e.words) for e in EXTREMES}) == len(EXTREMES)
    assert {e.where for e in EXTREMES} == {*FAMILIES, *UNTOLD}


@every_extreme
@pytest.mark.parametrize("mode", ["full", "sample", "project"])
def test_an_error_is_found(extreme, mode):
    assert not gradcheck(*extreme.problem(0), mode=mode, raise_exception=False).ok


@pytest.mark.parametrize("seed", range(120))
def test_without_the_error_the_gradient_is_right(seed):
    assert gradcheck(*right(seed), mode=("full", "sample", "project")[seed % 3], seed=seed).ok


@pytest.mark.parametrize("name", UNTOLD)
def test_of_outputs_without_a_derivative_nothing_is_said(name):
    [extreme] = [e for e in EXTREMES if e.where == name]
    report = gradcheck(*extreme.problem(0), raise_exception=False)
    assert not report.ok
    zero = extreme._replace(change=lambda gradient: 0 * gradient)
    report = gradcheck(*zero.problem(0), raise_exception=False)
    assert "COULD NOT BE CHECKED" in report.summary()
    assert report.unmeasured
