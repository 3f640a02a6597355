"""RNNRegressor: one number or several, learnt, and scored."""

import numpy as np
import pytest

from fastrnn.models import RNNRegressor

RANDOM = np.random.default_rng(0)
SMALL = {"epochs": 2, "batch_size": 4}


def sequences(count=12, longest=6):
    lengths = RANDOM.integers(1, longest + 1, count)
    return [RANDOM.random((t, 2)) for t in lengths]


def test_columns():
    x = sequences()
    y = np.array([[row.sum(), len(row)] for row in x])
    model = RNNRegressor(8, epochs=2).fit(x, y)
    assert model.predict(x).shape == (12, 2)
    assert RNNRegressor(8, epochs=2).fit(x, y[:, 0]).predict(x).shape == (12,)
    assert RNNRegressor(8, epochs=2).fit(x, y[:, :1]).predict(x).shape == (12, 1)


def test_learns_a_sum():
    x = sequences(100)
    y = np.array([row.sum() for row in x])
    model = RNNRegressor(16, lr=1e-2, epochs=60, validation_fraction=0.2).fit(x, y)
    assert model.score(x, y) > 0.97


def test_score_wants_the_shape_of_fit():
    model = RNNRegressor(3, **SMALL).fit(["a", "b"], [1, 2])
    with pytest.raises(ValueError, match=r"y has shape \(2, 1\); expected \(2,\)"):
        model.score(["a", "b"], [[1], [2]])
