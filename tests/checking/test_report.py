"""The report: as text, as JSON, and across a pickle."""

import json
import pickle

import numpy as np
import pytest

import fastrnn
from fastrnn.checking import GradcheckError, gradcheck
from fastrnn.checking.mutants import MUTANTS
from fastrnn.checking.table import columns

X = np.random.default_rng(0).standard_normal((4, 2, 3))


def refused(constant):
    raise AssertionError(f"{constant} is no JSON")


def failing():
    [mutant] = [m for m in MUTANTS if m.words == "one part in a million"]
    return gradcheck(*mutant.problem(0), raise_exception=False)


def test_the_table_tells_what_a_reader_needs():
    text = failing().table()
    for piece in (
        "gradcheck of lstm: FAILED: wrong gradient of",
        "worst: ",
        "analytic",
        "numeric",
        "first wrong: step t = ",
        "gate f",
        "in time (. right, X wrong)",
        "central differences at the worst coordinate",
        "seed 0, mode full",
        "numpy 2",
        "threads",
    ):
        assert piece in text
    assert max(map(len, text.splitlines())) < 200


def test_a_report_that_passed_is_short():
    report = gradcheck(fastrnn.GRU(3, 2, seed=0), (X.astype(np.float32),))
    assert report.summary().startswith("gradcheck of GRU(3, 2): right, ")
    assert "central differences" not in report.table()
    assert str(report) == report.table()


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


def test_columns_are_aligned():
    lines = columns([("name", "n", ""), ("a", "10", "note")])
    assert lines == ["name   n", "a     10  note"] or lines[1].startswith("a")
