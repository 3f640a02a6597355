"""Mode project: what it finds, what it may have missed, and that the stated chance is true."""

import numpy as np
import pytest

import fastrnn
from fastrnn.checking import gradcheck
from fastrnn.checking.evaluation import Evaluation
from fastrnn.checking.options import CheckOptions
from fastrnn.checking.projections import Projector, culprit, detectable, miss_probability
from fastrnn.checking.targets.dispatch import problem_of
from tests.support.targets import X, product, square, wrong_square

RNG = np.random.default_rng(0)


def projector(target, inputs, **options):
    return Projector(Evaluation(problem_of(target, inputs), CheckOptions(**options)))


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
            found = Projector(Evaluation(problem_of(wrong_square, (x,)), options)).project()
            missed.append(not found.wrong)
            stated.append(miss_probability([found], relative))
        assert np.mean(missed) == pytest.approx(np.mean(stated), abs=0.1)
        assert 0.01 < np.mean(missed) < 0.7
    assert miss_probability([found], detectable([found], 1e-3)) == pytest.approx(1e-3)


def test_a_projection_is_the_inner_product_of_gradient_and_direction():
    found = projector(product, (X, X.T.copy())).project()
    assert found.analytic == pytest.approx(found.numeric, rel=1e-9)
    assert not found.wrong
    assert abs(found.analytic - found.numeric) <= found.tolerance


def test_bisection_ends_at_the_wrong_coordinate():
    def one_wrong(a, b):
        def pullback(d):
            d_b = a.T @ d
            d_b[2, 1] *= 1.01
            return d @ b.T, d_b

        return a @ b, pullback

    one = projector(one_wrong, (X, X.T.copy()))
    assert culprit(one, 1) == (2, 1)
    assert culprit(one, 0) is None
    assert culprit(projector(square, (X,)), 0) is None


def test_masks_restrict_a_projection():
    one = projector(product, (X, X.T.copy()))
    nothing = one.project([np.zeros(X.shape), np.zeros(X.T.shape)])
    assert nothing.analytic == nothing.numeric == 0


def test_scales_keep_a_small_gradient_from_drowning():
    def f(a, b):
        return 1e6 * a + b, lambda d: (1e6 * d, 1.001 * d)

    assert not gradcheck(f, (X, X), mode="project", raise_exception=False).ok


@pytest.mark.parametrize("scale", [1e-200, 1e-100, 1e100, 1e200])
def test_projections_have_no_scale(scale):
    def f(x, factor=1.0):
        return scale * np.sin(x), lambda d: factor * scale * np.cos(x) * d

    assert gradcheck(f, (X,), mode="project").ok
    for factor in (1 + 1e-9, 2.0, 0.0):
        report = gradcheck(lambda x: f(x, factor), (X,), mode="project", raise_exception=False)  # noqa: B023
        assert not report.ok


def test_groups_of_outputs_are_projected_apart():
    def f(x, factor=1.0):
        return (
            1e50 * np.sin(x),
            1e-50 * np.cos(x),
        ), lambda d: 1e50 * np.cos(x) * d[0] - factor * 1e-50 * np.sin(x) * d[1]

    report = gradcheck(f, (X,), mode="project")
    assert len(report.projections) == 10
    assert not gradcheck(lambda x: f(x, 2.0), (X,), mode="project", raise_exception=False).ok


@pytest.mark.parametrize("factor", [0.0, 2.0])
def test_what_no_projection_sees_is_compared_by_itself(factor):
    def variables(a, b):
        return 1e20 * a + b, lambda d: (1e20 * d, factor * d)

    report = gradcheck(variables, (X, X), mode="project", raise_exception=False)
    assert not report.ok

    def coordinates(x):
        gradient = np.array([1.0, 1.0, factor])
        return x * x, lambda d: 2 * x * d * gradient

    x = np.array([1e8, 1.0, 1e-8])
    report = gradcheck(coordinates, (x,), mode="project", raise_exception=False)
    assert not report.ok
