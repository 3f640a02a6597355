"""One coordinate: right, wrong, at a kink, or such that nothing can be said; and the reason."""

import numpy as np
import pytest

from fastrnn.checking import gradcheck
from fastrnn.checking.comparison import COTANGENTS, Comparison
from fastrnn.checking.evaluation import Evaluation
from fastrnn.checking.options import CheckOptions
from fastrnn.checking.targets.dispatch import problem_of
from tests.support.targets import X, square, wrong_square


def comparison_of(target, *inputs, **options):
    return Comparison(Evaluation(problem_of(target, inputs), CheckOptions(**options)))


def report_of(target, *inputs, **options):
    return gradcheck(target, inputs, raise_exception=False, **options)


def last_times(factor):
    def changed(gradient):
        gradient = np.array(gradient)
        gradient[..., -1] *= factor
        return gradient

    return changed


def elementwise(function, derivative, factor=1.0):
    change = last_times(factor)
    return lambda x: (function(x), lambda d: change(d * derivative(x)))


def summed(function, derivative, factor=1.0):
    change = last_times(factor)
    return lambda x: (function(x).sum(), lambda d: change(d * derivative(x)))


def test_right_and_wrong():
    assert comparison_of(square, X).at(0, (1, 2)).right
    found = comparison_of(wrong_square, X).at(0, (1, 2))
    assert found.wrong
    assert not found.right
    assert found.numeric.shape == (COTANGENTS,)


CUBE = (lambda x: np.abs(x) ** 3, lambda x: 3 * np.abs(x) * x)  # by differences
SQUARE = (lambda x: x * x, lambda x: 2 * x)  # by the complex step
functions = pytest.mark.parametrize("function", [CUBE, SQUARE], ids=["real", "analytic"])
mixed = pytest.mark.parametrize(
    "x", [[1e8, 1e-8], [1.0, 1e-12], [1e30, 1.0, 1e-30], [1.0, 1e-100], [1e100, 1e-100]], ids=str
)


@mixed
@functions
@pytest.mark.parametrize("factor", [2.0, -1.0, 0.0])
def test_a_small_coordinate_is_not_judged_by_a_large_one(x, function, factor):
    x = np.array(x)
    assert report_of(elementwise(*function), x).ok
    report = report_of(elementwise(*function, factor), x)
    assert not report.ok


@mixed
@functions
@pytest.mark.parametrize("factor", [2.0, -1.0, 0.0])
def test_what_a_sum_hides_is_right_or_untold_but_never_wrongly_right(x, function, factor):
    x = np.array(x)
    right = report_of(summed(*function), x)
    assert right.ok or right.unmeasured
    assert not any(v.wrong for v in right.variables)
    assert not report_of(summed(*function, factor), x).ok


def test_the_complex_step_sees_what_differences_do_not():
    assert report_of(summed(*SQUARE), np.array([1e8, 1e-8])).ok
    report = report_of(summed(*CUBE), np.array([1e8, 1e-8]))
    assert "1 coordinate of x cannot be told (x[1]: " in report.summary()
    assert "below the rounding of the outputs" in report.summary()
    assert "COULD NOT BE CHECKED" in report.summary()


def test_a_small_row_of_a_product_is_not_judged_by_a_large_one():
    a = np.array([[1e8, 2e8], [1e-8, 3e-8]])

    def product(x, factor=1.0):
        def pullback(d):
            return a[0] * d[0] + factor * a[1] * d[1]

        return a @ x, pullback

    x = np.array([0.3, -0.7])
    assert gradcheck(product, x).ok
    assert not report_of(lambda x: product(x, 2.0), x).ok


def test_saturated_units_cannot_be_told():
    """All gradients are 1e-34, and 0 = 0 would be compared."""

    def saturated(x, w):
        h = np.tanh(x * w)
        return h, lambda d: (d * (1 - h * h) * w, d * (1 - h * h) * x)

    report = report_of(saturated, np.full(3, 40.0), np.full(3, 2.0))
    assert not report.ok
    assert not any(v.wrong for v in report.variables)
    assert "6 coordinates of x, w cannot be told" in report.unmeasured
    assert report_of(saturated, np.array([14.0, 0.3, 7.0]), np.array([1.0, 0.2, 2.0])).ok


def test_float32_is_measured_by_float32():
    def f(a, factor=1.0):
        return np.float32((a * a).sum()), lambda d: np.float32(factor) * 2 * a * d

    for seed in range(20):
        a = np.random.default_rng(seed).standard_normal((3, 2)).astype(np.float32)
        right = report_of(f, a)
        assert right.ok or right.unmeasured
        assert not report_of(lambda a: f(a, 1.3), a).ok
    assert report_of(f, np.arange(1.0, 7.0, dtype=np.float32).reshape(3, 2)).ok


def test_rough_outputs_are_taken_with_long_steps():
    def f(x):
        return np.tanh(x).astype(np.float32), lambda d: (1 - np.tanh(x) ** 2) * d

    assert gradcheck(f, X).ok
    assert comparison_of(f, X).evaluation.method.step > 2.0**-7


def test_infinite_outputs_are_left_out():
    def masked(x, factor=1.0):
        z = x + np.array([0, 0, -np.inf, 0])
        y = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
        return y, lambda d: factor * (d - np.exp(y) * d.sum(axis=1, keepdims=True))

    assert gradcheck(masked, X).ok
    assert not report_of(lambda x: masked(x, 1.001), X).ok


@pytest.mark.parametrize(
    ("output", "words"),
    [
        (lambda x: (10 * x).astype(int), "no output has a derivative"),
        (lambda x: x > 0, "no output has a derivative"),
        (lambda x: x + np.inf, "no output has a derivative"),
        (lambda x: 0 * x + 3, "only 0 = 0 was compared"),
        (np.sign, "only 0 = 0 was compared"),
    ],
)
@pytest.mark.parametrize("mode", ["full", "sample", "project"])
def test_zero_is_not_compared_with_zero(output, words, mode):
    report = report_of(lambda x: (output(x), lambda d: 0 * x), X, mode=mode)
    assert not report.ok
    assert words in report.summary()


def test_integers_beside_other_outputs_are_no_obstacle():
    def f(x, factor=1.0):
        return (x * x, np.argsort(x)), lambda d: factor * 2 * x * d[0]

    assert gradcheck(f, X).ok
    assert not report_of(lambda x: f(x, 2.0), X).ok


def test_a_gradient_that_is_zero_where_a_function_is_flat_is_right():
    def clipped(x):
        return np.clip(x, -1, 1), lambda d: d * (np.abs(x) < 1)

    assert gradcheck(clipped, np.array([5.0, -3.0, 0.2]), method="richardson").ok


def test_a_gradient_that_is_zero_where_a_function_is_even_is_right():
    assert gradcheck(elementwise(*CUBE), np.array([0.0, 1.0])).ok


def test_oscillation_is_no_kink():
    x = 1e8 * np.array([1.0, -0.7, 0.3])
    assert gradcheck(elementwise(np.sin, np.cos), x).ok
    report = report_of(elementwise(np.sin, np.cos, 2.0), x)
    assert not report.ok
    assert report.variables[0].kinks == 0


def test_a_tolerance_that_is_asked_for_is_what_counts():
    assert gradcheck(wrong_square, (X,), rtol=1e-3).ok
    assert not report_of(wrong_square, X, rtol=1e-6).ok
