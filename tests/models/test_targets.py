"""Labels, numbers and vectors: what is refused."""

import numpy as np
import pytest

from fastrnn.models import RNNClassifier, RNNRegressor, RNNTagger, targets


@pytest.mark.parametrize(
    ("y", "message"),
    [
        ([[0, 1], [1, 0]], r"y has shape \(2, 2\); expected \(N,\), one label each"),
        ([0.5, np.nan], r"y\[1\] is not finite"),
        (3, r"y has shape \(\)"),
        ([0.1, 0.2], r"Unknown label type: continuous: y\[0\] is 0.1; .*there is RNNRegressor"),
        (np.array([1, 0.5], object), r"Unknown label type: continuous: y\[1\] is 0.5"),
        ([0.5, np.inf], r"y\[1\] is not finite: it is inf"),
        (None, "RNNClassifier requires y to be passed, but the target y is None"),
        ("ab", "y is one str"),
        ([{}, {}], "Unknown label type: unknown: the labels of y cannot be sorted"),
    ],
)
def test_labels_that_are_none(y, message):
    with pytest.raises((TypeError, ValueError), match=message):
        RNNClassifier().fit(["a", "b"], y)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (["a", "b"], r"y is <U1 of shape \(2,\); expected numbers, \(N,\) or \(N, K\)"),
        (np.ones((2, 1, 1)), r"of shape \(2, 1, 1\)"),
        ([1, np.inf], r"y\[1\] is not finite"),
        ([[1, 2], [np.nan, 3]], r"y\[1, 0\] is not finite"),
        ([1, 1e300], r"y has 1e\+300, which is beyond float32; scale y"),
        (None, "RNNRegressor requires y to be passed"),
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


def test_a_column_of_labels():
    kind = UserWarning
    try:
        from sklearn.exceptions import DataConversionWarning as kind
    except ModuleNotFoundError:
        pass
    with pytest.warns(kind, match=r"^A column-vector y was passed when a 1d array was expected"):
        found = targets.labels("Model", np.array([[1], [2]]))
    assert found.tolist() == [1, 2]


def test_whole_floats_are_classes():
    assert targets.labels("Model", [2.0, 1.0]).tolist() == [2.0, 1.0]


@pytest.mark.parametrize("kind", [RNNClassifier, RNNTagger])
def test_labels_of_another_kind_in_score(kind):
    given = [["x"], ["y"]] if kind is RNNTagger else ["x", "y"]
    other = [[1], [0]] if kind is RNNTagger else [1, 0]
    model = kind(3, epochs=1).fit(["a", "b"], given)
    with pytest.raises(ValueError, match="y is numbers, and in fit it was strings"):
        model.score(["a", "b"], other)
    model.fit(["a", "b"], other)
    with pytest.raises(ValueError, match="y is strings, and in fit it was numbers"):
        model.score(["a", "b"], given)


def test_booleans_compare_as_numbers():
    model = RNNClassifier(3, epochs=1).fit(["a", "b"], [True, False])
    assert model.score(["a", "b"], [1.0, 0.0]) == model.score(["a", "b"], [True, False])
