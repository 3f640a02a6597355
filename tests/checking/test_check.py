"""The one call: what it decides, what it refuses, and each of its options."""

import itertools
import math

import numpy as np
import pytest

import fastrnn
from fastrnn.checking import GradcheckError, GradcheckReport, gradcheck
from fastrnn.checking.evaluation import Evaluation
from fastrnn.checking.mutants import right
from fastrnn.checking.options import CheckOptions
from fastrnn.checking.projections import Projector, detectable, miss_probability
from fastrnn.checking.targets.dispatch import problem_of

RNG = np.random.default_rng(0)
X = RNG.standard_normal((3, 4))


def square(x):
    return x * x, lambda d: 2 * x * d


def wrong(x):
    return x * x, lambda d: 2.0001 * x * d


def test_a_right_gradient_gives_a_report():
    report = gradcheck(square, (X,))
    assert isinstance(report, GradcheckReport)
    assert report
    assert report.variables[0].checked == X.size
    assert report.method.startswith("complex")


def test_a_wrong_one_raises_an_assertion_that_carries_it():
    with pytest.raises(AssertionError, match=r"wrong gradient of x") as caught:
        gradcheck(wrong, (X,))
    assert isinstance(caught.value, GradcheckError)
    report = caught.value.report
    assert not report
    assert str(caught.value) == report.table()
    assert report.worst.variable == "x"
    assert report.worst.analytic == pytest.approx(1.00005 * report.worst.numeric)
    assert gradcheck(wrong, (X,), raise_exception=False).worst == report.worst


@pytest.mark.parametrize("method", ["auto", "complex", "richardson", "central"])
@pytest.mark.parametrize("mode", ["full", "sample", "project"])
def test_every_method_in_every_mode(method, mode):
    for seed in range(3):
        target, inputs = right("lstm", seed, ("lengths",))
        assert gradcheck(target, inputs, method=method, mode=mode, seed=seed).ok
        report = gradcheck(wrong, (X,), method=method, mode=mode, raise_exception=False)
        assert not report.ok


@pytest.mark.parametrize("mode", ["full", "sample", "project"])
def test_an_error_in_one_entry_is_found_and_named(mode):
    a, b = RNG.standard_normal((4, 5)), RNG.standard_normal((5, 3))

    def product(a, b):
        def pullback(d):
            d_b = a.T @ d
            d_b[3, 1] *= 1.01
            return d @ b.T, d_b

        return a @ b, pullback

    report = gradcheck(product, (a, b), mode=mode, n_samples=15, raise_exception=False)
    assert not report.ok
    assert report.worst.name == "b[3, 1]"
    assert [v.name for v in report.variables if v.wrong] == ["b"]


def test_sample_mode_looks_into_every_gate_and_parameter():
    layer = fastrnn.LSTM(8, 16, dtype=np.float64, seed=0)
    report = gradcheck(layer, (RNG.standard_normal((5, 2, 8)),), mode="sample", n_samples=3)
    counts = {v.name: v.checked for v in report.variables}
    assert counts["weight_hh_l0"] == counts["bias_ih_l0"] == 4 * 3
    assert counts["input"] == 5 * 3
    assert report.ok


def test_project_mode_states_what_it_may_have_missed():
    layer = fastrnn.GRU(8, 16, dtype=np.float64, seed=0)
    report = gradcheck(layer, (RNG.standard_normal((5, 2, 8)),), mode="project")
    assert len(report.projections) == 5
    assert 0 < report.miss_size < 1e-9
    assert "would have been missed with probability" in report.table()
    few = gradcheck(layer, (RNG.standard_normal((5, 2, 8)),), mode="project", n_projections=2)
    assert few.miss_size > report.miss_size


def test_the_miss_probability_is_true():
    """An error near what can be told is missed about as often as said."""
    x = RNG.standard_normal(200)
    for relative, tolerance in ((5e-5, 2e-4), (5e-5, 8e-4)):
        missed, stated = [], []
        for seed in range(150):
            options = CheckOptions(mode="project", seed=seed, atol=tolerance)
            found = Projector(Evaluation(problem_of(wrong, (x,)), options)).project()
            missed.append(not found.wrong)
            stated.append(miss_probability([found], relative))
        assert np.mean(missed) == pytest.approx(np.mean(stated), abs=0.1)
        assert 0.01 < np.mean(missed) < 0.7
    assert miss_probability([found], detectable([found], 1e-3)) == pytest.approx(1e-3)


def test_wrt_chooses():
    def product(a, b):
        return a @ b, lambda d: (d @ b.T, 0 * b)

    a, b = RNG.standard_normal((2, 3)), RNG.standard_normal((3, 2))
    assert gradcheck(product, (a, b), wrt="a").ok
    assert not gradcheck(product, (a, b), wrt=("b",), raise_exception=False).ok
    layer = fastrnn.LSTM(2, 3, seed=0)
    report = gradcheck(layer, (np.ones((4, 2, 2), np.float32),), wrt=("h_0", "weight_hh_l0"))
    assert [v.name for v in report.variables] == ["h_0", "weight_hh_l0"]


def test_none_is_an_error_only_of_what_was_asked_for():
    def f(x, mask):
        return x * mask, lambda d: (d * mask, None)

    report = gradcheck(f, (X, np.ones((3, 4))))
    assert report.variables[1].note == "no gradient given"
    with pytest.raises(GradcheckError, match="mask: there is none"):
        gradcheck(f, (X, np.ones((3, 4))), wrt=("x", "mask"))


def test_tolerances_are_torchs_where_given():
    assert gradcheck(wrong, (X,), rtol=1e-3).ok
    assert not gradcheck(wrong, (X,), rtol=1e-5, raise_exception=False).ok
    assert gradcheck(wrong, (X,), atol=1e-2).ok


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


def test_methods_that_cannot_be_are_refused_or_replaced():
    def modulus(x):
        return np.abs(x), lambda d: d * np.sign(x)

    assert gradcheck(modulus, (X,)).method.startswith("richardson: in complex numbers")
    with pytest.raises(ValueError, match=r"method='complex', but modulus returns real numbers"):
        gradcheck(modulus, (X,), method="complex")

    def conjugate(x):  # complex, but not analytic
        return x * np.conj(x), lambda d: 2 * x * d

    with pytest.raises(ValueError, match="is not analytic"):
        gradcheck(conjugate, (X,), method="complex")
    assert gradcheck(conjugate, (X,)).ok


def test_the_same_seed_gives_the_same_report():
    layer = fastrnn.GRU(3, 4, dtype=np.float64, seed=0)
    inputs = (RNG.standard_normal((4, 2, 3)),)
    for mode in ("full", "sample", "project"):
        first, second, other = (gradcheck(layer, inputs, mode=mode, seed=s) for s in (1, 1, 2))
        for one, two in zip(first.variables, second.variables, strict=True):
            assert one.worst == two.worst
        assert first.projections == second.projections
        assert mode != "project" or other.projections != first.projections


def test_progress_is_told():
    seen = []
    gradcheck(square, (X,), progress=lambda done, total: seen.append((done, total)))
    assert seen == [(i + 1, X.size) for i in range(X.size)]


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


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"method": "fd"}, ValueError, "method is 'fd'; expected one of auto, complex"),
        ({"mode": "fast"}, ValueError, "mode is 'fast'; expected one of full, sample, project"),
        ({"n_samples": 0}, ValueError, "n_samples must be at least 1, got 0"),
        ({"n_projections": 1.5}, TypeError, "n_projections should be of type int"),
        ({"eps": 0}, ValueError, "eps is 0; expected a step above 0"),
        ({"eps": "1"}, TypeError, "eps is '1'; expected a number"),
        ({"atol": -1}, ValueError, "atol is -1"),
        ({"rtol": float("nan")}, ValueError, "rtol is nan"),
        ({"seed": -1}, ValueError, "seed must be at least 0"),
        ({"check_kinks": 1}, TypeError, "check_kinks should be of type bool"),
        ({"wrt": "y"}, ValueError, "wrt has ['y']; expected some of ['x']"),
        ({"wrt": 3}, TypeError, "wrt is 3; expected names"),
        ({"wrt": ()}, ValueError, "wrt has no name"),
    ],
)
def test_options_are_checked_first(options, error, says):
    def never(x):
        raise AssertionError("called")

    target = square if "wrt" in options else never
    with pytest.raises(error) as caught:
        gradcheck(target, (X,), **options)
    assert says in str(caught.value)


def test_errors_of_the_target_come_through():
    def broken(x):
        raise ZeroDivisionError("its own")

    with pytest.raises(ZeroDivisionError, match="its own"):
        gradcheck(broken, (X,))


def test_gradients_that_are_not_finite_are_found():
    def f(x):
        return x * 1.0, lambda d: np.where(x > 0, d, np.nan)

    report = gradcheck(f, (X,), raise_exception=False)
    assert report.variables[0].wrong == (X <= 0).sum()
    assert "not finite" in report.table()


def test_long_sequences_are_bisected_for_the_first_wrong_step():
    counter = itertools.count()

    def decay(x):
        h, states = np.zeros(x.shape[1], x.dtype), []
        for row in x:
            h = np.tanh(row + 0.9 * h)
            states.append(h)
        next(counter)

        def pullback(d):
            d_x, d_h = np.zeros(x.shape), np.zeros(x.shape[1])
            for t in range(len(x) - 1, -1, -1):
                d_a = (d[t] + d_h) * (1 - states[t].real ** 2) * (0.5 if t == 123 else 1)
                d_x[t], d_h = d_a, 0.9 * d_a
            return d_x

        return np.array(states), pullback

    report = gradcheck(
        decay, (RNG.standard_normal((200, 2)),), mode="sample", raise_exception=False
    )
    assert report.location.first == (123, [""])


@pytest.mark.parametrize("mode", ["full", "project"])
@pytest.mark.parametrize("scale", [1e-20, 1e-8, 1.0, 1e10])
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


def test_beside_a_pole_is_no_kink():
    def f(x, factor):
        return 1 / (x - 0.999), lambda d: -factor * d / (x - 0.999) ** 2

    x = np.array([1.0, 0.9985, 0.5])
    report = gradcheck(lambda x: f(x, 1 + 1e-5), x, raise_exception=False)
    assert gradcheck(lambda x: f(x, 1.0), x).ok
    assert (report.variables[0].wrong, report.variables[0].kinks) == (3, 0)


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
    [({"a": X}, "returned object"), (X * 1j, "returned complex128"), ("abc", "returned <U3")],
)
def test_outputs_that_are_no_numbers(output, words):
    with pytest.raises(TypeError, match=words):
        gradcheck(lambda x: (output, lambda d: x), X)


def test_outputs_of_changing_shape():
    x = np.array([1.0, 2.0])
    with pytest.raises(ValueError, match="returned 1 numbers, and 2 nearby"):
        gradcheck(lambda x: (x[x > 1], lambda d: np.array([0.0, *d])), x)


def test_more_arguments_that_are_refused():
    def f(x):
        return x, lambda d: d

    with pytest.raises(ValueError, match="x has entries that are not finite"):
        gradcheck(f, np.array([1.0, np.nan]))
    with pytest.raises(TypeError, match="progress is 1"):
        gradcheck(f, X, progress=1)
    with pytest.raises(TypeError, match="raise_exception"):
        gradcheck(f, X, raise_exception=1)
    with pytest.raises(ValueError, match="method is"):
        gradcheck(f, X, method=np.array(["auto", "full"]))
    with pytest.raises(GradcheckError, match="no gradient of any input"):
        gradcheck(lambda x: (x, lambda d: None), X)
    with pytest.raises(TypeError, match="returned a tuple of 1 for state"):
        gradcheck(lambda x, state: (x, lambda d: (d, (d,))), (X, (X, X)))
