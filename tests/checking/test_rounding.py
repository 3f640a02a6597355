"""What rounding does to a gradient: measured noise, and the scale of what saturates."""

import numpy as np
import pytest

from fastrnn.checking.evaluation import Evaluation
from fastrnn.checking.options import CheckOptions
from fastrnn.checking.rounding import gradient_noise, unsaturated_scale
from fastrnn.checking.targets.dispatch import problem_of
from tests.support.targets import X


def evaluation_of(target, *inputs):
    return Evaluation(problem_of(target, inputs), CheckOptions())


def test_the_unsaturated_scale_is_not_that_of_a_saturated_gradient():
    """Both inputs' gradients are 1e-40 times the cotangent, and exact only to eps times it."""

    def saturated(x, w):
        h = np.tanh(x * w)
        return h, lambda d: (d * (1 - h * h) * w, d * (1 - h * h) * x)

    evaluation = evaluation_of(saturated, np.full(3, 40.0), np.full(3, 2.0))
    largest = np.abs(evaluation.cotangent[0]).max()
    found = unsaturated_scale(evaluation, evaluation.cotangent, evaluation.gradient)
    assert found == pytest.approx([2 * largest, 40 * largest])


def test_noise_of_a_gradient_is_that_of_its_arithmetic():
    coarse = evaluation_of(lambda x: (x.astype(np.float64) ** 2, lambda d: d * x), X.astype("f4"))
    [noise] = gradient_noise(coarse, coarse.cotangents(CheckOptions().random(0)))
    assert noise.shape == X.shape
    assert 1e-9 < np.median(noise) < 1e-6


@pytest.mark.parametrize("scale", [1e-200, 1.0, 1e200])
def test_noise_is_measured_coordinate_by_coordinate(scale):
    x = scale * np.array([1.0, 1e-9, 1e-30])
    evaluation = evaluation_of(
        lambda x: (np.sin(x / scale), lambda d: d * np.cos(x / scale) ** 3), x
    )
    [noise] = gradient_noise(evaluation, evaluation.cotangents(CheckOptions().random(0)))
    assert np.isfinite(noise).all()
    assert (noise < 1e-14).all()
