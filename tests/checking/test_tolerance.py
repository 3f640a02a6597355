"""The tolerance: as asked, or the sum of what is uncertain on both sides."""

import numpy as np
import pytest

from fastrnn.checking.options import CheckOptions
from fastrnn.checking.tolerance import measured, requested


def test_as_in_torch_if_asked_for():
    numeric = np.array([2.0, -3.0])
    assert requested(CheckOptions(), numeric) is None
    both = requested(CheckOptions(atol=0.1, rtol=0.01), numeric)
    assert both == pytest.approx([0.12, 0.13])
    assert requested(CheckOptions(atol=0.0), numeric).tolist() == [0, 0]
    assert requested(CheckOptions(rtol=0.5), -4.0) == 2.0


def test_each_uncertainty_adds_to_it():
    gradients = np.array([[1.0, -8.0], [0.0, np.nan]])
    eps = 2.0**-52
    assert measured(gradients, eps, 0.0, 0.0, 0.0).tolist() == [16 * 8 * eps, 0]
    zero = np.zeros((1, 2))
    assert measured(zero, eps, 3.0, 0.0, 0.0).tolist() == [12 * eps]
    assert measured(zero, eps, 0.0, 1.0, 0.0).tolist() == [10.0]
    assert measured(zero, eps, 0.0, 0.0, 1.0).tolist() == [12.0]
