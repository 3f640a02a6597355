"""RNNTagger: every form of y, both directions against one, pieces, errors."""

import numpy as np
import pytest

from fastrnn.models import RNNTagger

RANDOM = np.random.default_rng(0)
WORDS = ["".join(RANDOM.choice(list("ab"), t)) for t in RANDOM.integers(1, 12, 60)]
PARITY = ["".join("xy"[word[: t + 1].count("a") % 2] for t in range(len(word))) for word in WORDS]
NEXT = [word[1:] + "." for word in WORDS]


def test_learns_what_came_before_in_pieces():
    model = RNNTagger(16, bidirectional=False, truncate=4, lr=0.02, epochs=60)
    assert model.fit(WORDS, PARITY).score(WORDS, PARITY) > 0.98


def test_two_directions_see_what_comes():
    both = RNNTagger(8, lr=0.02).fit(WORDS, NEXT)
    one = RNNTagger(8, lr=0.02, bidirectional=False).fit(WORDS, NEXT)
    assert both.score(WORDS, NEXT) == 1
    assert one.score(WORDS, NEXT) < 0.8


@pytest.mark.parametrize(
    ("y", "classes"),
    [
        (PARITY, ["x", "y"]),
        ([list(tags) for tags in PARITY], ["x", "y"]),
        ([np.array(list(tags)) for tags in PARITY], ["x", "y"]),
        ([["odd" if t == "y" else "even" for t in tags] for tags in PARITY], ["even", "odd"]),
        ([[7 if t == "y" else -3 for t in tags] for tags in PARITY], [-3, 7]),
    ],
)
def test_labels_of_any_kind(y, classes):
    model = RNNTagger(4, epochs=1).fit(WORDS, y)
    assert model.classes_.tolist() == classes
    predicted, chances = model.predict(WORDS), model.predict_proba(WORDS)
    for word, tags, rows in zip(WORDS, predicted, chances, strict=True):
        assert tags.shape == (len(word),)
        assert rows.shape == (len(word), 2)
        assert np.allclose(rows.sum(axis=1), 1)
        assert (model.classes_[rows.argmax(axis=1)] == tags).all()
    right = np.concatenate([list(row) for row in y])
    assert model.score(WORDS, y) == np.mean(np.concatenate(predicted) == right)


def test_padded_or_lists():
    x, y = RANDOM.random((5, 6, 2)), RANDOM.integers(0, 3, (5, 6))
    lengths = np.array([6, 1, 4, 3, 2])
    lists = [row[:n] for row, n in zip(x, lengths, strict=True)]
    tags = [row[:n].tolist() for row, n in zip(y, lengths, strict=True)]
    models = [
        RNNTagger(4, epochs=3).fit(lists, tags),
        RNNTagger(4, epochs=3).fit(x, y, lengths),
        RNNTagger(4, epochs=3).fit(x, tags, lengths),
    ]
    assert len({tuple(model.history_["loss"]) for model in models}) == 1
    padded = models[1].predict(x, lengths)
    assert [row.tolist() for row in padded] == [row.tolist() for row in models[0].predict(lists)]
    assert models[1].score(x, y, lengths) == models[0].score(lists, tags)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (["x", "xyz"], r"X\[1\] has 2 steps, and y\[1\] 3 labels; expected one for each step"),
        (["x", ""], r"y\[1\] is empty"),
        ([[0.5], [1.5, 2.5]], "y has sequences of float64 of one axis; expected symbols"),
        (7, "y is a int"),
    ],
)
def test_labels_that_do_not_fit(y, message):
    with pytest.raises((TypeError, ValueError), match=message):
        RNNTagger().fit(["a", "ab"], y)


def test_truncated_with_two_directions():
    with pytest.raises(ValueError, match=r"truncate = 3 with bidirectional=True: the reverse dire"):
        RNNTagger(truncate=3).fit(WORDS, PARITY)


def test_columns_of_labels():
    """A list, or what is one in effect, goes with padded arrays of any lengths."""
    pd = pytest.importorskip("pandas")
    x, lengths = np.array([[1, 2, 9], [2, 1, 1]]), [2, 3]
    model = RNNTagger(3, epochs=1)
    for y in (["ab", "aba"], pd.Series(["ab", "aba"]), pd.DataFrame({"tags": ["ab", "aba"]})):
        assert model.fit(x, y, lengths).classes_.tolist() == ["a", "b"]
        model.score(x, y, lengths)
    with_padding = np.array([["a", "b", "?"], ["a", "b", "a"]])
    assert model.fit(x, with_padding, lengths).classes_.tolist() == ["a", "b"]


def test_an_array_of_one_label_each():
    model = RNNTagger(3, epochs=1).fit(np.ones((2, 1), int), np.array([["cat"], ["dog"]]))
    assert model.classes_.tolist() == ["cat", "dog"]
