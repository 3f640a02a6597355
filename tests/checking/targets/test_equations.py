"""The cells' equations in complex numbers, in place of the kernels: the same function."""

import numpy as np
import pytest

import fastrnn
from fastrnn.checking import gradcheck
from fastrnn.checking.targets import equations
from fastrnn.checking.targets.dispatch import problem_of
from tests.support.configurations import every_cell
from tests.support.layer_targets import OPTIONS, H, I, T, made, sequence


@every_cell
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_the_equations_in_complex_numbers_are_the_kernels(cell, options):
    layer = made(cell, **options)
    x, lengths = sequence(layer), np.array([2, T, 0])
    problem = problem_of(layer, (x, None, lengths))
    real = problem.forward(problem.precise)
    plain = problem.forward([v.astype(complex) for v in problem.precise])
    for a, b in zip(real, plain, strict=True):
        assert b.dtype == complex
        np.testing.assert_allclose(b.real, a, rtol=1e-12, atol=1e-13)
        assert not b.imag.any()
    report = gradcheck(layer, (x, None, lengths), method="complex")
    assert report.ok
    assert "kernels compute the equations" in [p.name for p in report.properties]


def test_equations_that_are_not_the_kernels_are_found(monkeypatch):
    layer = fastrnn.GRU(I, H, dtype=np.float64, seed=0)
    right = equations.run

    def wrong(*args):
        return [o + 1e-6 for o in right(*args)]

    monkeypatch.setattr(equations, "run", wrong)
    report = gradcheck(layer, (sequence(layer),), method="complex", raise_exception=False)
    assert "kernels compute the equations" in [p.name for p in report.properties if not p.ok]
