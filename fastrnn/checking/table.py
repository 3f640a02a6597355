"""A report as lines of text, for a terminal or a log: the summary, what is wrong, a table, notes.

Each line comes with a word for what it tells; cli/check.py turns that into a colour. The numbers
themselves are in report.py.
"""

import math
from typing import Any

_COLUMNS = (
    "variable",
    "shape",
    "checked",
    "wrong",
    "kinks",
    "of tol",
    "rel",
    "ulp",
    "cosine",
    "ratio",
    "",
)

KindAndText = tuple[str, str]


def lines_of(report: Any) -> list[KindAndText]:
    """Return a report line by line as (kind, text).

    Args:
        report: a GradcheckReport.

    Returns:
        The kind is "right", "wrong", "worst", "hint", or "" for the rest.
    """
    lines = [("right" if report.ok else "wrong", report.summary())]
    failure = _failure(report)
    if failure:
        lines += [("", ""), *failure]
    lines += [("", ""), *_variables(report), ("", ""), *_properties(report)]
    if report.sweep:
        lines += [("", line) for line in ("", *_sweep(report.sweep))]
    if report.miss_size is not None and report.ok:
        missed = (
            f"An error of {report.miss_size:.1g} of the gradient of one variable would have been "
            f"missed with probability {report.miss:g}, a larger one with less."
        )
        lines += [("", ""), ("", missed)]
    lines += [("hint", f"note: {note}") for note in report.notes]
    around = ", ".join(f"{name} {value}" for name, value in report.environment.items())
    end = f"seed {report.seed}, mode {report.mode}, {report.seconds:.2f} s, {around}"
    return [*lines, ("", ""), ("", end)]


def _failure(report: Any) -> list[KindAndText]:
    """The worst coordinates, what the errors look like, and where in time they start."""
    lines = []
    if report.worst is not None and any(v.wrong for v in report.variables):
        lines += [("worst", f"worst: {report.worst}")]
        lines += [("", f"       {c}") for c in report.top[1:] if c.excess > 1]
    lines += [("hint", f"looks like: {hint}") for hint in report.hints]
    if report.location is not None:
        lines += [
            ("worst" if line.startswith("first wrong") else "", line)
            for line in report.location.lines()
        ]
    return lines


def _variables(report: Any) -> list[KindAndText]:
    rows: list[tuple] = [_COLUMNS]
    for v in report.variables:
        worst = v.worst
        numbers = [worst.excess, worst.relative, worst.ulp] if worst else [math.nan] * 3
        rows.append(
            (
                v.name,
                "x".join(map(str, v.shape)) or "scalar",
                f"{v.checked:,}",
                f"{v.wrong:,}",
                f"{v.kinks:,}",
                *map(_short, numbers),
                _short(v.cosine, 6),
                _short(v.ratio, 6),
                v.note,
            )
        )
    kinds = ["", *("wrong" if v.wrong or v.unclear else "right" for v in report.variables)]
    return list(zip(kinds, columns(rows), strict=True))


def _properties(report: Any) -> list[KindAndText]:
    rows = [("ok" if p.ok else "WRONG", p.name, p.detail) for p in report.properties]
    kinds = ["right" if p.ok else "wrong" for p in report.properties]
    return list(zip(kinds, columns(rows), strict=True))


def columns(rows: list[tuple]) -> list[str]:
    """Return rows of words as lines with aligned columns.

    Args:
        rows: of equal length. The first and the last column are aligned to the left, the others
            to the right; of three columns, all to the left.
    """
    if not rows:
        return []
    widths = [max(len(str(row[i])) for row in rows) for i in range(len(rows[0]))]
    left = {0, len(widths) - 1} | ({1} if len(widths) == 3 else set())
    return [
        "  ".join(
            str(word).ljust(w) if i in left else str(word).rjust(w)
            for i, (word, w) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _sweep(sweep: list[tuple[float, float]]) -> list[str]:
    """A step-size sweep, with a bar for each power of ten."""
    finite = [error for _, error in sweep if 0 < error < math.inf]
    lowest = math.floor(math.log10(min(finite))) if finite else 0
    lines = [
        "central differences at the worst coordinate (falls and rises: the gradient is right; "
        "flat: it is wrong)"
    ]
    for h, error in sweep:
        bar = "#" * (1 + math.floor(math.log10(error)) - lowest) if 0 < error < math.inf else ""
        lines.append(f"  h {h:.0e}  error {error:.2e}  {bar}".rstrip())
    return lines


def _short(number: float, digits: int = 2) -> str:
    return "" if math.isnan(number) else f"{number:.{digits}g}"
