"""scikit-learn's checks give tables (N, K) to every estimator; here they become sequences.

Nothing is checked or converted here that an estimator should check: what is no table goes on as it
is.
"""

import numpy as np

from fastrnn.models import RNNClassifier, RNNRegressor


def _dense(X):
    return X if X is None or isinstance(X, str) or hasattr(X, "nnz") else np.asarray(X)


def as_steps(X):
    """Return a table as sequences of K steps with one feature, (N, K, 1)."""
    X = _dense(X)
    return X[..., None] if isinstance(X, np.ndarray) else X


def as_features(X):
    """Return a table as sequences of one step with K features, (N, 1, K); names are kept."""
    if hasattr(X, "iloc"):
        return [X.iloc[n : n + 1] for n in range(len(X))]
    X = _dense(X)
    return X[:, None] if isinstance(X, np.ndarray) and X.ndim else X


class _Adapter:
    def fit(self, X, y, sample_weight=None):
        return super().fit(self.adapt(X), y, sample_weight=sample_weight)

    def predict(self, X, lengths=None):
        return super().predict(self.adapt(X))


class _Probabilities:
    def predict_proba(self, X):
        return super().predict_proba(self.adapt(X))


class ClassifierOfSteps(_Adapter, _Probabilities, RNNClassifier):
    adapt = staticmethod(as_steps)


class RegressorOfSteps(_Adapter, RNNRegressor):
    adapt = staticmethod(as_steps)


class ClassifierOfFeatures(_Adapter, _Probabilities, RNNClassifier):
    adapt = staticmethod(as_features)


class RegressorOfFeatures(_Adapter, RNNRegressor):
    adapt = staticmethod(as_features)
