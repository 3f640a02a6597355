"""The network of RNNClassifier and RNNRegressor: every form of X, one step, truncated."""

import numpy as np
import pytest

from fastrnn.models import RNNClassifier, RNNRegressor

RANDOM = np.random.default_rng(0)
SMALL = {"epochs": 2, "batch_size": 4}


def sequences(count=12, longest=6):
    lengths = RANDOM.integers(1, longest + 1, count)
    return [RANDOM.random((t, 2)) for t in lengths]


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
