"""The plots of a report, as SVG. Their data come from report.py and cases/long_sequences.py."""

from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt

from bench.cases.shapes import GROWTH
from bench.tools.measure import Result

_COLOURS = {"rnn_tanh": "#1b9e77", "rnn_relu": "#66a61e", "gru": "#7570b3", "lstm": "#d95f02"}
_CONTENDERS = {
    "fastrnn": "#d95f02",
    "torch": "#444444",
    "onnxruntime": "#1b9e77",
    "openvino": "#7570b3",
    "jax": "#e7298a",
    "reference": "#aaaaaa",
}
_STYLE = {
    "svg.hashsalt": "fastrnn",
    "svg.fonttype": "none",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.constrained_layout.use": True,
    "legend.frameon": False,
}


def draw(path: Path, data: dict, results: list[Result]) -> list[str]:
    """Write all plots that the data allow; return their names."""
    with mpl.rc_context(_STYLE):
        made = {
            "speedup": lambda: _speedup(results),
            "roofline": lambda: _roofline(data["machine"]["limits"], results),
        }
        if data.get("growth"):
            made["growth"] = lambda: _growth(data["growth"])
        if data.get("memory"):
            made["memory"] = lambda: _memory(data["memory"])
        for name, plot in made.items():
            figure = plot()
            figure.savefig(path / f"{name}.svg", metadata={"Date": None})
            plt.close(figure)
    return [f"{name}.svg" for name in made]


def _speedup(results):
    """Time of the fastest other over ours: a dot for each cell, a row for each shape."""
    modes = [m for m in ("forward", "train") if any(r.mode == m for r in results)]
    names = list(dict.fromkeys(r.name for r in results if r.name and r.name != "grid"))
    figure, axes = plt.subplots(
        1, len(modes), figsize=(9, 0.28 * len(names) + 1.4), sharey=True, squeeze=False
    )
    for axis, mode in zip(axes[0], modes, strict=True):
        axis.axvline(1, color="black", linewidth=0.8)
        for cell, colour in _COLOURS.items():
            found = [
                (r.best_peer[1], names.index(r.name))
                for r in results
                if r.best_peer and r.mode == mode and r.cell == cell and r.name in names
            ]
            if found:
                axis.plot(
                    *zip(*found, strict=True),
                    "o",
                    color=colour,
                    markersize=5,
                    alpha=0.8,
                    label=cell,
                )
        axis.set_xscale("log")
        ticks = (0.5, 1, 2, 5, 10, 20, 50)
        axis.set_xticks(ticks, [f"{t:g}x" for t in ticks])
        axis.minorticks_off()
        axis.set_title("inference" if mode == "forward" else "training")
        axis.set_xlabel("time of the fastest other / ours")
        axis.grid(axis="x", alpha=0.3)
    axes[0][0].set_yticks(range(len(names)), names)
    axes[0][0].invert_yaxis()
    axes[0][-1].legend(loc="lower right")
    return figure


def _roofline(limits, results):
    """GFLOP/s against the multiply-adds that one step makes of each byte of weights."""
    figure, axis = plt.subplots(figsize=(7, 4.2))
    top, slope = limits["float32 GFLOP/s"], limits["L3 GB/s"]
    intensity = np.geomspace(0.4, 80, 100)
    axis.plot(intensity, np.minimum(top, slope * intensity), color="black", linewidth=1)
    axis.plot(
        intensity,
        np.minimum(top, limits["L2 GB/s"] * intensity),
        color="black",
        linewidth=1,
        linestyle=":",
    )
    axis.annotate("multiply-adds", (80, top), ha="right", va="bottom")
    axis.annotate("weights from L3", (0.5, slope * 0.5), va="top")
    axis.annotate("from L2", (0.5, limits["L2 GB/s"] * 0.5), va="bottom")
    for cell, colour in _COLOURS.items():
        for mode, marker in (("forward", "o"), ("train", "^")):
            found = [
                (r.shape[1] / 2, r.operations / r.ours.seconds / 1e9)
                for r in results
                if r.cell == cell and r.mode == mode and r.name
            ]
            if found:
                label = f"{cell}, {'inference' if mode == 'forward' else 'training'}"
                axis.plot(
                    *zip(*found, strict=True),
                    marker,
                    color=colour,
                    markersize=5,
                    alpha=0.7,
                    label=label,
                    linestyle="none",
                )
    axis.set(
        xscale="log",
        yscale="log",
        xlabel="operations per byte of weights in a step (B / 2)",
        ylabel="GFLOP/s",
        ylim=(0.1, None),
    )
    axis.legend(fontsize=7, loc="lower right", ncols=2)
    return figure


def _growth(rows):
    """Time against the length of the sequence."""
    panels = list(dict.fromkeys((mode, cell) for mode, cell, _, _ in rows))
    figure, axes = plt.subplots(
        1, len(panels), figsize=(2.6 * len(panels), 3), sharey=True, squeeze=False
    )
    lengths = [shape.time for shape in GROWTH]
    for axis, panel in zip(axes[0], panels, strict=True):
        for mode, cell, name, seconds in rows:
            if (mode, cell) == panel:
                points = [(t, s) for t, s in zip(lengths, seconds, strict=True) if s is not None]
                axis.plot(
                    *zip(*points, strict=True),
                    "o-",
                    color=_CONTENDERS[name],
                    markersize=3,
                    label=name,
                )
        axis.set(xscale="log", yscale="log", title=f"{panel[1]}, {panel[0]}", xlabel="T")
        axis.grid(alpha=0.3)
    axes[0][0].set_ylabel("seconds")
    axes[0][0].legend(fontsize=7)
    return figure


def _memory(rows):
    """Bytes against the length of the sequence."""
    figure, axis = plt.subplots(figsize=(5, 3.2))
    names = {
        "output": "the output itself",
        "inference": "inference, beyond its output",
        "kept": "training: kept for the gradient",
        "training": "training: peak",
    }
    for name, label in names.items():
        axis.plot(rows["T"], np.array(rows[name]) / 1e6, "o-", markersize=3, label=label)
    axis.set(
        xscale="log", yscale="log", xlabel="T", ylabel="megabytes", title="LSTM, B = 1, I = H = 64"
    )
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    return figure


_LONG = {
    "torch": ("#444444", "-"),
    "torch, checkpoints": ("#444444", ":"),
    "fastrnn": ("#d95f02", "-"),
    "fastrnn, checkpoints": ("#d95f02", ":"),
    "fastrnn, truncated": ("#7570b3", "-"),
    "fastrnn.torch, checkpoints": ("#1b9e77", ":"),
}


def draw_long(path: Path, rows: list[dict]) -> None:
    """Draw time per step and memory against the length of the sequence."""
    with mpl.rc_context(_STYLE):
        figure, axes = plt.subplots(1, 2, figsize=(9.5, 3.6), sharex=True)
        for name, (colour, line) in _LONG.items():
            points = [row for row in rows if row["contender"] == name]
            steps = np.array([row["steps"] for row in points])
            seconds = np.array([row["seconds"] for row in points])
            # Less than a megabyte comes from the allocator's free memory and means nothing.
            megabytes = np.maximum(1e6, [row["bytes"] for row in points]) / 1e6
            for axis, values in zip(axes, (seconds / steps * 1e6, megabytes), strict=True):
                axis.plot(
                    steps, values, "o", linestyle=line, color=colour, markersize=3, label=name
                )
        axes[0].set(xscale="log", yscale="log", ylabel="microseconds a step")
        axes[1].set(yscale="log", ylabel="megabytes above the input (1: or less)")
        axes[1].legend(fontsize=7, loc="upper left")
        for axis, ticks in zip(axes, ((3, 5, 10, 20, 40), (1, 10, 100, 1000)), strict=True):
            axis.minorticks_off()
            axis.set_yticks(ticks, [f"{tick:,}" for tick in ticks])
            axis.set_xticks(
                [row["steps"] for row in points],
                [f"{row['steps']:,}" for row in points],
                fontsize=7,
            )
            axis.set_xlabel("steps")
            axis.grid(alpha=0.3)
        figure.savefig(path / "long.svg", metadata={"Date": None})
        plt.close(figure)
