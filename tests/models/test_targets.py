"""Labels, numbers and vectors: what is refused."""

import numpy as np
import pytest

from fastrnn.models import RNNClassifier, RNNRegressor, targets


@pytest.mark.parametrize(
    ("y", "message"),
    [
        ([[0, 1], [1, 0]], r"y has shape \(2, 2\); expected \(N,\), one label each"),
        ([0.5, np.nan], r"y\[1\] is not finite"),
        (3, r"y has shape \(\)"),
    ],
)
def test_labels_that_are_none(y, message):
    with pytest.raises(ValueError, match=message):
        RNNClassifier().fit(["a", "b"], y)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (["a", "b"], r"y is <U1 of shape \(2,\); expected numbers, \(N,\) or \(N, K\)"),
        (np.ones((2, 1, 1)), r"of shape \(2, 1, 1\)"),
        ([1, np.inf], r"y\[1\] is not finite"),
        ([[1, 2], [np.nan, 3]], r"y\[1, 0\] is not finite"),
    ],
)
def test_numbers_that_are_none(y, message):
    with pytest.raises(ValueError, match=message):
        RNNRegressor().fit(["a", "b"], y)


def test_vectors():
    found = targets.vectors("Model", [[1, 2], [3, 4]], 2)
    assert found.dtype == np.float64
    assert found.tolist() == [[1, 2], [3, 4]]
    with pytest.raises(ValueError, match="Model: X has vectors of 2 numbers, and in fit they h"):
        targets.vectors("Model", [[1, 2]], 3)
