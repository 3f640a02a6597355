"""Seq2Seq: what it can learn, every kind of y, its search from outside, errors."""

import numpy as np
import pytest

from fastrnn.models import Seq2Seq

RANDOM = np.random.default_rng(0)
WORDS = ["".join(RANDOM.choice(list("abc"), t)) for t in RANDOM.integers(1, 5, 60)]
REVERSED = [word[::-1] for word in WORDS]


@pytest.mark.parametrize(
    "options", [{}, {"bidirectional": True, "cell": "gru"}, {"truncate": 3}], ids=str
)
def test_learns_to_reverse(options):
    model = Seq2Seq(48, lr=0.01, epochs=80, batch_size=16, **options).fit(WORDS, REVERSED)
    assert model.score(WORDS, REVERSED) > 0.95
    assert model.predict(WORDS) == model.predict(WORDS, beam=1)
    wide = model.predict(WORDS, beam=4)
    assert np.mean([a == b for a, b in zip(wide, REVERSED, strict=True)]) > 0.95


@pytest.mark.parametrize(
    ("y", "vocabulary"),
    [
        ([[1, 2, 2], [9], [1]], [1, 2, 9]),
        ([np.array([1, 2, 2]), np.array([9]), np.array([1])], [1, 2, 9]),
        ([["le", "chat"], ["chat"], ["le"]], ["chat", "le"]),
        (["éa", "a", "aa"], "aé"),
        (np.array([[1, 2], [3, 3], [3, 1]]), [1, 2, 3]),
    ],
    ids=str,
)
def test_what_is_written(y, vocabulary):
    x = RANDOM.random((3, 4, 2))
    model = Seq2Seq(16, lr=0.05, epochs=80).fit(x, y)
    assert list(model.target_vocabulary_) == list(vocabulary)
    expected = [row if isinstance(row, str) else np.asarray(row).tolist() for row in y]
    assert model.predict(x) == expected
    assert model.score(x, y) == 1


def test_length_of_its_own():
    model = Seq2Seq(16, lr=0.05, epochs=80).fit(["a", "b"], ["a", "bbbbbbbb"])
    assert model.predict(["b", "a"]) == ["bbbbbbbb", "a"]
    assert model.predict(["b", "a"], max_length=3) == ["bbb", "a"]
    untrained = Seq2Seq(4, epochs=1, lr=1e-9).fit(["a", "b"], ["a", "ba"])
    untrained.head_.params["bias"][:] = [5, 0, -5]  # never the boundary
    assert untrained.predict(["b"]) == ["aaaa"]  # twice the longest


@pytest.mark.parametrize(
    ("options", "y", "message"),
    [
        ({}, ["a", ""], r"y\[1\] is empty"),
        ({}, [np.ones((2, 3))] * 2, "y has arrays of two axes; expected sequences of symbols"),
        ({}, "ab", "y is one str; expected a list of sequences"),
        ({"hidden_size": 5, "bidirectional": True}, ["a", "b"], "which has to be even then; got 5"),
        ({"truncate": 2, "bidirectional": True}, ["a", "b"], "truncate = 2 with bidirectional"),
    ],
    ids=str,
)
def test_errors(options, y, message):
    with pytest.raises(ValueError, match=message):
        Seq2Seq(**options).fit(["a", "b"], y)
