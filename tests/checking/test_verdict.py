"""One check from start to end: every mode and method, seeds, progress, and what is reported."""

import numpy as np
import pytest

import fastrnn
from fastrnn.checking import gradcheck
from fastrnn.checking.mutants import right
from tests.support.targets import X, square, wrong_square

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("method", ["auto", "complex", "richardson", "central"])
@pytest.mark.parametrize("mode", ["full", "sample", "project"])
def test_every_method_in_every_mode(method, mode):
    for seed in range(3):
        target, inputs = right("lstm", seed, ("lengths",))
        assert gradcheck(target, inputs, method=method, mode=mode, seed=seed).ok
        report = gradcheck(wrong_square, (X,), method=method, mode=mode, raise_exception=False)
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


def test_projections_report_progress_too():
    seen = []
    options = {"mode": "project", "n_projections": 3}
    gradcheck(square, (X,), progress=lambda *at: seen.append(at), **options)
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_a_failure_has_the_worst_five_and_a_sweep():
    report = gradcheck(wrong_square, (X,), raise_exception=False)
    assert len(report.top) == 5
    assert report.worst == report.top[0]
    excess = [coordinate.excess for coordinate in report.top]
    assert excess == sorted(excess, reverse=True)
    assert len(report.sweep) == 11
    assert not gradcheck(square, (X,)).sweep


def test_gates_have_errors_of_their_own():
    def f(w_hh):
        def pullback(d):
            d_w = 2 * w_hh * d
            d_w[2:4] *= 1.01
            return d_w

        return w_hh * w_hh, pullback

    [weight] = gradcheck(f, (RNG.standard_normal((8, 2)),), raise_exception=False).variables
    assert weight.gates.pop("f") > 1
    assert list(weight.gates) == ["i", "g", "o"]
    assert max(weight.gates.values()) < 1


def test_outputs_without_entries_are_refused():
    with pytest.raises(ValueError, match="the outputs of <lambda> have no entries"):
        gradcheck(lambda x: (x[:0], lambda d: np.zeros(3)), np.ones(3))
