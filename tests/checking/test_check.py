"""`gradcheck`: what it returns, raises and refuses."""

import numpy as np
import pytest

from fastrnn.checking import GradcheckError, GradcheckReport, gradcheck
from tests.support.targets import X, square, wrong_square


def test_a_right_gradient_gives_a_report():
    report = gradcheck(square, (X,))
    assert isinstance(report, GradcheckReport)
    assert report
    assert report.variables[0].checked == X.size
    assert report.method.startswith("complex")


def test_a_wrong_one_raises_an_assertion_that_carries_it():
    with pytest.raises(AssertionError, match=r"wrong gradient of x") as caught:
        gradcheck(wrong_square, (X,))
    assert isinstance(caught.value, GradcheckError)
    report = caught.value.report
    assert not report
    assert str(caught.value) == report.table()
    assert report.worst.variable == "x"
    assert report.worst.analytic == pytest.approx(1.00005 * report.worst.numeric)
    assert gradcheck(wrong_square, (X,), raise_exception=False).worst == report.worst


def test_errors_of_the_target_come_through():
    def broken(x):
        raise ZeroDivisionError("its own")

    with pytest.raises(ZeroDivisionError, match="its own"):
        gradcheck(broken, (X,))


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
