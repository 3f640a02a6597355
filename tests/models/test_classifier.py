"""RNNClassifier and RNNRegressor: their labels and numbers in and out, every form of X, errors."""

import numpy as np
import pytest

from fastrnn.models import RNNClassifier, RNNRegressor

RANDOM = np.random.default_rng(0)
SMALL = {"epochs": 2, "batch_size": 4}


def sequences(count=12, most=6):
    lengths = RANDOM.integers(1, most + 1, count)
    return [RANDOM.random((t, 2)) for t in lengths]


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (["no", "yes", "no"], ["no", "yes"]),
        ([7, -2, 7], [-2, 7]),
        ([0.5, 1.5, 0.5], [0.5, 1.5]),
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


@pytest.mark.parametrize("kind", [RNNClassifier, RNNRegressor])
@pytest.mark.parametrize("options", [{}, {"bidirectional": True}, {"truncate": 3}], ids=str)
def test_padded_or_a_list(kind, options):
    x, y = sequences(), np.arange(12) % 3
    lengths = np.array([len(row) for row in x])
    padded = np.full((12, 9, 2), np.nan)
    for n, row in enumerate(x):
        padded[n, : len(row)] = row
    one = kind(4, **SMALL, **options).fit(x, y)
    other = kind(4, **SMALL, **options).fit(padded, y, lengths=lengths)
    assert one.history_["loss"] == other.history_["loss"]
    assert (one.predict(x) == other.predict(padded, lengths=lengths.tolist())).all()
    assert one.score(x, y) == other.score(padded, y, lengths=lengths)


def test_one_step_is_one_to_one():
    x = RANDOM.random((40, 1, 2))
    y = x[:, 0, 0] > x[:, 0, 1]
    assert RNNClassifier(8, lr=0.05, epochs=40).fit(x, y).score(x, y) > 0.9


def test_truncated_still_reads_all():
    """The first of six symbols decides, and the gradient goes back two steps."""
    x = ["".join(RANDOM.choice(list("ab"), 6)) for _ in range(64)]
    model = RNNClassifier(8, truncate=2, epochs=1).fit(x, [word[0] for word in x])
    first, second = model.predict_proba(["aaaaaa", "baaaaa"])
    assert (first != second).any()


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


class TestRegressor:
    def test_columns(self):
        x = sequences()
        y = np.array([[row.sum(), len(row)] for row in x])
        model = RNNRegressor(8, epochs=2).fit(x, y)
        assert model.predict(x).shape == (12, 2)
        assert RNNRegressor(8, epochs=2).fit(x, y[:, 0]).predict(x).shape == (12,)
        assert RNNRegressor(8, epochs=2).fit(x, y[:, :1]).predict(x).shape == (12, 1)

    def test_learns_a_sum(self):
        x = sequences(100)
        y = np.array([row.sum() for row in x])
        model = RNNRegressor(16, lr=1e-2, epochs=60, validation_fraction=0.2).fit(x, y)
        assert model.score(x, y) > 0.97

    @pytest.mark.parametrize(
        ("y", "message"),
        [
            (["a", "b"], r"y is <U1 of shape \(2,\); expected numbers, \(N,\) or \(N, K\)"),
            (np.ones((2, 1, 1)), r"of shape \(2, 1, 1\)"),
            ([1, np.inf], r"y\[1\] is not finite"),
            ([[1, 2], [np.nan, 3]], r"y\[1, 0\] is not finite"),
        ],
    )
    def test_numbers_that_are_none(self, y, message):
        with pytest.raises(ValueError, match=message):
            RNNRegressor().fit(["a", "b"], y)

    def test_score_wants_the_shape_of_fit(self):
        model = RNNRegressor(3, **SMALL).fit(["a", "b"], [1, 2])
        with pytest.raises(ValueError, match=r"y has shape \(2, 1\); expected \(2,\)"):
            model.score(["a", "b"], [[1], [2]])
