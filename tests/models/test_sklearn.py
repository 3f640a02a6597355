"""scikit-learn's own checks of estimators, through adapters, and its tools on sequences."""

import numpy as np
import pytest

from fastrnn.models import RNNClassifier, RNNGenerator, RNNRegressor, RNNTagger, Seq2Seq
from tests.support import adapters

sklearn = pytest.importorskip("sklearn", "1.6", reason="scikit-learn is of the extra `demo`")

OPTIONS = {"epochs": 40, "lr": 0.03, "batch_size": 64, "cell": "gru", "dtype": "float64"}
TIME = "the columns are steps of time here, and a recurrent network reads any number of them"
EXPECTED = {
    adapters.ClassifierOfFeatures: {},
    adapters.RegressorOfFeatures: {},
    adapters.ClassifierOfSteps: {
        "check_n_features_in": f"n_features_in_ is 1: {TIME}",
        "check_n_features_in_after_fitting": TIME,
        "check_classifiers_train": f"wants an error for another number of columns: {TIME}",
        "check_estimators_empty_data_messages": "without columns there are no steps, and the "
        "error says that; the check wants to hear of features",
    },
    adapters.RegressorOfSteps: {
        "check_n_features_in": f"n_features_in_ is 1: {TIME}",
        "check_n_features_in_after_fitting": TIME,
        "check_estimators_empty_data_messages": "without columns there are no steps, and the "
        "error says that; the check wants to hear of features",
    },
}
# What scikit-learn itself skips, and why.
SKIPPED = {"check_array_api_input"}  # SCIPY_ARRAY_API is not set


@pytest.mark.filterwarnings("ignore")  # the checks give what has to be warned of
@pytest.mark.parametrize("kind", EXPECTED)
def test_check_estimator(kind):
    from sklearn.utils.estimator_checks import check_estimator

    expected = EXPECTED[kind]
    found = check_estimator(
        kind(8, **OPTIONS), expected_failed_checks=expected, on_fail=None, on_skip=None
    )
    by_status = {}
    for result in found:
        by_status.setdefault(result["status"], {})[result["check_name"]] = result["exception"]
    assert not by_status.get("failed")
    assert by_status.get("xfail", {}).keys() == expected.keys()
    assert by_status.get("skipped", {}).keys() <= SKIPPED
    assert len(by_status["passed"]) >= 50


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", [adapters.ClassifierOfFeatures, adapters.RegressorOfFeatures])
def test_names_of_columns(kind):
    pytest.importorskip("pandas")
    from sklearn.utils.estimator_checks import check_dataframe_column_names_consistency

    check_dataframe_column_names_consistency(kind.__name__, kind(4, epochs=1))


WORDS = ["ab", "b", "ba", "aab", "bb", "a", "bab", "abab", "cab"] * 2
LABELS = [word[0] in "ac" for word in WORDS]
ARRAYS = np.random.default_rng(0).random((18, 4, 2))
SMALL = {"epochs": 2, "batch_size": 4}
EVERY = {
    "words": (RNNClassifier, WORDS, LABELS),
    "arrays": (RNNClassifier, ARRAYS, np.arange(18) % 3),
    "numbers": (RNNRegressor, WORDS, [float(len(word)) for word in WORDS]),
    "numbers of arrays": (RNNRegressor, ARRAYS, ARRAYS.sum(axis=1)),
    "tags": (RNNTagger, WORDS, WORDS),
    "other words": (Seq2Seq, WORDS, WORDS),
    "vectors": (RNNGenerator, ARRAYS[:, 0], WORDS),
}


@pytest.mark.parametrize("name", EVERY)
class TestTools:
    """On our estimators as they are, on strings and on arrays of three axes."""

    def test_cross_validation(self, name):
        from sklearn.model_selection import cross_val_score

        kind, x, y = EVERY[name]
        scores = cross_val_score(kind(3, **SMALL), x, y, cv=3, error_score="raise")
        assert np.isfinite(scores).all()

    def test_search(self, name):
        from sklearn.model_selection import GridSearchCV

        kind, x, y = EVERY[name]
        grid = {"unknown": ["error", "ignore"], "lr": [0.001, 0.1]}
        found = GridSearchCV(kind(3, **SMALL), grid, cv=2, error_score="raise").fit(x, y)
        assert len(found.predict(x)) == 18

    def test_pipeline_and_clone(self, name):
        from sklearn.base import clone
        from sklearn.pipeline import make_pipeline

        kind, x, y = EVERY[name]
        pipeline = make_pipeline("passthrough", kind(3, unknown="ignore", **SMALL)).fit(x, y)
        copy = clone(pipeline)
        assert copy[-1].unknown == "ignore"
        assert not hasattr(copy[-1], "history_")
        assert copy.fit(x, y).score(x, y) == pipeline.score(x, y)

    def test_tags(self, name):
        from sklearn.utils import get_tags

        tags = get_tags(EVERY[name][0]())
        assert tags.input_tags.three_d_array
        assert tags.input_tags.string
        assert not tags.input_tags.allow_nan
        assert tags.target_tags.required == (EVERY[name][0] is not RNNGenerator)


def test_a_fold_with_a_symbol_of_its_own():
    from sklearn.model_selection import cross_val_score

    x = [*(word.replace("c", "b") for word in WORDS[:-1]), "zz"]
    for kind, y in ((RNNClassifier, LABELS), (RNNTagger, x), (RNNGenerator, None)):
        with pytest.raises(ValueError, match="'z', which fit has not seen"):
            cross_val_score(kind(3, **SMALL), x, y, cv=3, error_score="raise")
        scores = cross_val_score(kind(3, unknown="ignore", **SMALL), x, y, cv=3)
        assert np.isfinite(scores).all()


def test_weights_go_through():
    from sklearn.ensemble import AdaBoostClassifier, BaggingClassifier
    from sklearn.model_selection import cross_val_predict
    from sklearn.utils.validation import has_fit_parameter

    weights = np.arange(18) + 1.0
    model = adapters.ClassifierOfSteps(4, **SMALL)
    x, y = ARRAYS[:, :, 0], np.arange(18) % 3
    cross_val_predict(model, x, y, cv=3, params={"sample_weight": weights})
    for ensemble in (AdaBoostClassifier(model, n_estimators=2), BaggingClassifier(model, 2)):
        assert ensemble.fit(x, y, sample_weight=weights).predict(x).shape == (18,)
    for kind in (RNNClassifier, RNNRegressor, RNNTagger):
        assert has_fit_parameter(kind(), "sample_weight")


@pytest.mark.parametrize("balance", ["balanced", {0: 3, 1: 0.5}])
def test_class_weights_are_theirs(balance):
    from sklearn.utils.class_weight import compute_sample_weight

    from fastrnn.models import weights

    y = np.array([0, 1, 2, 2, 2, 1])
    found = weights.of_classes("Model", balance, np.arange(3), y, None)
    np.testing.assert_allclose(found, compute_sample_weight(balance, y), rtol=1e-12)
