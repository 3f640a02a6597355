"""The options of a check: each is validated before the target is called."""

import numpy as np
import pytest

from fastrnn.checking import gradcheck
from fastrnn.checking.options import CheckOptions
from tests.support.targets import X, square


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"method": "fd"}, ValueError, "method is 'fd'; expected one of auto, complex"),
        ({"mode": "fast"}, ValueError, "mode is 'fast'; expected one of full, sample, project"),
        ({"n_samples": 0}, ValueError, "n_samples must be at least 1, got 0"),
        ({"n_projections": 1.5}, TypeError, "n_projections should be of type int"),
        ({"eps": 0}, ValueError, "eps is 0; expected a step above 0"),
        ({"eps": "1"}, TypeError, "eps is '1'; expected a number"),
        ({"atol": -1}, ValueError, "atol is -1"),
        ({"rtol": float("nan")}, ValueError, "rtol is nan"),
        ({"seed": -1}, ValueError, "seed must be at least 0"),
        ({"check_kinks": 1}, TypeError, "check_kinks should be of type bool"),
        ({"wrt": "y"}, ValueError, "wrt has ['y']; expected some of ['x']"),
        ({"wrt": 3}, TypeError, "wrt is 3; expected names"),
        ({"wrt": ()}, ValueError, "wrt has no name"),
    ],
)
def test_options_are_checked_first(options, error, says):
    def never(x):
        raise AssertionError("called")

    target = square if "wrt" in options else never
    with pytest.raises(error) as caught:
        gradcheck(target, (X,), **options)
    assert says in str(caught.value)


def test_every_purpose_draws_its_own_numbers():
    options = CheckOptions(seed=5)
    first, again, other = (options.random(purpose).standard_normal(3) for purpose in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.intersect1d(first, other).size
    assert not np.array_equal(CheckOptions(seed=6).random(1).standard_normal(3), first)


def test_a_closer_look_measures_its_own_tolerances():
    asked = CheckOptions("complex", "sample", eps=1e-3, atol=1.0, rtol=1.0, n_samples=3, seed=9)
    softened = asked.softened()
    assert (softened.method, softened.eps) == ("auto", None)
    assert (softened.atol, softened.rtol) == (None, None)
    assert (softened.mode, softened.n_samples, softened.seed) == ("sample", 3, 9)
    assert CheckOptions("central").softened().method == "central"
