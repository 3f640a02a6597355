"""One error for both libraries, with scikit-learn and without."""

import pickle

import pytest

from fastrnn.models import NotFittedError, RNNClassifier
from tests.support.processes import python


def test_it_is_scikit_learns_too():
    exceptions = pytest.importorskip("sklearn.exceptions")
    with pytest.raises(exceptions.NotFittedError) as caught:
        RNNClassifier().predict(["a"])
    assert isinstance(caught.value, NotFittedError)
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, AttributeError)
    assert type(caught.value).__name__ == "NotFittedError"


def test_it_goes_through_a_pickle():
    """As joblib sends it from a worker."""
    with pytest.raises(NotFittedError) as caught:
        RNNClassifier().predict(["a"])
    again = pickle.loads(pickle.dumps(caught.value))
    assert type(again) is type(caught.value)
    assert str(again) == str(caught.value)


def test_without_scikit_learn():
    code = """
import sys
sys.modules["sklearn"] = None
from fastrnn.models import NotFittedError, RNNClassifier
try:
    RNNClassifier().predict(["a"])
except NotFittedError as error:
    print(type(error) is NotFittedError)
"""
    assert python(code) == "True"


def test_scikit_learn_is_not_loaded_before():
    code = """
import sys
from fastrnn.models import RNNClassifier
RNNClassifier(3, epochs=1).fit(["ab", "b"], [0, 1]).score(["b"], [1])
print("sklearn" in sys.modules, "pandas" in sys.modules)
"""
    assert python(code) == "False False"
