"""Tables as X: what they mean, and the names and the order of their columns."""

import numpy as np
import pytest

from fastrnn.models import RNNClassifier, RNNGenerator, RNNTagger, columns

pd = pytest.importorskip("pandas")
SMALL = {"epochs": 1}
STEPS = [pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0]}), pd.DataFrame({"a": [0.5], "b": [0.25]})]


def test_a_column_of_texts_is_the_texts():
    texts = pd.DataFrame({"text": ["cats", "dog"]})
    model = RNNClassifier(3, **SMALL).fit(texts, [1, 0])
    assert model.vocabulary_ == "acdgost"
    assert not hasattr(model, "feature_names_in_")
    expected = RNNClassifier(3, **SMALL).fit(["cats", "dog"], [1, 0]).predict_proba(["cats"])
    assert (model.predict_proba(texts[:1]) == expected).all()
    assert (model.predict_proba(["cats"]) == expected).all()
    tagger = RNNTagger(3, **SMALL).fit(texts, pd.DataFrame({"tags": ["xxyx", "yyx"]}))
    assert tagger.classes_.tolist() == ["x", "y"]


def test_a_column_of_sequences():
    model = RNNClassifier(3, **SMALL).fit(pd.DataFrame({"w": [["ein", "Wort"], ["Wort"]]}), [0, 1])
    assert model.vocabulary_.tolist() == ["Wort", "ein"]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"t": ["a", "b"], "u": ["c", "d"]}, "table of <U1 with the columns t, u; expected one co"),
        ({"t": ["a", "b"], "n": [1, 2]}, "mixes strings and integers"),
        ({"n": [1.0, 2.0], "m": [1.0, 2.0]}, r"give \[X\]; if it is a sequence, X.to_numpy\(\)\["),
        ({"n": [1.0, 2.0]}, "table of float64 with the columns n"),
        ({"t": ["a", None]}, r"X\[1\] is"),
        ({"n": [1.0, None], "m": [1, 2]}, r"X\[1, 0\] is nan"),
        ({}, r"table of shape \(0, 0\)"),
        ({"t": [1, 2], 3: [1, 2]}, "Feature names are only supported if all input features have"),
    ],
    ids=str,
)
def test_tables_that_are_refused(table, message):
    with pytest.raises((TypeError, ValueError), match=message):
        RNNClassifier(3, **SMALL).fit(pd.DataFrame(table), [0, 1])


class TestNames:
    def test_of_the_features_of_steps(self):
        model = RNNClassifier(3, **SMALL).fit(STEPS, [0, 1])
        assert model.feature_names_in_.tolist() == ["a", "b"]
        assert model.feature_names_in_.dtype == object
        assert model.n_features_in_ == 2
        arrays = [table.to_numpy() for table in STEPS]
        expected = RNNClassifier(3, **SMALL).fit(arrays, [0, 1]).predict_proba(arrays)
        assert (model.predict_proba(STEPS) == expected).all()

    def test_another_order_is_refused(self):
        model = RNNClassifier(3, **SMALL).fit(STEPS, [0, 1])
        for ask in (model.predict, model.predict_proba, lambda x: model.score(x, [0, 1])):
            with pytest.raises(ValueError, match="must be in the same order as they were in fit"):
                ask([table[["b", "a"]] for table in STEPS])
        with pytest.raises(ValueError, match=r"unseen at fit time:\n- c\n.*now missing:\n- b"):
            model.predict([table.rename(columns={"b": "c"}) for table in STEPS])
        with pytest.raises(ValueError, match=r"X\[1\] has the columns \['b', 'a'\], and the first"):
            model.predict([STEPS[0], STEPS[1][["b", "a"]]])

    def test_of_symbols(self):
        table = pd.DataFrame({"a": [1, 2], "b": [2, 2]})
        model = RNNClassifier(3, **SMALL).fit(table, [0, 1])
        with pytest.raises(ValueError, match="must be in the same order"):
            model.predict(table[["b", "a"]])

    def test_of_vectors(self):
        table = pd.DataFrame({"a": [1.0, 2.0], "b": [0.0, 1.0]})
        model = RNNGenerator(3, **SMALL).fit(table, ["x", "y"])
        for ask in (model.predict, lambda x: model.score(x, ["x", "y"])):
            with pytest.raises(ValueError, match="must be in the same order"):
                ask(table[["b", "a"]])

    def test_where_only_one_has_them(self):
        arrays = [table.to_numpy() for table in STEPS]
        with pytest.warns(UserWarning, match="does not have valid feature names, but RNNClassifi"):
            RNNClassifier(3, **SMALL).fit(STEPS, [0, 1]).predict(arrays)
        with pytest.warns(UserWarning, match="was fitted without feature names"):
            RNNClassifier(3, **SMALL).fit(arrays, [0, 1]).predict(STEPS)

    def test_a_new_fit_forgets_them(self):
        model = RNNClassifier(3, **SMALL).fit(STEPS, [0, 1])
        model.fit([table.to_numpy() for table in STEPS], [0, 1])
        assert not hasattr(model, "feature_names_in_")


class Arrow:
    """A table as Arrow has it: `columns` are the data."""

    shape = (2, 1)
    column_names = ("t",)
    columns = (["ab", "b"],)

    def column(self, k):
        return self.columns[k]

    def __array__(self, dtype=None, copy=None):
        return np.array(self.columns, object).T


def test_arrow():
    assert columns.columns(Arrow()) == ["t"]
    assert RNNClassifier(3, **SMALL).fit(Arrow(), [0, 1]).vocabulary_ == "ab"


def test_what_is_no_table():
    for given in (np.ones((2, 2)), ["a"], "a", None, pd.Series([1])):
        assert columns.columns(given) is None
