"""A report as a picture: errors in tolerances, where in time they begin, and the V-curve.

How any picture is written is plotting.py's business, and what the numbers are is report.py's.
"""

import math
import textwrap
from collections.abc import Callable
from typing import Any, NamedTuple

from fastrnn import plotting
from fastrnn.checking.location import Location

WHO = "gradcheck: plot"  # in messages
_MOST_ROWS, _MOST_MAPS = 60, 8  # of more than these, the worst and the first
_RIGHT, _WRONG, _QUIET = plotting.BLUE, plotting.ORANGE, plotting.GREY
# Bands of a map: blue up to one tolerance, orange above, darker the further off.
_BOUNDS = (0.0, 0.01, 0.1, 1.0, 10.0, 1000.0, math.inf)
_BANDS = ("#eef5fb", "#c3dcef", "#86b8de", "#fbc490", "#e8813a", "#8f2d04")
_LEFT_WIDTH, _RIGHT_WIDTH, _ROW = 6.6, 6.0, 0.21  # inches


class Row(NamedTuple):
    """One line of the picture of errors.

    Attributes:
        name: of a variable, or of a projection.
        excess: how many tolerances it is off; None: nothing was compared.
        wrong: it is wrong.
        gates: name -> how many tolerances its worst entry is off.
        note: what stands there instead of an error.
    """

    name: str
    excess: float | None
    wrong: bool
    gates: dict[str, float]
    note: str


class _Panel(NamedTuple):
    """A part of the picture: its height in inches, and what draws it into a subfigure."""

    height: float
    draw: Callable[[Any], None]


def draw(report: Any, path: Any) -> None:
    """Write the picture of a report into a file.

    Args:
        report: a GradcheckReport.
        path: of the file; its ending says the format.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
        ValueError: the ending is none of plotting.FORMATS.
        OSError: the file cannot be written.
    """
    plotting.save(path, WHO, lambda figure: fill(figure, report))


def fill(figure: Any, report: Any) -> None:
    """Draw the picture.

    Args:
        figure: an empty matplotlib Figure with a constrained layout; its size is changed.
        report: a GradcheckReport.
    """
    rows = rows_of(report)
    left, right = [_errors(rows)], _maps(report.location)
    banded = bool(right) or any(row.gates for row in rows)
    if _drawable(report.sweep):  # below the errors where the maps are taller, else beside them
        min(left, right, key=lambda panels: sum(p.height for p in panels)).append(_sweep(report))
    columns = [column for column in (left, right) if column]
    tall = max(sum(panel.height for panel in column) for column in columns)
    widths = [_LEFT_WIDTH, _RIGHT_WIDTH][: len(columns)]
    title = _title(report, sum(widths))
    height = tall + 0.2 * title.count("\n") + 0.4 + 0.3 * banded
    figure.set_size_inches(sum(widths), height)
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.06)
    figure.suptitle(
        title, x=0.01, ha="left", size=10, weight="bold", color="black" if report.ok else _WRONG
    )
    parts = figure.subfigures(1, len(columns), width_ratios=widths, squeeze=False)[0]
    for part, column in zip(parts, columns, strict=True):
        heights = [panel.height for panel in column]
        heights.append(max(tall - sum(heights), 1e-3))  # what stays empty
        for place, panel in zip(
            part.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0],
            column,
            strict=False,
        ):
            panel.draw(place)
    if banded:
        _legend(figure)


def rows_of(report: Any) -> list[Row]:
    """Return what is drawn of a report's errors: variables, and in mode project projections.

    Args:
        report: a GradcheckReport.
    """
    rows = []
    for number, (analytic, numeric, tolerance) in enumerate(report.projections, 1):
        error = abs(analytic - numeric)
        excess = error / tolerance if tolerance else math.inf * bool(error) if error else 0.0
        rows.append(Row(f"projection {number}", excess, not excess <= 1, {}, ""))
    for v in report.variables:
        if report.mode == "project" and report.ok:
            continue  # of each alone nothing is known
        excess, wrong = v.worst.excess if v.worst is not None else None, v.wrong > 0
        note = v.note or (
            "wrong" if wrong else "no error found" if report.projections else "nothing was compared"
        )
        rows.append(Row(v.name, excess, wrong, v.gates, note))
    if len(rows) <= _MOST_ROWS:
        return rows
    worst = sorted(rows, key=lambda r: (r.wrong, r.excess or 0.0), reverse=True)[:_MOST_ROWS]
    return [row for row in rows if row in worst]


def _title(report: Any, width: float) -> str:
    lines = textwrap.wrap(report.summary(), int(width * 11.5), max_lines=2, placeholder=" ...")
    if len(report.variables) > _MOST_ROWS:
        lines.append(f"the {_MOST_ROWS} worst of {len(report.variables)} variables")
    return "\n".join(lines)


def _errors(rows: list[Row]) -> _Panel:
    """The worst error of each variable on a log axis, and a map of its gates beside it."""
    gates = list(dict.fromkeys(gate for row in rows for gate in row.gates))

    def draw(place):
        ratios = [1.0, 0.07 * len(gates)] if gates else [1.0]
        axes = place.subplots(1, len(ratios), sharey=True, squeeze=False, width_ratios=ratios)[0]
        _dots(axes[0], rows)
        if gates:
            table = [[row.gates.get(gate, math.nan) for gate in gates] for row in rows]
            _map(axes[1], table)
            axes[1].set_xticks(range(len(gates)), gates)
            axes[1].set_xlabel("gate")
            axes[1].tick_params(left=False)
        axes[0].set_ylim(len(rows) - 0.5, -0.5)

    return _Panel(0.95 + _ROW * max(len(rows), 3), draw)


def _dots(ax, rows: list[Row]) -> None:
    known = [row.excess for row in rows if row.excess is not None and 0 < row.excess < math.inf]
    low = min(1e-2, 10.0 ** math.floor(math.log10(min(known, default=1.0)) - 0.3))
    high = max(1e2, 10.0 ** math.ceil(math.log10(max(known, default=1.0)) + 0.3))
    ax.set_xscale("log")
    ax.set_xlim(low, high)
    ax.axvline(1.0, color="black", linewidth=1, linestyle="--", zorder=1)
    for y, row in enumerate(rows):
        colour = _WRONG if row.wrong else _RIGHT
        if row.excess is None:
            ax.text(
                low,
                y,
                f" {row.note}",
                va="center",
                color=_WRONG if row.wrong else _QUIET,
                style="italic",
            )
            continue
        x = min(max(row.excess, low), high)
        # What the axis has no place for points out of it.
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
    ax.set_yticks(range(len(rows)), [_short(row.name) for row in rows])
    ax.tick_params(axis="y", length=0, pad=7)
    plotting.plain_numbers(ax.xaxis)
    ax.set_xlabel("worst error, in tolerances")
    for marker, colour, label in (("o", _RIGHT, "right"), ("X", _WRONG, "wrong")):
        if any(row.wrong == (label == "wrong") and row.excess is not None for row in rows):
            ax.plot([], [], marker, color=colour, label=label)
    ax.plot([], [], "--", color="black", linewidth=1, label="the tolerance")
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, borderaxespad=0.2)


def _maps(location: Location | None) -> list[_Panel]:
    """A map of gates and time steps for each layer and direction that is wrong."""
    found = [] if location is None else [location, *location.others]
    found = [one for one in found if one.first is not None]
    panels = [_time(one, *one.first) for one in found[:_MOST_MAPS] if one.first]
    if len(found) > _MOST_MAPS:
        panels.append(
            _Panel(
                0.3,
                lambda place: place.text(
                    0.02, 0.5, f"and {len(found) - _MOST_MAPS} more layers and directions"
                ),
            )
        )
    return panels


def _time(location: Location, t: int, gates: list[str]) -> _Panel:
    def draw(place):
        ax = place.subplots()
        _map(ax, location.excess)
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

    return _Panel(1.0 + _ROW * len(location.gates), draw)


def _map(ax, table: list[list[float]]) -> None:
    """Draw numbers of tolerances as cells in bands of colour; those that are wrong have a cross."""
    from matplotlib.colors import BoundaryNorm, ListedColormap

    bands = [[math.nan if math.isnan(e) else _band(e) for e in row] for row in table]
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


def _band(excess: float) -> int:
    return next(b for b, bound in enumerate(_BOUNDS[1:]) if excess <= bound)


def _legend(figure) -> None:
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


def _sweep(report: Any) -> _Panel:
    """The V-curve: errors of central differences against the step, with the slopes they have."""

    def draw(place):
        ax, worst = place.subplots(), report.worst
        shown = _drawable(report.sweep)
        size = abs(worst.numeric) if worst is not None else 0.0
        size = size if 0 < size < math.inf else 1.0
        steps = [h for h, _ in report.sweep]
        ax.set_xscale("log")
        ax.set_yscale("log")
        eps = 2.0**-52
        middle = eps ** (1 / 3)  # each slope where it rules
        for name, xs, slope in (
            ("falling as h\u00b2, of a right gradient", [max(steps), middle], lambda h: h * h),
            ("rising as 1/h, rounding", [middle, min(steps)], lambda h: eps / h),
        ):
            ax.plot(
                xs,
                [size * slope(x) for x in xs],
                ":" if name[0] == "r" else "--",
                color=_QUIET,
                linewidth=1.2,
                label=name,
            )
        ax.plot(
            [h for h, _ in shown],
            [e for _, e in shown],
            "o-",
            color=_WRONG,
            markersize=4,
            label="measured",
        )
        ax.set_xlim(max(steps) * 2, min(steps) / 2)
        for axis in (ax.xaxis, ax.yaxis):
            plotting.plain_numbers(axis)
        ax.set_xlabel("step h of central differences")
        ax.set_ylabel("|difference - gradient|")
        ax.legend(loc="best", fontsize=8)
        name = _short(worst.name, 60) if worst is not None else ""
        ax.set_title(f"{name}\na V: the gradient is right; flat: it is wrong")

    return _Panel(3.2, draw)


def _drawable(sweep: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the points that have a logarithm."""
    return [(h, error) for h, error in sweep if 0 < error < math.inf]


def _short(name: str, most: int = 46) -> str:
    """Cut out the middle of a long name: its ends tell it from others."""
    half = (most - 3) // 2
    return name if len(name) <= most else f"{name[:half]}...{name[-half:]}"
