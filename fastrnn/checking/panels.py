"""The parts of a report's picture: errors of variables, maps over time, and the V-curve.

Which parts a report has, and where they stand on the page, is in plot.py.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from fastrnn import plotting
from fastrnn.checking.location import Location

_MAX_MAPS = 8  # of more layers and directions, the first
RIGHT, WRONG, QUIET = plotting.BLUE, plotting.ORANGE, plotting.GREY
# Bands of a map: blue up to one tolerance, orange above, darker the larger the error.
_BOUNDS = (0.0, 0.01, 0.1, 1.0, 10.0, 1000.0, math.inf)
_BANDS = ("#eef5fb", "#c3dcef", "#86b8de", "#fbc490", "#e8813a", "#8f2d04")
_ROW = 0.21  # inches


class Row(NamedTuple):
    """One line of the picture of errors.

    Attributes:
        name: of a variable, or of a projection.
        excess: the error in tolerances; None: nothing was compared.
        wrong: it is wrong.
        gates: gate -> its largest error in tolerances.
        note: a text shown in place of an error.
    """

    name: str
    excess: float | None
    wrong: bool
    gates: dict[str, float]
    note: str


class Panel(NamedTuple):
    """A part of the picture: its height in inches, and a function that draws it in a subfigure."""

    height: float
    draw: Callable[[Any], None]


def errors(rows: list[Row]) -> Panel:
    """Return the panel with each variable's largest error on a log axis, and a map of its gates.

    Args:
        rows: the variables.
    """
    gates = list(dict.fromkeys(gate for row in rows for gate in row.gates))

    def draw(place):
        ratios = [1.0, 0.07 * len(gates)] if gates else [1.0]
        axes = place.subplots(1, len(ratios), sharey=True, squeeze=False, width_ratios=ratios)[0]
        _dots(axes[0], rows)
        if gates:
            table = [[row.gates.get(gate, math.nan) for gate in gates] for row in rows]
            _cells(axes[1], table)
            axes[1].set_xticks(range(len(gates)), gates)
            axes[1].set_xlabel("gate")
            axes[1].tick_params(left=False)
        axes[0].set_ylim(len(rows) - 0.5, -0.5)

    return Panel(0.95 + _ROW * max(len(rows), 3), draw)


def _dots(ax, rows: list[Row]) -> None:
    known = [row.excess for row in rows if row.excess is not None and 0 < row.excess < math.inf]
    low = min(1e-2, 10.0 ** math.floor(math.log10(min(known, default=1.0)) - 0.3))
    high = max(1e2, 10.0 ** math.ceil(math.log10(max(known, default=1.0)) + 0.3))
    ax.set_xscale("log")
    ax.set_xlim(low, high)
    ax.axvline(1.0, color="black", linewidth=1, linestyle="--", zorder=1)
    for y, row in enumerate(rows):
        colour = WRONG if row.wrong else RIGHT
        if row.excess is None:
            ax.text(
                low,
                y,
                f" {row.note}",
                va="center",
                color=WRONG if row.wrong else QUIET,
                style="italic",
            )
            continue
        x = min(max(row.excess, low), high)
        # A value that is off the axis becomes an arrow that points out of it.
        marker = "<" if row.excess < low else ">" if row.excess > high else "oX"[row.wrong]
        ax.plot([low, x], [y, y], color=colour, linewidth=1, alpha=0.4)
        ax.plot(x, y, marker, color=colour, markersize=6 + row.wrong, clip_on=False)
        if row.excess == math.inf:
            ax.annotate(
                "infinite",
                (high, y),
                (-8, 0),
                textcoords="offset points",
                ha="right",
                va="center",
                color=colour,
                backgroundcolor="white",
                fontsize=8,
            )
    ax.set_yticks(range(len(rows)), [shortened(row.name) for row in rows])
    ax.tick_params(axis="y", length=0, pad=7)
    plotting.plain_numbers(ax.xaxis)
    ax.set_xlabel("worst error, in tolerances")
    for marker, colour, label in (("o", RIGHT, "right"), ("X", WRONG, "wrong")):
        if any(row.wrong == (label == "wrong") and row.excess is not None for row in rows):
            ax.plot([], [], marker, color=colour, label=label)
    ax.plot([], [], "--", color="black", linewidth=1, label="the tolerance")
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, borderaxespad=0.2)


def maps(location: Location | None) -> list[Panel]:
    """Return a map of gates and time steps for each layer and direction that is wrong.

    Args:
        location: from the report.
    """
    found = [] if location is None else [location, *location.others]
    found = [one for one in found if one.first is not None]
    panels = [_steps(one, *one.first) for one in found[:_MAX_MAPS] if one.first]
    if len(found) > _MAX_MAPS:
        panels.append(
            Panel(
                0.3,
                lambda place: place.text(
                    0.02, 0.5, f"and {len(found) - _MAX_MAPS} more layers and directions"
                ),
            )
        )
    return panels


def _steps(location: Location, t: int, gates: list[str]) -> Panel:
    def draw(place):
        ax = place.subplots()
        _cells(ax, location.excess)
        column = location.steps.index(t)
        for row, gate in enumerate(location.gates):
            if gate in gates:
                ax.plot(
                    [column - 0.5, column + 0.5, column + 0.5, column - 0.5, column - 0.5],
                    [row - 0.5, row - 0.5, row + 0.5, row + 0.5, row - 0.5],
                    color="black",
                    linewidth=1.5,
                    clip_on=False,
                    zorder=4,
                )
        every = math.ceil(len(location.steps) / 16)
        ticks = range(0, len(location.steps), every)
        ax.set_xticks(ticks, [str(location.steps[i]) for i in ticks])
        bare = "units" if location.widened else "input"
        ax.set_yticks(range(len(location.gates)), [gate or bare for gate in location.gates])
        ax.tick_params(left=False)
        way = "right" if location.reverse else "left"
        ax.set_xlabel(f"step t; backpropagation runs to the {way}")
        where = f"{location.where}: " if location.where else ""
        which = "all gates" if len(gates) == len(location.gates) else f"gate {', '.join(gates)}"
        which = f", {which}" if any(gates) else ""
        ax.set_title(f"{where}first wrong at t = {t}{which}")

    return Panel(1.0 + _ROW * len(location.gates), draw)


def _cells(ax, table: list[list[float]]) -> None:
    """Draw errors in tolerances as cells in bands of colour; a cross marks those that are wrong."""
    from matplotlib.colors import BoundaryNorm, ListedColormap

    bands = [[math.nan if math.isnan(e) else band_of(e) for e in row] for row in table]
    norm = BoundaryNorm([b - 0.5 for b in range(len(_BANDS) + 1)], len(_BANDS))
    edges = [[k - 0.5 for k in range(count + 1)] for count in (len(table[0]), len(table))]
    ax.pcolormesh(
        *edges, bands, cmap=ListedColormap(_BANDS), norm=norm, edgecolor="white", linewidth=0.5
    )
    ax.set_ylim(len(table) - 0.5, -0.5)
    wrong = [(x, y) for y, row in enumerate(table) for x, e in enumerate(row) if e > 1]
    ax.plot(
        [x for x, _ in wrong],
        [y for _, y in wrong],
        "x",
        color="black",
        markersize=3.5,
        linewidth=0,
        markeredgewidth=0.8,
    )
    for edge in ax.spines.values():
        edge.set_visible(False)


def band_of(excess: float) -> int:
    """Return the number of the band of colour for an error in tolerances."""
    return next(b for b, bound in enumerate(_BOUNDS[1:]) if excess <= bound)


def legend(figure: Any) -> None:
    """Draw the legend of the bands below a figure."""
    from matplotlib.patches import Patch

    names = [f"to {bound:g}" for bound in _BOUNDS[1:-1]] + [f"above {_BOUNDS[-2]:g}"]
    patches = [Patch(color=c, label=n) for c, n in zip(_BANDS, names, strict=True)]
    figure.legend(
        handles=patches,
        ncols=len(patches),
        loc="outside lower left",
        fontsize=8,
        title="in tolerances; a cross is wrong",
        title_fontsize=8,
        alignment="left",
        handlelength=1.2,
        columnspacing=1.2,
    )


def sweep(report: Any) -> Panel:
    """Return the panel of the V-curve: errors of central differences against the step.

    Args:
        report: a GradcheckReport.
    """

    def draw(place):
        ax, worst = place.subplots(), report.worst
        shown = drawable(report.sweep)
        size = abs(worst.numeric) if worst is not None else 0.0
        size = size if 0 < size < math.inf else 1.0
        steps = [h for h, _ in report.sweep]
        ax.set_xscale("log")
        ax.set_yscale("log")
        eps = 2.0**-52
        middle = eps ** (1 / 3)  # where one slope takes over from the other
        for name, xs, slope in (
            ("falling as h\u00b2, of a right gradient", [max(steps), middle], lambda h: h * h),
            ("rising as 1/h, rounding", [middle, min(steps)], lambda h: eps / h),
        ):
            ax.plot(
                xs,
                [size * slope(x) for x in xs],
                ":" if name[0] == "r" else "--",
                color=QUIET,
                linewidth=1.2,
                label=name,
            )
        ax.plot(
            [h for h, _ in shown],
            [e for _, e in shown],
            "o-",
            color=WRONG,
            markersize=4,
            label="measured",
        )
        ax.set_xlim(max(steps) * 2, min(steps) / 2)
        for axis in (ax.xaxis, ax.yaxis):
            plotting.plain_numbers(axis)
        ax.set_xlabel("step h of central differences")
        ax.set_ylabel("|difference - gradient|")
        ax.legend(loc="best", fontsize=8)
        name = shortened(worst.name, 60) if worst is not None else ""
        ax.set_title(f"{name}\na V: the gradient is right; flat: it is wrong")

    return Panel(3.2, draw)


def drawable(sweep: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the points that have a logarithm: errors above 0 and finite."""
    return [(h, error) for h, error in sweep if 0 < error < math.inf]


def shortened(name: str, longest: int = 46) -> str:
    """Cut out the middle of a long name, whose ends distinguish it from others."""
    half = (longest - 3) // 2
    return name if len(name) <= longest else f"{name[:half]}...{name[-half:]}"
