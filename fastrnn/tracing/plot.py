"""A gradient flow as a picture: a row for each layer and direction.

On the left the gradient at each state, in the middle at each gate's pre-activation: norms on a log
axis by steps back from the last, where exponential growth is a straight line. On the right,
saturated gates. The numbers are measured in flow.py; files are written by plotting.py.
"""

import math
from typing import Any

import numpy as np

from fastrnn import plotting
from fastrnn.plotting import BLUE, GREEN, GREY, ORANGE, PURPLE, SKY

_MARKS = {"0": "v", "infinite": "^"}
_COLOURS = (BLUE, ORANGE, GREEN, PURPLE, SKY)
_WIDTH, _HEIGHT = 12.0, 2.5  # inches, of a row
_MAX_ROWS = 10  # of more, the lowest and the top ones


def draw(flow: Any, path: Any) -> None:
    """Write the picture of a gradient flow into a file.

    Args:
        flow: a GradientFlow.
        path: the file to write; its ending chooses the format.

    Raises:
        ModuleNotFoundError, ValueError, OSError: as in plotting.save.
    """
    plotting.save(path, "gradient_flow: plot", lambda figure: fill(figure, flow))


def fill(figure: Any, flow: Any) -> None:
    """Draw a gradient flow into a matplotlib Figure, or into a part of one.

    Args:
        figure: has a constrained layout; the size of a whole Figure is changed as needed.
        flow: a GradientFlow.
    """
    passes = list(flow.passes.items())
    heading = f"Gradient flow in {flow.layer}, T = {flow.steps}, B = {flow.sequences}"
    if len(passes) > _MAX_ROWS:
        heading += f": {_MAX_ROWS} of {len(passes)} passes"
        passes = passes[: _MAX_ROWS // 2] + passes[-(_MAX_ROWS // 2) :]
    if hasattr(figure, "set_size_inches"):
        figure.set_size_inches(_WIDTH, 0.7 + _HEIGHT * len(passes))
    figure.suptitle(heading, x=0.01, ha="left", size=10, weight="bold")
    axes = figure.subplots(len(passes), 3, squeeze=False, width_ratios=[5, 4, 2.2])
    for row, (name, one) in zip(axes, passes, strict=True):
        curves(row[0], {f"dL/d{state}": c for state, c in one.d_states.items()})
        title = f"{name}: spectral radius of the mean step Jacobian {one.jacobian_radius:.3g}"
        row[0].set_title(title + ("; many outputs: steps add up" if one.many_outputs else ""))
        radii = ", ".join(f"{gate} {radius:.3g}" for gate, radius in one.spectral_radius.items())
        curves(row[1], {f"gate {gate}": c for gate, c in one.d_preactivations.items()}, band=False)
        row[1].set_title(f"spectral radius of W_hh: {radii}")
        _saturation(row[2], one.saturation)
        row[0].set_ylabel("norm of the gradient")
    for ax in axes[-1, :2]:
        ax.set_xlabel("steps back from the last")
    axes[-1, 2].set_xlabel("share of its values")
    axes[0, 2].set_title(f"saturated: beyond {flow.threshold:g}")


def curves(ax: Any, named: dict[str, Any], *, band: bool = True) -> None:
    """Draw norms by steps back, each with the straight line through it.

    Args:
        ax: a matplotlib Axes.
        named: name -> Curve.
        band: show the range of the single sequences (default True).
    """
    ax.set_yscale("log")
    ends = set()
    for colour, (name, curve) in zip(_cycle(len(named)), named.items(), strict=True):
        steps = np.arange(len(curve.back))
        drawable = (curve.back > 0) & np.isfinite(curve.back)
        label = f"{name}: x {curve.factor:.3f} a step" if math.isfinite(curve.factor) else name
        ax.plot(
            steps,
            np.where(drawable, curve.back, np.nan),
            color=colour,
            label=label,
            linewidth=1.4,
            marker="." if drawable.sum() < 3 else "",
        )
        if band and drawable.any():
            smallest = np.where(drawable & (curve.smallest > 0), curve.smallest, np.nan)
            largest = np.where(drawable & np.isfinite(curve.largest), curve.largest, np.nan)
            ax.fill_between(steps, smallest, largest, color=colour, alpha=0.15, linewidth=0)
        if math.isfinite(curve.factor) and band:
            _line(ax, steps[drawable], curve, colour)
        # Values that a log axis cannot show get a mark at its edge, from where on all are so.
        for bad, mark in ((curve.back == 0, "0"), (~np.isfinite(curve.back), "infinite")):
            if len(bad) and bad[-1] and not bad.all():
                at, level = len(bad) - np.argmin(bad[::-1]), 0.03 if mark == "0" else 0.97
                ax.plot(
                    at,
                    level,
                    _MARKS[mark],
                    color=colour,
                    markersize=6,
                    clip_on=False,
                    transform=ax.get_xaxis_transform(),
                )
                ends.add(mark)
    if band and named:
        ax.plot([], [], "--", color=GREY, linewidth=1, label="fitted; band: single sequences")
    for mark in sorted(ends):
        ax.plot([], [], _MARKS[mark], color=GREY, label=f"from here on {mark}")
    if not named or not ax.lines:
        return
    plotting.plain_numbers(ax.yaxis)
    ax.legend(fontsize=8, loc="best", frameon=True, framealpha=0.8, edgecolor="none")


def _line(ax: Any, steps: np.ndarray, curve: Any, colour: str) -> None:
    """Draw the straight line whose slope is `factor`, through the mean of the logarithms."""
    log, slope = np.log(curve.back[steps]), math.log(curve.factor)
    fitted = log.mean() + slope * (steps - steps.mean())
    ends = [0, -1]
    ax.plot(steps[ends], np.exp(np.clip(fitted[ends], -745, 709)), "--", color=colour, linewidth=1)


def _saturation(ax: Any, gates: dict[str, Any]) -> None:
    names = list(gates)
    for y, gate in enumerate(names):
        share = gates[gate]
        ax.barh(y, share.low, color=ORANGE, height=0.6)
        ax.barh(y, share.high, left=share.low, color=BLUE, height=0.6)
        ax.text(
            min(share.low + share.high, 1.0) + 0.02,
            y,
            f"{share.low:.0%} + {share.high:.0%}",
            va="center",
            fontsize=8,
            color=GREY,
        )
    ax.set_yticks(range(len(names)), [f"gate {gate}" for gate in names])
    ax.set_ylim(len(names) - 0.3, -0.7)
    ax.set_xlim(0, 1)
    ax.tick_params(axis="y", length=0)
    ax.xaxis.set_major_formatter(lambda x, _: f"{x:.0%}")
    for colour, label in ((ORANGE, "near 0 or -1"), (BLUE, "near 1")):
        ax.barh([0], [0], color=colour, label=label)
    ax.legend(fontsize=8, loc="lower right", handlelength=1)


def _cycle(count: int) -> list[str]:
    return [_COLOURS[i % len(_COLOURS)] for i in range(count)]
