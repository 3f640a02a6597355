"""The closer look: rounding is random, or goes away in float64; an error of a formula stays."""

import numpy as np
import pytest

import fastrnn
from fastrnn.checking import closer, gradcheck
from fastrnn.checking.comparison import Comparison
from fastrnn.checking.evaluation import Evaluation
from fastrnn.checking.options import CheckOptions
from fastrnn.checking.targets.dispatch import problem_of


def looked(target, x, index):
    """Return what is said of a coordinate at first, and after the closer look."""
    comparison = Comparison(Evaluation(problem_of(target, (x,)), CheckOptions()))
    evaluation = comparison.evaluation
    line, unit = evaluation.at(0, index, evaluation.lengths(0, index)[-1])
    first = comparison.judged(0, index, evaluation.derivative(line), unit)
    return first, comparison.closer.look(comparison, 0, index, first)


def test_a_difference_that_is_rounding_is_random():
    def tanh(x, factor=1.0):
        y = np.tanh(x)
        return y, lambda d: factor * d * (1 - y * y)

    x = np.array([0.3, 15.0, 1.0])
    first, then = looked(tanh, x, (1,))
    assert not first.right
    assert not first.wrong
    assert then.right
    assert not looked(lambda x: tanh(x, 1.5), x, (1,))[1].right
    assert not looked(lambda x: tanh(x, 0.0), x, (1,))[1].right


def test_float32_is_looked_at_in_float64():
    scales = np.array([1.0, 1e-9])

    def f(x, factor=1.0):
        s = scales.astype(x.dtype)

        def pullback(d):
            common = (s * d).sum()
            gradient = (common + s * d * 2) - common  # rounded as the largest
            return gradient * x.dtype.type(factor)

        return 2 * s * x, pullback

    x = np.array([0.5, 0.7], np.float32)
    assert gradcheck(f, x).ok
    assert not gradcheck(lambda x: f(x, 1.5), x, raise_exception=False).ok


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_layers_in_float32_are_told_in_float64(dropout):
    layer = fastrnn.LSTM(8, 16, 2, dropout=dropout, seed=0)
    x = np.random.default_rng(0).standard_normal((6, 2, 8)).astype(np.float32)
    assert gradcheck(layer, (x,), mode="sample").ok


def test_neighbouring_points_are_near_in_each_coordinates_own_size():
    assert 0 < closer._MOVE < 0.01
