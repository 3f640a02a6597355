"""The picture of a report: what is in it, and that all of it can be read."""

import math
import sys

import numpy as np
import pytest

import fastrnn
from fastrnn import plotting
from fastrnn.checking import GradcheckReport, gradcheck, panels, plot
from fastrnn.checking.location import Location
from fastrnn.checking.report import Coordinate, VariableReport
from tests.support import pictures
from tests.support.pictures import check_legible
from tests.support.processes import python

GATES = ("i", "f", "g", "o")
MAGIC = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF", "jpg": b"\xff\xd8"}


@pytest.fixture(autouse=True)
def matplotlib():
    pytest.importorskip("matplotlib.style", reason="needs the extra: plot")
    return sys.modules["matplotlib"]


def coordinate(name, excess):
    return Coordinate(f"{name}[0]", name, (0,), 1.0 + excess, 1.0, excess, 0.1, 1e3, 1.0)


def variable(name, excess, **more):
    return VariableReport(
        name, (20, 5), 100, wrong=int(excess > 1), worst=coordinate(name, excess), **more
    )


def report_of(variables, **more):
    worst = max((v.worst for v in variables if v.worst), key=lambda c: c.excess, default=None)
    return GradcheckReport(
        "target",
        "function",
        "richardson: asked for",
        "full",
        0,
        variables=variables,
        ok=not any(v.wrong for v in variables),
        worst=worst,
        **more,
    )


def located(where="", steps=7, gates=GATES, first=(3, ["f"]), **more):
    excess = [[1e4 if t <= 3 and g == 1 else 0.05 for t in range(steps)] for g in range(len(gates))]
    return Location(where, list(range(steps)), gates, excess, first, steps, **more)


def wrong_lstm(layers, **more):
    """A report as of a stack of bidirectional LSTMs that is wrong everywhere."""
    names = [
        f"{kind}_l{layer}{direction}"
        for layer in range(layers)
        for direction in ("", "_reverse")
        for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")
    ]
    gates = dict(zip(GATES, (0.0, 3.0, 5e3, math.inf), strict=True))
    location = located("layer 0")
    location.others = [
        located(f"layer {layer}, reverse", reverse=True) for layer in range(1, layers)
    ]
    sweep = [(10.0**-k, 0.1) for k in range(1, 12)]
    return report_of(
        [variable("input", 0.3), *(variable(n, 1e6, gates=gates) for n in names)],
        location=location,
        sweep=sweep,
        **more,
    )


REPORTS = {
    "three": report_of([variable(name, 0.1) for name in "xyz"]),
    "wrong": report_of([variable("x", 0.1), variable("y", 3e9)], sweep=[(0.1, 1.0), (0.01, 0.9)]),
    "none": report_of([VariableReport("x", (3,), note="no gradient given")]),
    "infinite": report_of([variable("x", math.inf), variable("y", 0.0)], sweep=[(0.1, math.inf)]),
    "forty": wrong_lstm(4),
    "hundred": wrong_lstm(10),
    "long": report_of(
        [variable(f"encoder.layers.{k}.self_attention.in_projection_weight", k) for k in range(9)],
        location=located(steps=64, gates=("",), first=(3, [""])),
    ),
    "dollars": report_of([variable("$x^{", 3.0), variable("_$\\", 3.0), variable("", 0.1)]),
    "project": GradcheckReport(
        "target",
        "layer",
        "richardson: asked for",
        "project",
        0,
        variables=[VariableReport("x", (3,))],
        projections=[(1.0, 1.0, 0.1), (1.0, 2.0, 0.0)],
    ),
}


def drawn(report):
    return pictures.drawn(lambda figure: plot.fill(figure, report))


def words(texts):
    return [text for text, _ in texts]


def axes_of(figure, label):
    return [
        ax
        for ax in figure.findobj(lambda a: hasattr(a, "get_xlabel"))
        if ax.get_xlabel().startswith(label)
    ]


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


class TestErrors:
    def test_right_alone(self):
        figure, texts = drawn(REPORTS["three"])
        [ax] = axes_of(figure, "worst error")
        assert len(figure.findobj(type(ax))) == 1
        assert {"right", "the tolerance"} < {*words(texts)}
        assert "wrong" not in words(texts)

    def test_places_and_colours(self):
        figure, _ = drawn(REPORTS["wrong"])
        [ax] = axes_of(figure, "worst error")
        points = {
            (float(line.get_xdata()[0]), float(line.get_ydata()[0])): line.get_color()
            for line in ax.lines
            if line.get_marker() in ("o", "X") and len(line.get_xdata())
        }
        assert points == {(0.1, 0.0): panels.RIGHT, (3e9, 1.0): panels.WRONG}
        assert ax.get_xscale() == "log"
        assert any(list(line.get_xdata()) == [1.0, 1.0] for line in ax.lines)

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

    @pytest.mark.parametrize(
        ("excess", "band"),
        [(0.0, 0), (0.01, 0), (0.02, 1), (1.0, 2), (1.001, 3), (1e3, 4), (1e4, 5), (math.inf, 5)],
    )
    def test_bands(self, excess, band):
        assert panels.band_of(excess) == band
        assert (band > 2) == (excess > 1)  # blue up to the tolerance, orange above


class TestTime:
    def test_map(self):
        location = located("layer 1", steps=3)
        location.steps = [2, 3, 90]  # as a bisection leaves them
        figure, texts = drawn(report_of([variable("x", 5.0)], location=location))
        [ax] = axes_of(figure, "step t")
        assert [label.get_text() for label in ax.get_xticklabels()] == ["2", "3", "90"]
        assert [label.get_text() for label in ax.get_yticklabels()] == list(GATES)
        [mesh] = ax.collections
        assert mesh.get_array().reshape(4, 3).tolist() == [[1] * 3, [5] * 3, [1] * 3, [1] * 3]
        assert "layer 1: first wrong at t = 3, gate f" in words(texts)

    def test_of_more_than_eight(self):
        figure, texts = drawn(REPORTS["hundred"])
        assert len(axes_of(figure, "step t")) == 8
        assert "and 2 more layers and directions" in words(texts)

    def test_of_none_wrong(self):
        report = report_of([variable("x", 5.0)], location=located(first=None))
        assert not axes_of(drawn(report)[0], "step t")

    def test_of_a_function(self):
        def running_sum(x):
            def pullback(d):
                d_x = np.cumsum(d[::-1], axis=0)[::-1].copy()
                d_x[:3] *= 1.01
                return d_x

            return np.cumsum(x, axis=0), pullback

        x = np.random.default_rng(0).standard_normal((6, 2, 3))
        report = gradcheck(running_sum, (x,), raise_exception=False)
        figure, texts = drawn(report)
        assert "first wrong at t = 2" in words(texts)
        assert len(axes_of(figure, "step h")) == 1


class TestSweep:
    def test_points_and_slopes(self):
        sweep = [(10.0**-k, 10.0 ** -min(2 * k, 14 - k)) for k in range(1, 12)]
        sweep += [(1e-12, 0.0), (1e-13, math.inf)]
        figure, _ = drawn(report_of([variable("x", 5.0)], sweep=sweep))
        [ax] = axes_of(figure, "step h")
        lines = {line.get_label().split()[0]: line.get_xydata() for line in ax.lines}
        np.testing.assert_array_equal(lines["measured"], sweep[:-2])  # what has a logarithm
        for name, slope in (("falling", 2), ("rising", -1)):
            (h, y), (h2, y2) = lines[name]
            assert math.log(y2 / y) / math.log(h2 / h) == pytest.approx(slope)
        assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")

    def test_of_nothing_finite(self):
        assert not axes_of(drawn(REPORTS["infinite"])[0], "step h")
