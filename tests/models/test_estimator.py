"""The conventions of scikit-learn: before fit, after a failed fit, and with scikit-learn itself."""

import numpy as np
import pytest

from fastrnn.models import (
    NotFittedError,
    RNNClassifier,
    RNNGenerator,
    RNNRegressor,
    RNNTagger,
    Seq2Seq,
)
from tests.support.processes import python

WORDS = ["ab", "b", "ba", "aab", "bb", "a", "bab", "abab"] * 3
LABELS = [word[0] for word in WORDS]
SMALL = {"epochs": 1, "batch_size": 4}
KINDS = {
    RNNClassifier: (WORDS, LABELS),
    RNNRegressor: (WORDS, [float(len(word)) for word in WORDS]),
    RNNTagger: (WORDS, WORDS),
    RNNGenerator: (np.eye(24), WORDS),
    Seq2Seq: (WORDS, WORDS),
}
every = pytest.mark.parametrize("kind", KINDS)


@every
def test_fit_returns_the_model(kind):
    model = kind(3, **SMALL)
    assert model.fit(*KINDS[kind]) is model
    assert model.n_features_in_ == (24 if kind is RNNGenerator else 2)
    assert model.vocabulary_ == "ab"


@every
@pytest.mark.parametrize("method", ["predict", "predict_proba", "score", "generate", "save"])
def test_before_fit(kind, method, tmp_path):
    if not hasattr(kind, method):
        return
    model = kind()
    x, y = KINDS[kind]
    arguments = {"score": (x, y), "generate": (), "save": (tmp_path / "m",)}.get(method, (x,))
    with pytest.raises(NotFittedError, match=f"This {kind.__name__} instance is not fitted yet"):
        getattr(model, method)(*arguments)
    assert issubclass(NotFittedError, ValueError)
    assert issubclass(NotFittedError, AttributeError)


@every
def test_x_and_y_of_unequal_lengths(kind):
    x, y = KINDS[kind]
    with pytest.raises(ValueError, match="X has 24 sequences, and y 23; expected one of y for e"):
        kind(3, **SMALL).fit(x, y[:-1])
    model = kind(3, **SMALL).fit(x, y)
    with pytest.raises(ValueError, match=r"X has 23 sequences, and y 24|y has shape"):
        model.score(x[:-1], y)


@every
def test_a_failed_fit_forgets_the_one_before(kind):
    x, y = KINDS[kind]
    model = kind(3, **SMALL).fit(x, y)
    with pytest.raises(ValueError, match="sequences"):
        model.fit(x, y[:-1])
    with pytest.raises(NotFittedError):
        model.predict(x)


@every
def test_fit_begins_anew(kind):
    x, y = KINDS[kind]
    once = kind(3, **SMALL).fit(x, y)
    twice = kind(3, **SMALL).fit(x, y).fit(x, y)
    assert once.history_["loss"] == twice.history_["loss"]
    assert (once.head_.params["weight"] == twice.head_.params["weight"]).all()


@every
def test_nothing_is_written_into_the_arguments(kind):
    x = np.random.default_rng(0).random((4, 5, 3))
    y = {RNNClassifier: np.arange(4), RNNRegressor: np.ones(4)}.get(kind, np.ones((4, 5), int))
    x = x[:, 0] if kind is RNNGenerator else x
    for array in (x, y):
        array.setflags(write=False)
    before = x.copy(), y.copy()
    model = kind(3, **SMALL).fit(x, y)
    model.predict(x)
    model.score(x, y)
    assert (x == before[0]).all()
    assert (y == before[1]).all()


@every
def test_order_and_company_do_not_matter(kind):
    x, y = KINDS[kind]
    model = kind(3, **SMALL, dtype="float64").fit(x, y)
    ask = getattr(model, "predict_proba", model.predict)
    alone = [ask(x[n : n + 1])[0] for n in range(len(x))]
    for got, expected in zip(ask(x), alone, strict=True):
        if isinstance(got, str):
            assert got == expected
        else:
            assert np.allclose(got, expected, rtol=0, atol=1e-12)


def test_the_library_needs_neither_scikit_learn_nor_the_extra():
    code = """
import sys
for name in ("sklearn", "safetensors", "rich"):
    sys.modules[name] = None
from fastrnn.models import RNNClassifier
model = RNNClassifier(3, epochs=1).fit(["ab", "b"], [0, 1])
model.clone(), model.predict(["b"])
try:
    model.save("m")
except ModuleNotFoundError as error:
    print(error)
"""
    done = python(code)
    assert done == 'model files need safetensors: pip install "fastrnn[cli]"'


class TestUnknown:
    """Symbols that fit has not seen: refused, or read as zeros."""

    @every
    def test_refused_unless_told(self, kind):
        x, y = KINDS[kind]
        model = kind(3, **SMALL).fit(x, y)
        with pytest.raises(ValueError, match=r"'z', which fit has not seen.*unknown='ignore'"):
            model.score(*((x[:1], ["z"]) if kind is RNNGenerator else (["z"], y[:1])))
        with pytest.raises(ValueError, match="unknown must be 'error' or 'ignore', got 'skip'"):
            kind(unknown="skip").fit(x, y)

    @every
    def test_the_fit_is_the_same(self, kind):
        """To the bit: what is done with others shows only when they come."""
        x, y = KINDS[kind]
        one, other = (kind(3, unknown=way, **SMALL).fit(x, y) for way in ("error", "ignore"))
        for part, same in zip(one.parts.values(), other.parts.values(), strict=True):
            assert all((part.params[name] == same.params[name]).all() for name in part.params)
        assert one.score(x, y) == other.score(x, y)

    @pytest.mark.parametrize("cell", ["rnn", "relu", "lstm", "gru"])
    @pytest.mark.parametrize("options", [{}, {"bidirectional": True, "num_layers": 2}], ids=str)
    @pytest.mark.parametrize("kind", [RNNClassifier, RNNRegressor, RNNTagger])
    def test_zeros_are_what_is_read(self, kind, cell, options):
        """As where the symbols are given as one-hot vectors, and one that is unknown as zeros."""
        symbols = {"a": [1.0, 0.0], "b": [0.0, 1.0]}
        options = {"cell": cell, "dtype": "float64", **SMALL, **options}
        x, y = KINDS[kind]
        model = kind(4, unknown="ignore", **options).fit(x, y)
        floats = kind(4, **options).fit([[symbols[c] for c in word] for word in x], y)
        for name, part in model.parts.items():
            floats.parts[name].load_state_dict(part.state_dict())
        given = ["az", "zzz", "ab", "bza"]
        vectors = [[symbols.get(c, [0.0, 0.0]) for c in word] for word in given]
        ask = "predict" if kind is RNNRegressor else "predict_proba"
        found = zip(getattr(model, ask)(given), getattr(floats, ask)(vectors), strict=True)
        for got, expected in found:
            np.testing.assert_allclose(got, expected, rtol=0, atol=1e-12)
        alone = getattr(model, ask)(["ab"])[0]
        assert np.array_equal(alone, getattr(model, ask)(given)[2])

    @pytest.mark.parametrize(
        ("x", "given"),
        [
            ([["ein", "Wort"], ["Wort"]], [["ein", "anderes"]]),
            ([[1, 300], [300]], [[1, -7, 2**40]]),
            (np.array([[1, 2], [2, 2]]), np.array([[3, 1]])),
        ],
        ids=str,
    )
    def test_words_and_integers(self, x, given):
        model = RNNClassifier(3, unknown="ignore", **SMALL).fit(x, [0, 1])
        assert np.isfinite(model.predict_proba(given)).all()
        with pytest.raises(ValueError, match="X is strings, and in fit it was"):
            model.predict(["ab"])

    def test_a_vocabulary_as_large_as_its_type(self):
        """The index of unknown symbols needs a larger one."""
        x = np.arange(256)[:, None]
        model = RNNClassifier(3, unknown="ignore", **SMALL).fit(x, x[:, 0] % 2)
        known, unknown = model.predict_proba(np.array([[0], [300]]))
        assert (known != unknown).any()
        text = RNNGenerator(3, unknown="ignore", **SMALL).fit(x)
        assert np.isfinite(text.score(np.array([[0, 300], [300, 255]])))

    def test_encoder_and_decoder(self):
        model = Seq2Seq(4, unknown="ignore", **SMALL).fit(WORDS, WORDS)
        assert model.predict(["az", "zz", "ab"])[2] == model.predict(["ab"])[0]
        assert model.score(["zz"], ["zz"]) == 0  # what it has not seen it cannot write


class TestScikitLearn:
    @pytest.fixture(autouse=True)
    def sklearn(self):
        return pytest.importorskip("sklearn", "1.6")

    @every
    def test_clone(self, kind):
        from sklearn.base import clone

        model = kind(5, cell="gru", optimizer_options={"eps": 1e-7}).fit(*KINDS[kind])
        copy = clone(model)
        assert copy.get_params() == model.get_params()
        assert not hasattr(copy, "history_")

    @every
    def test_is_fitted(self, kind):
        from sklearn.exceptions import NotFittedError as Theirs
        from sklearn.utils.validation import check_is_fitted

        with pytest.raises(Theirs):
            check_is_fitted(kind())
        check_is_fitted(kind(3, **SMALL).fit(*KINDS[kind]))

    def test_kinds(self):
        from sklearn.base import is_classifier, is_regressor

        assert [is_classifier(kind()) for kind in KINDS] == [True, False, False, False, False]
        assert [is_regressor(kind()) for kind in KINDS] == [False, True, False, False, False]

    @every
    def test_cross_validation(self, kind):
        from sklearn.model_selection import cross_val_score

        scores = cross_val_score(kind(3, **SMALL), *KINDS[kind], cv=3, error_score="raise")
        assert np.isfinite(scores).all()
        assert len(scores) == 3

    def test_tags_that_are_lists(self):
        from sklearn.model_selection import cross_val_score

        y = [list(range(len(word))) for word in WORDS]
        cross_val_score(RNNTagger(3, **SMALL), WORDS, y, cv=3, error_score="raise")

    def test_lengths_go_to_fit(self):
        from sklearn.model_selection import cross_val_predict

        x, lengths = np.random.default_rng(0).random((9, 4, 2)), np.arange(9) % 4 + 1
        model = RNNClassifier(3, **SMALL)
        cross_val_predict(model, x, [0, 1, 2] * 3, cv=3, params={"lengths": lengths})

    def test_grid_search(self):
        from sklearn.model_selection import GridSearchCV

        grid = {"lr": np.array([1e-9, 0.05]), "bidirectional": [True, False]}
        search = GridSearchCV(RNNClassifier(6, epochs=30), grid, cv=2).fit(WORDS, LABELS)
        assert search.best_params_["lr"] == 0.05
        assert search.best_score_ == 1
        assert search.predict(["ab", "ba"]).tolist() == ["a", "b"]

    def test_pipeline(self):
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import FunctionTransformer

        upper = FunctionTransformer(lambda words: [word.upper() for word in words])
        pipeline = make_pipeline(upper, RNNClassifier(6, lr=0.05)).fit(WORDS, LABELS)
        assert pipeline[-1].vocabulary_ == "AB"
        assert pipeline.score(WORDS, LABELS) == 1
        assert pipeline.set_params(rnnclassifier__lr=0.1)[-1].lr == 0.1
        assert "RNNClassifier" in repr(pipeline)

    def test_r2_is_theirs(self):
        from sklearn.metrics import r2_score

        x = np.random.default_rng(0).random((20, 4, 2))
        for y in (x.sum(axis=(1, 2)), x.sum(axis=1), np.ones(20)):
            model = RNNRegressor(4, **SMALL).fit(x, y)
            assert np.isclose(model.score(x, y), r2_score(y, model.predict(x)))
