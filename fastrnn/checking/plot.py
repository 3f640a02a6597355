"""A report as a picture: which parts it has, and where they stand on the page.

The parts are drawn in panels.py; file formats and the common look are in plotting.py.
"""

import math
import textwrap
from typing import Any

from fastrnn import plotting
from fastrnn.checking.panels import WRONG, Row, drawable, errors, legend, maps, sweep

CALLER = "gradcheck: plot"  # in messages
MAX_ROWS = 60  # of more variables, those with the largest errors
_LEFT_WIDTH, _RIGHT_WIDTH = 6.6, 6.0  # inches


def draw(report: Any, path: Any) -> None:
    """Write the picture of a report into a file.

    Args:
        report: a GradcheckReport.
        path: the file to write; its ending chooses the format.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
        ValueError: the ending is none of plotting.FORMATS.
        OSError: the file cannot be written.
    """
    plotting.save(path, CALLER, lambda figure: fill(figure, report))


def fill(figure: Any, report: Any) -> None:
    """Draw the picture.

    Args:
        figure: an empty matplotlib Figure with a constrained layout; its size is changed.
        report: a GradcheckReport.
    """
    rows = rows_of(report)
    left, right = [errors(rows)], maps(report.location)
    banded = bool(right) or any(row.gates for row in rows)
    if drawable(report.sweep):  # below the errors where the maps are taller, else beside them
        min(left, right, key=lambda panels: sum(p.height for p in panels)).append(sweep(report))
    columns = [column for column in (left, right) if column]
    tall = max(sum(panel.height for panel in column) for column in columns)
    widths = [_LEFT_WIDTH, _RIGHT_WIDTH][: len(columns)]
    title = _title(report, sum(widths))
    height = tall + 0.2 * title.count("\n") + 0.4 + 0.3 * banded
    figure.set_size_inches(sum(widths), height)
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.06)
    figure.suptitle(
        title, x=0.01, ha="left", size=10, weight="bold", color="black" if report.ok else WRONG
    )
    parts = figure.subfigures(1, len(columns), width_ratios=widths, squeeze=False)[0]
    for part, column in zip(parts, columns, strict=True):
        heights = [panel.height for panel in column]
        heights.append(max(tall - sum(heights), 1e-3))  # empty space below
        for place, panel in zip(
            part.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0],
            column,
            strict=False,
        ):
            panel.draw(place)
    if banded:
        legend(figure)


def rows_of(report: Any) -> list[Row]:
    """Return the rows of the picture of errors: variables, and in mode project projections.

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
            continue  # nothing is known of each variable alone
        excess, wrong = v.worst.excess if v.worst is not None else None, v.wrong > 0
        note = v.note or (
            "wrong" if wrong else "no error found" if report.projections else "nothing was compared"
        )
        rows.append(Row(v.name, excess, wrong, v.gates, note))
    if len(rows) <= MAX_ROWS:
        return rows
    worst = sorted(rows, key=lambda r: (r.wrong, r.excess or 0.0), reverse=True)[:MAX_ROWS]
    return [row for row in rows if row in worst]


def _title(report: Any, width: float) -> str:
    lines = textwrap.wrap(report.summary(), int(width * 11.5), max_lines=2, placeholder=" ...")
    if len(report.variables) > MAX_ROWS:
        lines.append(f"the {MAX_ROWS} worst of {len(report.variables)} variables")
    return "\n".join(lines)
