"""RNNClassifier: labels of any kind in and out, and probabilities."""

import numpy as np
import pytest

from fastrnn.models import RNNClassifier

RANDOM = np.random.default_rng(0)
SMALL = {"epochs": 2, "batch_size": 4}


def sequences(count=12, longest=6):
    lengths = RANDOM.integers(1, longest + 1, count)
    return [RANDOM.random((t, 2)) for t in lengths]


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (["no", "yes", "no"], ["no", "yes"]),
        ([7, -2, 7], [-2, 7]),
        ([2.0, 1.0, 2.0], [1.0, 2.0]),
        (np.array([True, False, True]), [False, True]),
        (np.array(["b", "a", "b"], object), ["a", "b"]),
        ([3, 3, 3], [3]),
    ],
    ids=str,
)
def test_labels_of_any_kind(labels, classes):
    x = ["ab", "c", "ab"]
    model = RNNClassifier(8, lr=0.1, epochs=30).fit(x, labels)
    assert model.classes_.tolist() == classes
    assert model.predict(x).tolist() == list(labels)
    assert model.score(x, labels) == 1


def test_probabilities():
    x = sequences()
    model = RNNClassifier(4, **SMALL).fit(x, np.arange(12) % 3)
    found = model.predict_proba(x)
    assert found.shape == (12, 3)
    assert found.dtype == np.float32
    assert np.allclose(found.sum(axis=1), 1)
    assert (model.classes_[found.argmax(axis=1)] == model.predict(x)).all()
