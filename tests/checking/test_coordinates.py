"""Modes full and sample: which coordinates are compared, with what tolerance, and kinks."""

import numpy as np
import pytest

import fastrnn
from fastrnn.checking import GradcheckError, gradcheck
from fastrnn.checking.comparison import COTANGENTS, Comparison
from fastrnn.checking.coordinates import compared_at, judge, strata
from fastrnn.checking.evaluation import Evaluation
from fastrnn.checking.options import CheckOptions
from fastrnn.checking.problem import Variable
from fastrnn.checking.targets.dispatch import problem_of
from tests.support.targets import X, square, wrong_square

RNG = np.random.default_rng(0)


def test_sample_mode_looks_into_every_gate_and_parameter():
    layer = fastrnn.LSTM(8, 16, dtype=np.float64, seed=0)
    report = gradcheck(layer, (RNG.standard_normal((5, 2, 8)),), mode="sample", n_samples=3)
    counts = {v.name: v.checked for v in report.variables}
    assert counts["weight_hh_l0"] == counts["bias_ih_l0"] == 4 * 3
    assert counts["input"] == 5 * 3
    assert report.ok


class TestKinks:
    def relu(self, x):
        return np.maximum(x, 0), lambda d: d * (x > 0)

    def test_are_skipped_and_counted(self):
        x = np.array([1.0, 0.0, -2.0, 0.0, 3.0, 1e-7])
        report = gradcheck(self.relu, (x,))
        assert report.variables[0].kinks == 2
        assert report.variables[0].checked == 4
        assert "2 at kinks skipped" in report.summary()

    def test_are_errors_if_there_is_nothing_else(self):
        with pytest.raises(GradcheckError, match="every coordinate is at a kink"):
            gradcheck(self.relu, (np.zeros(3),))
        report = gradcheck(self.relu, (np.zeros(3),), mode="project", raise_exception=False)
        assert "every projection crosses a kink" in report.table()

    def test_are_not_looked_for_if_so_asked(self):
        assert not gradcheck(
            self.relu, (np.array([1.0, 0.0]),), check_kinks=False, raise_exception=False
        ).ok

    def test_hide_no_error(self):
        def leaky(x):
            return np.maximum(x, 0), lambda d: np.where(x > 0, d, 0.1 * d)

        x = np.array([1.0, 0.0, -2.0, 0.0, 3.0])
        report = gradcheck(leaky, (x,), raise_exception=False)
        assert (report.variables[0].wrong, report.variables[0].kinks) == (1, 2)


def test_beside_a_pole_is_no_kink():
    def f(x, factor):
        return 1 / (x - 0.999), lambda d: -factor * d / (x - 0.999) ** 2

    x = np.array([1.0, 0.9985, 0.5])
    report = gradcheck(lambda x: f(x, 1 + 1e-5), x, raise_exception=False)
    assert gradcheck(lambda x: f(x, 1.0), x).ok
    assert (report.variables[0].wrong, report.variables[0].kinks) == (3, 0)


def test_tolerances_are_torchs_where_given():
    assert gradcheck(wrong_square, (X,), rtol=1e-3).ok
    assert not gradcheck(wrong_square, (X,), rtol=1e-5, raise_exception=False).ok
    assert gradcheck(wrong_square, (X,), atol=1e-2).ok


@pytest.mark.parametrize("mode", ["full", "project"])
@pytest.mark.parametrize("scale", [1e-100, 1e-20, 1e-8, 1.0, 1e10, 1e100])
def test_the_scale_of_an_input_hides_no_error(scale, mode):
    def square(x, factor):
        return x * x, lambda d: 2 * factor * x * d

    x = scale * RNG.standard_normal(5)
    assert gradcheck(lambda x: square(x, 1.0), x, mode=mode).ok
    report = gradcheck(lambda x: square(x, 1 + 1e-7), x, mode=mode, raise_exception=False)
    assert not report.ok
    if mode == "full":
        assert report.variables[0].wrong == 5


def test_a_large_output_beside_hides_no_error():
    def f(x, factor):
        return np.append(x * x, 1e12), lambda d: 2 * factor * x * d[:-1]

    assert gradcheck(lambda x: f(x, 1.0), X[0]).ok
    assert not gradcheck(lambda x: f(x, 1 + 1e-7), X[0], raise_exception=False).ok


def test_gradients_that_are_not_finite_are_found():
    def f(x):
        return x * 1.0, lambda d: np.where(x > 0, d, np.nan)

    report = gradcheck(f, (X,), raise_exception=False)
    assert report.variables[0].wrong == (X <= 0).sum()
    assert "not finite" in report.table()


def test_strata_of_gates_time_and_layers():
    numbers = np.arange(24).reshape(12, 2)
    gates = strata(Variable("w", numbers, gates=("i", "f", "g", "o")), numbers)
    assert [part.ravel().tolist() for part in gates] == np.arange(24).reshape(4, 6).tolist()
    time = strata(Variable("x", numbers, time=0), numbers)
    assert [len(part) for part in time] == [2, 2, 2, 2, 1, 1, 1, 1]
    assert np.array_equal(np.concatenate(time), numbers)
    layers = strata(Variable("h", numbers.reshape(3, 4, 2), ("layer", "row", "unit")), numbers)
    assert len(layers) == len(numbers)
    assert len(strata(Variable("b", np.array(1.0)), np.array(0))) == 1


def test_what_is_judged_of_a_variable():
    evaluation = Evaluation(problem_of(wrong_square, (X,)), CheckOptions())
    [judged] = judge(evaluation)
    assert judged.given
    assert judged.analytic.shape == judged.numeric.shape == (COTANGENTS, *X.shape)
    assert judged.compared.all()
    assert judged.wrong.all()
    assert np.allclose(judged.analytic, 1.00005 * judged.numeric)
    [right] = judge(Evaluation(problem_of(square, (X,)), CheckOptions()))
    assert (right.excess < 1).all()


def test_coordinates_can_be_compared_by_themselves():
    comparison = Comparison(Evaluation(problem_of(wrong_square, (X,)), CheckOptions()))
    judged = compared_at(comparison, 0, [(0, 1), (2, 3)])
    assert np.argwhere(judged.wrong).tolist() == [[0, 1], [2, 3]]
    assert judged.compared.sum() == 2
    assert not judged.unclear.any()
