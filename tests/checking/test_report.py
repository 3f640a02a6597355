"""The report: as JSON, across a pickle, and the numbers of a coordinate."""

import json
import pickle

import numpy as np
import pytest

from fastrnn.checking import GradcheckError, gradcheck
from fastrnn.checking.mutants import MUTANTS
from fastrnn.checking.problem import Variable
from fastrnn.checking.report import compared, environment

X = np.random.default_rng(0).standard_normal((4, 2, 3))


def refused(constant):
    raise AssertionError(f"{constant} is no JSON")


def failing():
    [mutant] = [m for m in MUTANTS if m.words == "one part in a million"]
    return gradcheck(*mutant.problem(0), raise_exception=False)


@pytest.mark.parametrize("mode", ["full", "project"])
def test_json_holds_everything_strictly(mode):
    def f(x):
        return np.sin(x), lambda d: np.where(x > 0, np.nan, np.inf) + 0 * d

    reports = [failing(), gradcheck(f, (X,), mode=mode, raise_exception=False)]
    for report in reports:
        data = json.loads(report.to_json(indent=1), parse_constant=refused)
        assert data["ok"] is False
        assert data["seed"] == 0
        assert {v["name"] for v in data["variables"]} == {v.name for v in report.variables}
        assert data["environment"]["numpy"]
    assert json.loads(reports[0].to_json())["location"]["first"][1] == ["f"]


def test_the_error_survives_a_pickle():
    error = pickle.loads(pickle.dumps(GradcheckError(failing())))
    assert error.report.worst == failing().worst


def test_ulp_are_units_of_the_largest_entry():
    def f(x):
        return x * 3, lambda d: 3 * d + np.float32(2**-20) * (d == d.max())

    x = np.ones(50, np.float32)
    worst = gradcheck(f, (x,), raise_exception=False).worst
    largest = np.float32(abs(worst.numeric))
    assert worst.ulp == pytest.approx(2**-20 / np.spacing(largest), rel=0.5)


def test_a_coordinate_from_its_numbers():
    variable = Variable("w", np.ones((2, 3)), ("unit", "from"))
    one = compared(variable, (1, 2), 1.5, 1.0, 0.25, 4.0)
    assert one.name == "w[unit 1, from 2]"
    assert (one.error, one.excess) == (0.5, 2.0)
    assert one.relative == pytest.approx(1 / 3)
    assert one.ulp == 0.5 / np.spacing(4.0)
    assert compared(variable, (0, 0), np.nan, 1.0, 0.25, 4.0).excess == np.inf
    assert compared(variable, (0, 0), 0.0, 0.0, 0.0, 0.0).excess == 0


def test_the_environment_names_versions_and_threads():
    assert {"python", "fastrnn", "numpy", "numba", "threads"} == {*environment()}


def test_what_cannot_be_checked_is_neither_right_nor_called_wrong():
    report = gradcheck(lambda x: (x > 0, lambda d: 0 * x), (X,), raise_exception=False)
    assert not report
    assert report.summary().startswith("gradcheck of <lambda>: COULD NOT BE CHECKED: no output has")
    assert "FAILED" not in report.summary()
    data = json.loads(report.to_json())
    assert data["ok"] is False
    assert data["unmeasured"].startswith("no output has a derivative")
    with pytest.raises(GradcheckError, match="COULD NOT BE CHECKED"):
        gradcheck(lambda x: (x > 0, lambda d: 0 * x), (X,))


def test_a_wrong_gradient_beside_what_cannot_be_told():
    def f(x):
        return (np.abs(x) * x).sum(), lambda d: 2 * np.abs(x) * d * np.array([1.0, 2.0, 1.0])

    report = gradcheck(f, (np.array([1.0, 2.0, 1e-20]),), raise_exception=False)
    assert (
        "FAILED: wrong gradient of x; could not be checked: 1 coordinate of x" in report.summary()
    )
    assert report.variables[0].note == "1 cannot be told"
    assert (report.variables[0].wrong, report.variables[0].unclear) == (1, 1)


def test_a_gradient_that_is_not_given_is_in_the_first_line():
    report = gradcheck(lambda a, b: (a * b, lambda d: (d * b, None)), (X, X))
    assert "right, 24 coordinates, no gradient given of b" in report.summary()
