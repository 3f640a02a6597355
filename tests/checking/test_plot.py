"""The picture of a report: files and formats, what is in it, and that all of it can be read."""

import math
import sys

import numpy as np
import pytest

import fastrnn
from fastrnn import plotting
from fastrnn.checking import gradcheck, panels, plot
from tests.support.pictures import check_legible
from tests.support.processes import python
from tests.support.reports import GATES, REPORTS, drawn, report_of, variable, words

MAGIC = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF", "jpg": b"\xff\xd8"}


@pytest.fixture(autouse=True)
def matplotlib():
    pytest.importorskip("matplotlib.style", reason="needs the extra: plot")
    return sys.modules["matplotlib"]


class TestFile:
    @pytest.mark.parametrize("kind", plotting.FORMATS)
    def test_formats(self, kind, tmp_path):
        for path in (tmp_path / f"r.{kind}", str(tmp_path / f"R.{kind.upper()}")):
            REPORTS["wrong"].plot(path)
            with open(path, "rb") as file:
                assert file.read().startswith(MAGIC[kind])

    @pytest.mark.parametrize("name", ["report.foo", "report", "png", ".png", "report.png/"])
    def test_unknown_format(self, name, tmp_path):
        if name == "report.png/":
            (tmp_path / name).mkdir()
            with pytest.raises(OSError, match=r"report\.png"):
                REPORTS["wrong"].plot(tmp_path / name)
            return
        with pytest.raises(ValueError, match=r"plot: the file is .*\.png, \.svg, \.pdf, \.jpg\.$"):
            REPORTS["wrong"].plot(tmp_path / name)
        assert not list(tmp_path.iterdir())

    def test_without_matplotlib(self, monkeypatch, tmp_path):
        monkeypatch.setitem(sys.modules, "matplotlib", None)
        with pytest.raises(ModuleNotFoundError, match=r'pip install "fastrnn\[plot\]"$'):
            REPORTS["wrong"].plot(tmp_path / "r.png")

    def test_leaves_no_state(self, tmp_path):
        code = (
            "import sys, matplotlib; from fastrnn.checking import gradcheck; import numpy as np\n"
            "matplotlib.rcParams['lines.linewidth'] = 7; before = dict(matplotlib.rcParams)\n"
            "report = gradcheck(lambda x: (x * x, lambda d: 2 * d * x), (np.ones(3),))\n"
            "report.plot(sys.argv[1])\n"
            "print('matplotlib.pyplot' in sys.modules, dict(matplotlib.rcParams) == before)"
        )
        assert python(code, tmp_path / "r.png", MPLBACKEND="tkagg") == "False True"

    def test_whatever_the_style(self, tmp_path, matplotlib):
        REPORTS["wrong"].plot(tmp_path / "plain.png")
        with matplotlib.style.context(["dark_background", {"font.size": 30}]):
            REPORTS["wrong"].plot(tmp_path / "styled.png")
        assert (tmp_path / "plain.png").read_bytes() == (tmp_path / "styled.png").read_bytes()


class TestLegible:
    @pytest.mark.parametrize("report", REPORTS.values(), ids=REPORTS)
    def test_no_text_overlaps_is_cut_or_missing(self, report):
        figure, texts = drawn(report)
        check_legible(figure, texts)
        rows = plot.rows_of(report)
        names = {panels.shortened(row.name) for row in rows}
        assert len(names) == len(rows)
        assert names <= {"", *words(texts)}
        assert len(rows) == min(60, len(report.variables) + (report.mode == "project"))

    def test_a_failure_and_where(self):
        _, texts = drawn(REPORTS["forty"])
        shown = words(texts)
        assert any(text.startswith("gradcheck of target: FAILED") for text in shown)
        assert "layer 0: first wrong at t = 3, gate f" in shown
        assert "layer 3, reverse: first wrong at t = 3, gate f" in shown
        assert "step t; backpropagation runs to the right" in shown


class TestRows:
    def test_of_a_real_report(self):
        layer = fastrnn.LSTM(3, 2, dtype=np.float64, seed=0)
        report = gradcheck(layer, (np.random.default_rng(0).standard_normal((4, 2, 3)),))
        rows = plot.rows_of(report)
        assert [row.name for row in rows] == [v.name for v in report.variables]
        for row, v in zip(rows, report.variables, strict=True):
            assert row.excess == v.worst.error / v.worst.tolerance < 1
            assert not row.gates or max(row.gates.values()) == pytest.approx(row.excess)
        assert {tuple(row.gates) for row in rows} == {(), GATES}

    def test_projections(self):
        first, second, *variables = plot.rows_of(REPORTS["project"])
        assert (first.excess, first.wrong) == (0.0, False)
        assert (second.excess, second.wrong) == (math.inf, True)
        assert not variables

    def test_of_many_the_worst(self):
        report = report_of([variable(f"v{k}", 5.0 if k % 10 == 0 else k / 999) for k in range(400)])
        rows = plot.rows_of(report)
        assert len(rows) == 60
        assert sum(row.wrong for row in rows) == 40
        assert [int(row.name[1:]) for row in rows] == sorted(int(row.name[1:]) for row in rows)
        assert not {f"v{k}" for k in range(380, 400)} - {row.name for row in rows}
