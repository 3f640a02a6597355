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
