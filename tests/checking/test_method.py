"""The choice of the derivative: what is asked for, what a function allows, and the reasons."""

import numpy as np
import pytest

import fastrnn
from fastrnn.checking import gradcheck
from tests.support.targets import X, square


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


@pytest.mark.parametrize("method", ["complex", "richardson", "central"])
def test_a_method_that_is_asked_for_is_used(method):
    report = gradcheck(square, (X,), method=method)
    assert report.method.partition(":")[0] == method


def test_layers_are_differentiated_by_differences_unless_asked():
    layer, x = fastrnn.GRU(4, 2, dtype=np.float64, seed=0), X[:, None]
    assert gradcheck(layer, (x,)).method == "richardson: compiled kernels take no complex numbers"
    assert "of the cell's equations" in gradcheck(layer, (x,), method="complex").method


def test_a_complex_function_with_other_values_is_not_trusted():
    def real_part_first(x):
        return (x * x if np.isrealobj(x) else x * x + 1), lambda d: 2 * x * d

    assert "in complex numbers it has other values" in gradcheck(real_part_first, (X,)).method


def test_the_step_is_the_one_asked_for():
    def coarse(x):
        return x**3, lambda d: 3 * x**2 * d

    assert gradcheck(coarse, (X,), method="central").ok
    rough = gradcheck(coarse, (X,), method="central", eps=0.1, rtol=1e-6, raise_exception=False)
    assert not rough.ok
