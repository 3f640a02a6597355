"""A report as text: what a reader needs is in it, and columns are aligned."""

import numpy as np

import fastrnn
from fastrnn.checking import gradcheck
from fastrnn.checking.mutants import MUTANTS
from fastrnn.checking.table import columns, lines_of

X = np.random.default_rng(0).standard_normal((4, 2, 3))


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


def test_columns_are_aligned():
    lines = columns([("name", "n", ""), ("a", "10", "note")])
    assert lines == ["name   n", "a     10  note"] or lines[1].startswith("a")


def test_lines_have_kinds_for_colours():
    lines = lines_of(failing())
    assert lines[0][0] == "wrong"
    kinds = {kind: [text for k, text in lines if k == kind] for kind, _ in lines}
    assert all(text.startswith(("worst: ", "first wrong: ")) for text in kinds["worst"])
    assert all(text.startswith(("looks like: ", "note: ")) for text in kinds["hint"])
    assert any(text.startswith("w_hh ") for text in kinds["wrong"])
    passed = lines_of(gradcheck(fastrnn.GRU(3, 2, seed=0), (X.astype(np.float32),)))
    assert {kind for kind, _ in passed} == {"right", ""}
