"""scikit-learn's own checks of estimators, through adapters, and its tools on strings and arrays."""

import pickle

import numpy as np
import pytest

from fastrnn.models import NotFittedError, RNNClassifier, RNNGenerator, RNNRegressor, RNNTagger
from fastrnn.models import Seq2Seq
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
