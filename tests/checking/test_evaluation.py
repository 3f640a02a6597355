"""A problem at its point: lines, noise and scale, and targets that are awkward to call."""

import math

import numpy as np
import pytest

from fastrnn.checking import gradcheck
from fastrnn.checking.evaluation import Evaluation
from fastrnn.checking.options import CheckOptions
from fastrnn.checking.targets.dispatch import problem_of
from tests.support.targets import X, square


def evaluation_of(target, *inputs, **options):
    return Evaluation(problem_of(target, inputs), CheckOptions(**options))


def test_float32_is_judged_by_the_derivative_in_float64():
    def relative(size):
        def f(x):
            return np.tanh(x), lambda d: (1 - np.tanh(x) ** 2) * d * x.dtype.type(1 + size)

        return f

    x = X.astype(np.float32)
    report = gradcheck(relative(0), (x,))
    assert report.worst.ulp < 4
    assert not gradcheck(relative(1e-5), (x,), raise_exception=False).ok  # 100 ulp


def test_a_function_that_computes_in_float32_only_is_not_called_wrong():
    def f(x):
        y = np.sin(x.astype(np.float32))
        return y, lambda d: d * np.cos(x.astype(np.float32))

    report = gradcheck(f, (X.astype(np.float32),), raise_exception=False)
    assert not [v.name for v in report.variables if v.wrong]


def test_near_1_roundings_of_a_square_are_noise():
    def f(x):
        return np.arcsin(x), lambda d: d / np.sqrt(1 - x * x)

    assert gradcheck(f, np.array([0.1, 0.9, -0.99, 0.999], np.float32)).ok


def test_an_exception_beside_the_point_is_the_edge_of_a_domain():
    def log(x):
        return np.array([math.log(v) for v in x]), lambda d: d / x

    assert gradcheck(log, np.array([1e-3, 0.5, 2e-5])).ok

    def never(x):
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        gradcheck(never, X)


@pytest.mark.parametrize(
    ("output", "words"),
    [(object(), "returned object"), (X * 1j, "returned complex128"), ("abc", "returned <U3")],
)
def test_outputs_that_are_no_numbers(output, words):
    with pytest.raises(TypeError, match=words):
        gradcheck(lambda x: (output, lambda d: x), X)


def test_outputs_of_changing_shape():
    x = np.array([1.0, 2.0])
    with pytest.raises(ValueError, match="returned 1 numbers, and 2 nearby"):
        gradcheck(lambda x: (x[x > 1], lambda d: np.array([0.0, *d])), x)


def test_an_output_that_is_an_input():
    assert gradcheck(lambda x: (x, lambda d: d), (X,), method="richardson").ok
    report = gradcheck(
        lambda x: (x, lambda d: 2 * d), (X,), method="richardson", raise_exception=False
    )
    assert report.variables[0].wrong == X.size


@pytest.mark.parametrize("mode", ["full", "project"])
def test_a_pullback_that_returns_the_same_array_every_time(mode):
    buffer = np.zeros(X.shape)

    def f(x, factor=1):
        return np.sin(x), lambda d: np.multiply(factor * np.cos(x), d, out=buffer)

    assert gradcheck(f, (X,), mode=mode).ok
    assert not gradcheck(lambda x: f(x, 2), (X,), mode=mode, raise_exception=False).ok


def test_scalars_and_zero_dimensions():
    def f(x):
        return float(x**3), lambda d: 3 * x**2 * d

    assert gradcheck(f, (np.array(2.0),)).ok


def test_a_line_through_a_coordinate_leaves_the_others():
    evaluation = evaluation_of(square, X)
    line, unit = evaluation.at(0, (1, 2))
    assert unit == 2.0 ** np.ceil(np.log2(max(abs(X[1, 2]), 0.25)))
    moved = line(0.5).reshape(X.shape)
    expected = X * X
    expected[1, 2] = (X[1, 2] + 0.5 * unit) ** 2
    assert np.array_equal(moved, expected)
    assert np.array_equal(line(0.0).reshape(X.shape), X * X)


def test_a_line_along_a_direction_moves_all_variables():
    evaluation = evaluation_of(lambda a, b: (a + 2 * b, lambda d: (d, 2 * d)), X, X)
    line = evaluation.along([np.ones(X.shape), X])
    assert np.allclose(line(3.0), (X + 3 + 2 * (X + 3 * X)).ravel())


def test_an_entry_by_differences_is_the_gradient():
    evaluation = evaluation_of(square, X)
    assert evaluation.entry(0, (2, 3), [np.ones(X.shape)]) == pytest.approx(2 * X[2, 3])


def test_lengths_go_from_the_array_to_the_coordinate():
    def modulus(x):
        return np.abs(x), lambda d: d * np.sign(x)

    x = np.array([3.0, 1e-3, 1e-8, 0.0, 1e8])
    evaluation = evaluation_of(modulus, x)
    lengths = [evaluation.lengths(0, (i,)) for i in range(len(x))]
    assert lengths[0] == [4.0, 2.0**25]
    assert lengths[2] == [0.25, 2.0**25, 2.0**-26]
    assert lengths[3] == [0.25, 2.0**25, 2.0**27]
    assert lengths[4] == [2.0**27]
    exact = evaluation_of(square, x)
    assert exact.lengths(0, (2,)) == [2.0**-26]


def test_coordinates_far_below_their_array_are_near_to_themselves():
    [near] = evaluation_of(square, np.array([1e8, 1.0, 1e-8, 0.0])).near
    assert near.tolist() == [1e8, 1.0, 1e-8, 0.25]
    [span] = evaluation_of(square, np.array([1e8, 1.0, 1e-8, 0.0])).spans
    assert span.tolist() == [1e8, 1e8, 1e-8, 1e8]


@pytest.mark.parametrize("scale", [1e-300, 1e-200, 1.0, 1e200, 1e300])
def test_the_complex_step_has_no_scale(scale):
    evaluation = evaluation_of(lambda x: (scale * x * x, lambda d: 2 * scale * x * d), X)
    assert evaluation.method.name == "complex"
    line, unit = evaluation.at(0, (1, 2))
    found = evaluation.derivative(line)
    place = np.flatnonzero(found.value)
    assert place.tolist() == [6]
    measure = 1.0 if evaluation.units.unit is None else evaluation.units.unit[6]
    assert found.value[6] / unit == pytest.approx(2 * scale * X[1, 2] / measure, rel=1e-12)
