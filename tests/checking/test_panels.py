"""The parts of a report's picture: points, maps over time, and the V-curve."""

import math

import numpy as np
import pytest

pytest.importorskip("matplotlib.style", reason="needs the extra: plot")

from fastrnn.checking import gradcheck, panels
from tests.support.reports import (
    GATES,
    REPORTS,
    axes_of,
    drawn,
    located,
    report_of,
    variable,
    words,
)


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


def test_long_names_keep_both_ends():
    assert panels.shortened("weight_hh_l0") == "weight_hh_l0"
    name = "encoder." + 10 * "layers." + "weight"
    short = panels.shortened(name)
    assert len(short) <= 46
    assert short.startswith("encoder.layers")
    assert short.endswith("layers.weight")
    assert "..." in short
