"""The picture of a gradient flow: what is in it, and that all of it can be read."""

import sys
import warnings

import numpy as np
import pytest

import fastrnn
from fastrnn import init
from fastrnn.plotting import STYLE
from fastrnn.tracing import plot

pytest.importorskip("matplotlib.style", reason="needs the extra: plot")
from matplotlib import style
from matplotlib.figure import Figure

MAGIC = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF", "jpg": b"\xff\xd8"}


def flow_of(layer, steps=40, many=False):
    x = np.random.default_rng(0).normal(size=(steps, 3, layer.input_size)).astype(np.float32)
    d = np.zeros((steps, 3, layer.hidden_size * (1 + layer.bidirectional)), np.float32)
    d[-1:] = 1
    return fastrnn.gradient_flow(layer, x, d + many)


def layers():
    exploding = init.identity(fastrnn.RNN(2, 4, nonlinearity="relu"), 9.0, seed=0)
    vanishing = init.identity(fastrnn.RNN(2, 4, nonlinearity="relu"), 0.01, seed=0)
    for layer in (exploding, vanishing):
        layer.params["bias_ih_l0"][...] = 1e-30
    return {
        "lstm": fastrnn.LSTM(2, 4, num_layers=2, seed=0),
        "both ways": fastrnn.GRU(2, 4, bidirectional=True, seed=0),
        "deep": fastrnn.RNN(2, 4, num_layers=7, bidirectional=True, seed=0),
        "exploding": exploding,
        "vanishing": vanishing,
    }


FLOWS = {
    f"{name} {steps}": (layer, steps)
    for name, layer in layers().items()
    for steps in ((60,) if name == "deep" else (1, 2, 60))
}


@pytest.mark.parametrize("name", FLOWS)
def test_all_text_is_inside_and_nothing_warns(name):
    flow = flow_of(*FLOWS[name])
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    with warnings.catch_warnings(), style.context(["default", STYLE]):
        warnings.simplefilter("error")
        plot.fill(figure, flow)
        figure.draw_without_rendering()
    box = figure.bbox
    for text in figure.findobj(lambda artist: hasattr(artist, "get_text") and artist.get_text()):
        if text.get_visible() and not any(
            text in (*a.get_xticklabels(), *a.get_yticklabels()) for a in figure.axes
        ):
            extent = text.get_window_extent()
            assert extent.x0 >= box.x0 - 1, text.get_text()
            assert extent.y0 >= box.y0 - 1, text.get_text()
            assert extent.x1 <= box.x1 + 1, text.get_text()
            assert extent.y1 <= box.y1 + 1, text.get_text()


def words(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def test_what_the_picture_says():
    flow = flow_of(FLOWS["lstm 60"][0], 60)
    figure = Figure(layout="constrained")
    plot.fill(figure, flow)
    axes = figure.axes
    assert len(axes) == 6
    assert axes[0].get_yscale() == "log"
    factor = flow["l0"].d_states["h"].factor
    assert words(axes[0])[0] == f"dL/dh: x {factor:.3f} a step"
    assert axes[0].get_title().endswith("many outputs: steps add up")
    radius = flow["l1"].jacobian_radius
    assert axes[3].get_title() == (f"l1: spectral radius of the mean step Jacobian {radius:.3g}")
    drawn = axes[3].lines[0].get_ydata()
    assert np.array_equal(drawn, flow["l1"].d_states["h"].back)
    # The dashed line has the slope that the legend tells.
    dashed = next(line for line in axes[3].lines if line.get_linestyle() == "--")
    (x0, x1), (y0, y1) = dashed.get_xdata(), dashed.get_ydata()
    assert np.isclose((y1 / y0) ** (1 / (x1 - x0)), flow["l1"].d_states["h"].factor, rtol=1e-9)


@pytest.mark.parametrize(("name", "mark"), [("exploding 60", "infinite"), ("vanishing 60", "0")])
def test_what_has_no_place_on_the_axis_is_marked(name, mark):
    flow = flow_of(*FLOWS[name])
    figure = Figure(layout="constrained")
    plot.fill(figure, flow)
    assert f"from here on {mark}" in words(figure.axes[0])
    back = flow["l0"].d_states["h"].back
    [marker] = [
        line
        for line in figure.axes[0].lines
        if line.get_marker() in ("v", "^") and len(line.get_xdata())
    ]
    good = np.flatnonzero((back > 0) & np.isfinite(back))
    assert marker.get_xdata()[0] == good[-1] + 1


def test_of_many_passes_some_are_drawn():
    flow = flow_of(*FLOWS["deep 60"])
    figure = Figure(layout="constrained")
    plot.fill(figure, flow)
    assert len(figure.axes) == 3 * 10
    assert figure.get_suptitle().endswith("10 of 14 passes")


@pytest.mark.parametrize("kind", MAGIC)
def test_files(kind, tmp_path):
    path = tmp_path / f"flow.{kind}"
    flow_of(*FLOWS["both ways 2"]).plot(path)
    assert path.read_bytes().startswith(MAGIC[kind])


def test_bad_files(tmp_path, monkeypatch):
    flow = flow_of(*FLOWS["both ways 2"])
    with pytest.raises(ValueError, match=r"gradient_flow: plot: the file is 'flow.gif'; expected"):
        flow.plot("flow.gif")
    with pytest.raises(OSError, match="No such file"):
        flow.plot(tmp_path / "none" / "flow.png")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ModuleNotFoundError, match=r'pip install "fastrnn\[plot\]"'):
        flow.plot(tmp_path / "flow.png")
