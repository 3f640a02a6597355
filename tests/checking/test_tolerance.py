"""The tolerance: as asked, or the sum of what is uncertain on both sides."""

import numpy as np
import pytest

from fastrnn.checking.options import CheckOptions
from fastrnn.checking.tolerance import Uncertainty, requested, sharp, wide


def test_as_in_torch_if_asked_for():
    numeric = np.array([2.0, -3.0])
    assert requested(CheckOptions(), numeric) is None
    both = requested(CheckOptions(atol=0.1, rtol=0.01), numeric)
    assert both == pytest.approx([0.12, 0.13])
    assert requested(CheckOptions(atol=0.0), numeric).tolist() == [0, 0]
    assert requested(CheckOptions(rtol=0.5), -4.0) == 2.0


def test_each_uncertainty_adds_to_it():
    eps = 2.0**-52
    nothing = Uncertainty(0.0, 0.0, 0.0, 0.0, eps)
    zero, one = np.zeros(1), np.ones(1)
    assert sharp(nothing, zero, zero) == wide(nothing, zero, zero) == 0
    for tolerance in (sharp, wide):
        assert tolerance(nothing, one, zero).tolist() == [10.0]
        assert tolerance(nothing._replace(noise=1.0), zero, zero).tolist() == [12.0]
        assert tolerance(nothing, zero, one).tolist() == [16 * eps]


def test_what_comes_from_elsewhere_widens_only_the_wide_one():
    eps = 2.0**-52
    zero, known = np.zeros(1), Uncertainty(0.0, 1.0, 8.0, 3.0, eps)
    assert sharp(known, zero, zero).tolist() == [0]
    assert wide(known, zero, zero).tolist() == [24 + (16 * 8 + 4 * 3) * eps]
