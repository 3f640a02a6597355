"""What is taken as X or as y, what it becomes, and what is refused."""

import numpy as np
import pytest

from fastrnn.models import reading


def lists(found):
    return [found.values[s : s + n].tolist() for s, n in zip(*found[1:], strict=True)]


def learn(x, lengths=None):
    return reading.learn("Model", "X", x, lengths, np.dtype(np.float32))


class TestKinds:
    """Each kind of X, as the indices or the floats that a network reads."""

    @pytest.mark.parametrize(
        ("given", "vocabulary", "rows"),
        [
            (["ba", "c"], "abc", [[1, 0], [2]]),
            (("ba", "c\0"), "\0abc", [[2, 1], [3, 0]]),
            (np.array(["ba", "c"]), "abc", [[1, 0], [2]]),
            (["é😀", "é"], "é😀", [[0, 1], [0]]),
            ([[7, -1], [3]], [-1, 3, 7], [[2, 0], [1]]),
            ([np.array([7, 3]), np.array([3], np.int8)], [3, 7], [[1, 0], [0]]),
            ([["the", "cat"], ["a", "cat"]], ["a", "cat", "the"], [[2, 1], [0, 1]]),
            (np.array([[5, 6], [6, 6]]), [5, 6], [[0, 1], [1, 1]]),
            ([(True, False)], [False, True], [[1, 0]]),
        ],
        ids=str,
    )
    def test_symbols(self, given, vocabulary, rows):
        found, learnt = learn(given)
        assert list(learnt) == list(vocabulary)
        assert isinstance(learnt, str) == isinstance(vocabulary, str)
        assert lists(found) == rows
        again = reading.known("Model", "X", given, None, np.dtype("f4"), learnt, 0)
        assert lists(again) == rows

    def test_padding_is_no_symbol(self):
        found, vocabulary = learn(np.array([[5, 99], [6, 5]]), lengths=[1, 2])
        assert vocabulary.tolist() == [5, 6]
        assert lists(found) == [[0], [1, 0]]

    def test_floats(self):
        rows = [np.arange(6.0).reshape(3, 2), np.ones((1, 2))]
        found, vocabulary = learn(rows)
        assert vocabulary is None
        assert found.values.dtype == np.float32
        assert lists(found) == [row.tolist() for row in rows]

    def test_whole_numbers_of_two_axes_are_floats(self):
        assert learn([np.eye(2, dtype=int)])[1] is None
        assert learn([[[1, 2], [3, 4]], [[5, 6]]])[1] is None

    def test_padded_floats(self):
        x = np.arange(12.0).reshape(2, 3, 2)
        x[0, 2] = np.nan  # padding may be anything
        found, vocabulary = learn(x, lengths=np.array([2, 3]))
        assert vocabulary is None
        assert lists(found) == [x[0, :2].tolist(), x[1].tolist()]

    def test_an_array_of_the_right_type_is_not_copied(self):
        x = np.zeros((2, 3, 2), np.float32)
        assert np.shares_memory(learn(x)[0].values, x)


@pytest.mark.parametrize(
    ("given", "lengths", "message"),
    [
        ("abc", None, "X is one str; expected a list of sequences"),
        (7, None, "X is a int; expected a list of sequences or an array"),
        ([], None, "X has no sequences"),
        (["ab", ""], None, r"X\[1\] is empty; expected at least one step"),
        ([[1], []], None, r"X\[1\] is empty"),
        (["ab", [1]], None, r"X mixes strings and other sequences: X\[1\] is \[1\]"),
        ([1, 2], None, r"X\[0\] is 1; expected a sequence"),
        ([[1], ["a"]], None, r"X\[1\] is <U1, and X\[0\] int64; expected one kind"),
        ([[[1, 2], [3]]], None, r"X\[0\] is no array"),
        ([np.ones((2, 3)), np.ones((2, 4))], None, r"X\[1\] has shape \(2, 4\), and X\[0\] \(2, 3"),
        ([np.ones((2, 3)), np.ones(3)], None, r"X\[1\] has shape \(3,\)"),
        ([np.ones((2, 3, 4))], None, r"expected \(T_n, I\) floats"),
        ([np.ones(3)], None, r"sequences of float64 of one axis; Reshape your data: "),
        (np.ones((3, 4)), None, r"for one feature a sequence is \(T, 1\), x\[..., None\]"),
        (np.ones(3), None, r"X has shape \(3,\); expected \(N, T, I\) floats or"),
        (np.ones((1, 2, 3, 4)), None, r"X has shape \(1, 2, 3, 4\)"),
        (np.ones((0, 2, 3)), None, "expected at least one sequence, T > 0"),
        (np.ones((2, 0, 3)), None, "expected at least one sequence, T > 0"),
        (np.ones((2, 3, 0)), None, "X has no features"),
        ([np.array([["a"]])], None, "X is <U1; expected floats"),
        (["ab"], [2], "lengths goes with a padded array; X is a list already"),
        (np.ones((2, 3, 1)), [3], r"lengths has shape \(1,\)"),
        (np.ones((2, 3, 1)), [3, 4], r"lengths\[1\] is 4"),
        (np.ones((2, 3, 1)), [3, 0], r"X\[1\] is empty: lengths\[1\] is 0"),
        (np.ones((2, 3, 1)), [3.0, 1.0], "lengths is float64; expected integers"),
        ([np.ones((2, 2)), [[1, np.nan]]], None, r"X has nan in X\[1\]\[0, 1\]; expected finite"),
        (np.full((2, 3, 1), np.inf), None, r"X has inf in X\[0\]\[0, 0\]"),
    ],
    ids=str,
)
def test_what_is_refused(given, lengths, message):
    with pytest.raises((TypeError, ValueError), match=r"^Model: .*" + message):
        learn(given, lengths)


def test_floats_are_refused_where_symbols_are_wanted():
    for y in (np.ones((2, 3, 1)), [np.ones((2, 3))], [np.ones(2)]):
        with pytest.raises(ValueError, match=r"expected (sequences of )?symbols"):
            reading.learn_symbols("Model", "y", y, None)


@pytest.mark.parametrize(
    ("fitted", "given", "message"),
    [
        (["ab"], ["b", "aßa"], r"X\[1\]\[1\] is 'ß', which fit has not seen; the vocabulary"),
        ([[1, 5]], [[5, 1, 4]], r"X\[0\]\[2\] is 4, which fit has not seen"),
        ([["cat"]], [["cat"], ["dog"]], r"X\[1\]\[0\] is 'dog', which"),
        (["ab"], [[1, 2]], "X is integers, and in fit it was strings"),
        ([[1, 2]], ["ab"], "X is strings, and in fit it was integers"),
        ([[1, 2]], [["ab"]], "X is words, and in fit it was integers"),
        ([["ab"]], [[1, 2]], "X is integers, and in fit it was words"),
        ([[1, 2]], [np.ones((1, 2))], "X is floats, and in fit it was integers"),
        ([np.ones((1, 2))], ["ab"], "X is strings, and in fit it was floats"),
        (
            [np.ones((1, 2))],
            [np.ones((1, 3))],
            "X has 3 features, but Model is expecting 2 features",
        ),
    ],
    ids=str,
)
def test_what_fit_has_not_seen(fitted, given, message):
    found, vocabulary = learn(fitted)
    features = found.values.shape[-1]
    with pytest.raises(ValueError, match=message):
        reading.known("Model", "X", given, None, np.dtype("f4"), vocabulary, features)
