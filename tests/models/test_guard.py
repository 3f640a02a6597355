"""What the entrance lets through, and what it refuses before NumPy makes something else of it."""

import decimal
import fractions

import numpy as np
import pytest

from fastrnn.models import RNNClassifier, RNNRegressor, RNNTagger, Seq2Seq, guard

NAN, NAT = float("nan"), np.datetime64("NaT")
X = ["ab", "b", "ba"]
SMALL = {"epochs": 1}


def refused(message, fit):
    with pytest.raises((TypeError, ValueError), match=message):
        fit()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["a", np.str_("bc")], np.array(["a", "bc"])),
        (np.array(["a", "bc"], object), np.array(["a", "bc"])),
        ([True, np.True_], np.array([True, True])),
        (np.array([1, 2], object), np.array([1, 2])),
        ([np.int8(1), np.int8(2)], np.array([1, 2], np.int8)),
        ([np.int8(1), 2, np.uint64(3)], np.array([1, 2, 3])),
        ([2**63, 1], np.array([2**63, 1], np.uint64)),
        ([1, 2.5], np.array([1, 2.5])),
        ([decimal.Decimal("0.5"), fractions.Fraction(1, 4)], np.array([0.5, 0.25])),
        ([np.array(1), np.array(2)], np.array([1, 2])),
        ((x for x in (1, 2)), np.array([1, 2])),
        (range(2), np.array([0, 1])),
        (np.ma.array([1, 2]), np.array([1, 2])),
        (np.array(["a"], np.dtypes.StringDType()), np.array(["a"])),
        ([np.datetime64("2020-01-01")], np.array(["2020-01-01"], "M8[D]")),
        ([], np.array([])),
    ],
)
def test_arrays(given, expected):
    found = guard.array("Model: y", given)
    assert type(found) is np.ndarray
    assert found.dtype == expected.dtype
    assert found.tolist() == expected.tolist()


def test_an_array_is_not_copied():
    for given in (np.ones(3), np.ones((3, 2), np.int16), np.array(["a"])):
        assert guard.array("Model: y", given) is given


def test_a_matrix_is_an_array():
    with pytest.warns(PendingDeprecationWarning):
        matrix = np.matrix([[1, 2], [2, 1]])
    model = RNNClassifier(3, **SMALL).fit(matrix, [0, 1])
    assert (model.predict_proba(matrix) == model.predict_proba([[1, 2], [2, 1]])).all()


def test_numbers_of_all_kinds():
    assert guard.array("Model: y", [True, 2, 0.5], numeric=True).tolist() == [1, 2, 0.5]
    assert guard.array("Model: y", [2**70, 1], numeric=True).tolist() == [2.0**70, 1]


class NoNumPy:
    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("requires grad")


OBJECTS = np.empty(2, object)
OBJECTS[:] = [1, 2], [3]
BAD = [
    (["a", None], r"y\[1\] is None .*missing"),
    (["a", NAN], r"y\[1\] is nan .*missing"),
    (np.array([1, None], object), r"y\[1\] is None"),
    (np.array([[1, 2], [None, 3]], object), r"y\[1, 0\] is None"),
    ([np.datetime64("2020"), NAT], r"y\[1\] is .*NaT"),
    (np.array(["2020", "NaT"], "M8[D]"), r"y\[1\] is .*NaT"),
    (np.ma.array([1, 2], mask=[0, 1]), r"y\[1\] is masked"),
    (np.ma.array([[1, 2], [3, 4]], mask=[[0, 0], [1, 0]]), r"y\[1, 0\] is masked"),
    ([1, np.ma.masked], r"y\[1\] is masked"),
    ([np.ma.array([1, 2], mask=[0, 1]), [1, 2]], r"y\[0, 1\] is masked"),
    (["a", 1], r"y mixes strings and integers: y\[0\] is 'a', and y\[1\] 1; expected one kind"),
    (np.array(["a", 1], object), r"y mixes strings and integers"),
    ([True, 2], r"y mixes booleans and integers"),
    ([True, 2.0], r"y mixes booleans and floats"),
    ([b"a", "a"], r"y\[0\] is bytes; expected text"),
    (np.array([b"a"]), r"y is bytes; expected text"),
    ([1j], r"y is complex: Complex data not supported"),
    (np.array([1j]), r"y is complex128: Complex data not supported"),
    ([2**70, 1], r"y\[0\] is 1180591620717411303424; expected numbers of 64 bits"),
    ([2**63, -1], r"y\[0\] is 9223372036854775808; expected numbers of 64 bits"),
    (["a\0", "a"], r"y\[0\] is 'a\\x00'; NumPy drops a NUL"),
    ([[1], [1, 2]], "y is no array: its rows are unequal"),
    ([[1, 2], None], r"y\[1\] is None"),
    ([np.datetime64("2020"), np.timedelta64(1, "D")], "y mixes dates and durations"),
    (OBJECTS, r"y\[0\] is a sequence, a list; expected one value"),
    (np.array([(1, 2)], "i4,i4"), "y is structured"),
    ("ab", "y is one str"),
    (b"ab", "y is one bytes"),
    ({0: 1}, "y is a dict, which has no order"),
    ({0, 1}, "y is a set, which has no order"),
    (NoNumPy(), "y cannot be read as an array: requires grad"),
]


@pytest.mark.parametrize(("given", "message"), BAD)
def test_what_is_refused(given, message):
    refused(rf"^Model: {message}", lambda: guard.array("Model: y", given))


EVERY = [
    (["a", None], r"y\[1\] is None"),
    (["a", NAN], r"y\[1\] is nan"),
    (["a", 1], "y mixes strings and integers"),
    ([b"a", "a"], r"y\[0\] is bytes"),
]


@pytest.mark.parametrize("kind", [RNNClassifier, RNNRegressor, RNNTagger, Seq2Seq])
@pytest.mark.parametrize(("given", "message"), EVERY)
def test_every_y(kind, given, message):
    """The same judge for all: one label each, or one sequence of labels."""
    if kind in (RNNTagger, Seq2Seq):
        message = message.replace("y", r"y\[0\]", 1)
        refused(message, lambda: kind(3, **SMALL).fit(["ab"], [given]))
    else:
        refused(message, lambda: kind(3, **SMALL).fit(["ab", "b"], given))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["ab", None], r"X\[1\] is None"),
        (["ab", NAN], r"X\[1\] is nan"),
        (np.array(["ab", None], object), r"X\[1\] is None"),
        ([b"ab", b"b"], r"X\[0\] is bytes"),
        ([["a", None], ["b"]], r"X\[0\]\[1\] is None"),
        ([["a", NAN], ["b"]], r"X\[0\]\[1\] is nan"),
        ([[1, NAN], [2]], r"X\[0\]\[1\] is nan"),
        ([["a", 1], ["b"]], r"X\[0\] mixes strings and integers: X\[0\]\[0\] is 'a'"),
        ([[True], [1]], r"X\[1\] is int64, and X\[0\] bool; expected one kind"),
        ([[[1.0], [None]], [[1.0]]], r"X\[0\]\[1, 0\] is None"),
        ([np.ma.array([1, 2], mask=[0, 1]), [1]], r"X\[0\]\[1\] is masked"),
        (np.ma.array(np.ones((2, 2, 1)), mask=[[[0], [1]]] * 2), r"X\[0, 1, 0\] is masked"),
        (np.ma.array(np.ones((2, 2), int), mask=[[0, 1]] * 2), r"X\[0, 1\] is masked"),
        (np.array([["a", 1]] * 2, object), "X mixes strings and integers"),
        (np.array([["cats"], ["dog"]]), r"X has shape \(2, 1\) of strings: is each a text, or a w"),
        (np.ones((2, 3, 1), complex), "Complex data not supported"),
        (np.full((2, 2, 1), 1e300), "which float32 makes of all beyond 3.4e"),
        ([np.array(["2020"], "M8[D]")] * 2, r"X is datetime64\[D\]; expected symbols"),
        ([np.array([2**63], np.uint64), [-1]], "in int64 and uint64; expected one type"),
        ({"a": 1}, "X is a dict"),
        ([{1}, {2}], r"X\[0\] is a set"),
        (None, "X is None"),
    ],
    ids=str,
)
def test_x_that_is_refused(given, message):
    """In fit, and in predict of what has learnt from something right."""
    refused(message, lambda: RNNClassifier(3, **SMALL).fit(given, [0, 1]))
    model = RNNClassifier(3, **SMALL).fit(X, [0, 1, 0])
    if not message.startswith("which float32"):  # of floats, while this has learnt strings
        refused(message.replace(r"X\[0\] is a set", "X"), lambda: model.predict(given))


def test_padding_may_be_missing():
    mask = np.zeros((2, 2, 1), bool)
    mask[0, 1] = True
    masked = np.ma.array(np.ones((2, 2, 1)), mask=mask)
    objects = np.array([[1, None], [2, 1]], object)
    for x in (masked, objects):
        refused(r"\[0, 1", lambda x=x: RNNClassifier(3, **SMALL).fit(x, [0, 1]))
        RNNClassifier(3, **SMALL).fit(x, [0, 1], lengths=[1, 2])


def test_unsigned_and_signed_integers_do_not_become_floats():
    model = RNNClassifier(3, **SMALL).fit([np.array([5], np.uint64), [-1]], [0, 1])
    assert model.vocabulary_.tolist() == [-1, 5]
    refused(
        "18446744073709551615, which fit", lambda: model.predict([np.array([2**64 - 1], np.uint64)])
    )


class TestSparse:
    def test_is_refused(self):
        sparse = pytest.importorskip("scipy.sparse")
        table = sparse.csr_array(np.eye(2))
        refused("X is a sparse matrix", lambda: RNNClassifier(3, **SMALL).fit(table, [0, 1]))
        refused(r"X\[0\] is a sparse", lambda: RNNClassifier(3, **SMALL).fit([table] * 2, [0, 1]))
        refused("y is a sparse matrix", lambda: RNNRegressor(3, **SMALL).fit(X[:2], table))


class TestPandas:
    @pytest.fixture
    def pd(self):
        return pytest.importorskip("pandas")

    def test_missing(self, pd):
        for y in (
            pd.Series(["a", np.nan, "b"]),
            pd.Series(["a", None, "b"], dtype="string"),
            pd.Series(["a", None, "b"], dtype="category"),
            pd.Series([True, None, False], dtype="boolean"),
            pd.Series([1, None, 2], dtype="Int64"),
            pd.to_datetime(pd.Series(["2020", None, "2021"])),
            ["a", pd.NA, "b"],
            [pd.Timestamp("2020"), pd.NaT, pd.Timestamp("2021")],
        ):
            refused(r"y\[1\] is", lambda y=y: RNNClassifier(3, **SMALL).fit(X, y))
        for x in (pd.Series(["a", None, "b"]), pd.Series(["a", None, "b"], dtype="string")):
            refused(r"X\[1\] is", lambda x=x: RNNClassifier(3, **SMALL).fit(x, [0, 1, 0]))

    def test_nullable_types_without_missing_values(self, pd):
        for y, classes in (
            (pd.Series([1, 3, 1], dtype="Int64", index=[7, 7, 9]), [1, 3]),
            (pd.Series(["a", "b", "a"], dtype="category"), ["a", "b"]),
            (pd.Series([True, False, True], dtype="boolean"), [False, True]),
        ):
            found = RNNClassifier(3, **SMALL).fit(pd.Series(X, index=[5, 5, 1]), y)
            assert found.classes_.tolist() == classes
            assert found.vocabulary_ == "ab"
