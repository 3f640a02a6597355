"""What a check found, for a reader, for a program (JSON) and as a picture.

Numbers come from elsewhere; here they are named and laid out. Colours are the command line's.
"""

import dataclasses
import json
import math
import platform
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any

import numpy as np

from fastrnn.checking.location import Location
from fastrnn.checking.properties import Property

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


@dataclass(frozen=True)
class Coordinate:
    """One entry of a gradient, compared.

    Attributes:
        name: in the user's terms, weight_hh_l1_reverse[gate f, unit 3, from 7].
        variable: its array.
        index: in it.
        analytic: the gradient in question there.
        numeric: the derivative.
        error: how far apart they are.
        relative: the error, relative to the larger of the two.
        ulp: the error in units in the last place of the largest entry of the array.
        tolerance: how far apart they may be.
    """

    name: str
    variable: str
    index: tuple[int, ...]
    analytic: float
    numeric: float
    error: float
    relative: float
    ulp: float
    tolerance: float

    @property
    def excess(self) -> float:
        """How many tolerances they are apart."""
        if not math.isfinite(self.error):
            return math.inf
        return self.error / self.tolerance if self.tolerance else math.inf if self.error else 0.0

    def __str__(self) -> str:
        return (
            f"{self.name} analytic {self.analytic:.10g} numeric {self.numeric:.10g} "
            f"rel {self.relative:.2g} ({self.ulp:.3g} ulp; tolerance {self.tolerance:.2g})"
        )


@dataclass
class VariableReport:
    """One array.

    Attributes:
        name: of the array.
        shape: of it.
        checked: coordinates compared; in mode project 0.
        kinks: coordinates skipped, as the function has no derivative there.
        wrong: coordinates that differ; in mode project 1 where its projections do.
        worst: the coordinate that is the most tolerances off, or None.
        cosine: of the angle between gradient and derivative; nan where unknown.
        ratio: of their norms; nan where unknown.
        gates: name -> the worst error there, in tolerances.
        note: what else there is to say.
    """

    name: str
    shape: tuple[int, ...]
    checked: int = 0
    kinks: int = 0
    wrong: int = 0
    worst: Coordinate | None = None
    cosine: float = math.nan
    ratio: float = math.nan
    gates: dict[str, float] = field(default_factory=dict)
    note: str = ""


@dataclass
class GradcheckReport:
    """The result of `gradcheck`; true where it passed.

    Attributes:
        ok: nothing is wrong.
        target: what was checked, and its kind.
        kind: "function", "pair", "layer", "torch function" or "torch module".
        method: how derivatives were taken, and why so.
        mode: "full", "sample" or "project".
        seed: of everything random.
        variables: one entry for each array.
        worst: the coordinate that is the most tolerances off, or None (mode project, all right).
        top: the five worst.
        properties: what else was tested.
        hints: what the pattern of the errors looks like.
        location: where in time a recurrent target goes wrong, or None.
        sweep: (h, error) of central differences at the worst coordinate, after a failure.
        projections: (analytic, numeric, tolerance) of each, in mode project.
        miss: a chance; mode project has missed an error of `miss_size` with this chance.
        miss_size: as a part of the gradient of one variable; None in other modes.
        seconds: it took.
        notes: what else there is to say.
        environment: versions and threads.
    """

    target: str
    kind: str
    method: str
    mode: str
    seed: int
    ok: bool = True
    variables: list[VariableReport] = field(default_factory=list)
    worst: Coordinate | None = None
    top: list[Coordinate] = field(default_factory=list)
    properties: list[Property] = field(default_factory=list)
    hints: list[str] = field(default_factory=list)
    location: Location | None = None
    sweep: list[tuple[float, float]] = field(default_factory=list)
    projections: list[tuple[float, float, float]] = field(default_factory=list)
    miss: float = 1e-6
    miss_size: float | None = None
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        return self.table()

    def summary(self) -> str:
        """Return the result in one line."""
        checked, kinks = (sum(getattr(v, n) for v in self.variables) for n in ("checked", "kinks"))
        compared = (
            f"{len(self.projections)} random projections of "
            f"{sum(math.prod(v.shape) for v in self.variables):,} coordinates"
            if self.mode == "project"
            else f"{checked:,} coordinates"
        )
        skipped = f", {kinks:,} at kinks skipped" if kinks else ""
        start = f"gradcheck of {self.target}: "
        if self.ok:
            return f"{start}right, {compared}{skipped} ({self.method})"
        wrong = [v.name for v in self.variables if v.wrong]
        failed = [p.name for p in self.properties if not p.ok]
        parts = ([f"wrong gradient of {', '.join(wrong)}"] if wrong else []) + failed
        return f"{start}FAILED: {'; '.join(parts or self.notes[-1:])} ({compared}{skipped})"

    def table(self) -> str:
        """Return everything as text, for a terminal or a log."""
        return "\n".join(line for _, line in self.lines())

    def lines(self) -> list[tuple[str, str]]:
        """Return the table line by line, each behind what it is, for colours.

        That is "right", "wrong", "worst", "hint", or "" for the rest.
        """
        lines, where = [("right" if self.ok else "wrong", self.summary())], []
        if self.worst is not None and any(v.wrong for v in self.variables):
            where += [("worst", f"worst: {self.worst}")]
            where += [("", f"       {c}") for c in self.top[1:] if c.excess > 1]
        where += [("hint", f"looks like: {hint}") for hint in self.hints]
        if self.location is not None:
            where += [
                ("worst" if line.startswith("first wrong") else "", line)
                for line in self.location.lines()
            ]
        if where:
            lines += [("", ""), *where]
        lines += [("", ""), *self._variable_lines(), ("", ""), *self._property_lines()]
        if self.sweep:
            lines += [("", line) for line in ("", *_sweep_lines(self.sweep))]
        if self.miss_size is not None and self.ok:
            lines += [
                ("", ""),
                (
                    "",
                    f"An error of {self.miss_size:.1g} of the gradient of one "
                    f"variable would have been missed with probability {self.miss:g}, a larger "
                    "one with less.",
                ),
            ]
        lines += [("hint", f"note: {note}") for note in self.notes]
        around = ", ".join(f"{name} {value}" for name, value in self.environment.items())
        end = f"seed {self.seed}, mode {self.mode}, {self.seconds:.2f} s, {around}"
        return [*lines, ("", ""), ("", end)]

    def to_json(self, **options: Any) -> str:
        """Return everything as JSON.

        Args:
            options: for json.dumps, e.g. indent=2.
        """
        return json.dumps(_plain(self), **options)

    def plot(self, path: Any) -> None:
        """Draw the errors per variable and gate, over time, and the V-curve, into a file.

        Args:
            path: of the picture; its ending says the format, e.g. .png or .svg.

        Raises:
            ModuleNotFoundError: matplotlib is not installed.
        """
        from fastrnn.checking.plot import draw

        draw(self, path)

    def _variable_lines(self):
        rows: list[tuple] = [_COLUMNS]
        for v in self.variables:
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
        kinds = ["", *("wrong" if v.wrong else "right" for v in self.variables)]
        return list(zip(kinds, laid_out(rows), strict=True))

    def _property_lines(self):
        rows = [("ok" if p.ok else "WRONG", p.name, p.detail) for p in self.properties]
        kinds = ["right" if p.ok else "wrong" for p in self.properties]
        return list(zip(kinds, laid_out(rows), strict=True))


class GradcheckError(AssertionError):
    """A gradient is wrong; the message is the report, and `report` the report itself."""

    __module__ = "fastrnn"  # a traceback's last line is short enough to show the message

    def __init__(self, report: GradcheckReport):
        super().__init__(report.table())
        self.report = report

    def __reduce__(self):
        return GradcheckError, (self.report,)


def environment() -> dict[str, str]:
    """Return the versions and the threads that a result may depend on."""
    from fastrnn.kernels.threads import get_num_threads

    versions = {"python": platform.python_version(), "fastrnn": _version("fastrnn")}
    versions |= {name: _version(name) for name in ("numpy", "numba")}
    return versions | {"threads": str(get_num_threads())}


def coordinate(judged, index: tuple[int, ...]) -> Coordinate:
    """Return one entry of a `coordinates.Judged`, with the cotangent for which it is worst."""
    at = (slice(None), *index)
    away = np.abs(judged.analytic[at] - judged.numeric[at])
    k = int(np.argmax(np.where(np.isfinite(away), away / judged.tolerance[at], np.inf)))
    largest = float(np.nanmax(np.abs(judged.numeric[k])))
    at = (k, *index)
    return compared(
        judged.variable,
        index,
        float(judged.analytic[at]),
        float(judged.numeric[at]),
        float(judged.tolerance[at]),
        largest,
    )


def compared(variable, index, analytic, numeric, tolerance, largest) -> Coordinate:
    """Return a coordinate from its numbers; `largest` is the largest entry of its array."""
    error = abs(analytic - numeric)
    size = max(abs(analytic), abs(numeric))
    spacing = float(np.spacing(np.asarray(largest or size).astype(variable.value.dtype)))
    return Coordinate(
        variable.called(index),
        variable.name,
        index,
        analytic,
        numeric,
        error,
        error / size if size else 0.0,
        error / spacing,
        tolerance,
    )


def laid_out(rows: list[tuple]) -> list[str]:
    """Return rows of words as lines with columns; the first column to the left."""
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


def _sweep_lines(sweep):
    """A step-size sweep, with a bar for each power of ten."""
    finite = [error for _, error in sweep if 0 < error < math.inf]
    least = math.floor(math.log10(min(finite))) if finite else 0
    lines = [
        "central differences at the worst coordinate (falls and rises: the gradient is right; "
        "flat: it is wrong)"
    ]
    for h, error in sweep:
        bar = "#" * (1 + math.floor(math.log10(error)) - least) if 0 < error < math.inf else ""
        lines.append(f"  h {h:.0e}  error {error:.2e}  {bar}".rstrip())
    return lines


def _short(number: float, digits: int = 2) -> str:
    return "" if math.isnan(number) else f"{number:.{digits}g}"


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def _plain(value: Any) -> Any:
    """Return a value as JSON has it; what is no finite number becomes null, infinity a string."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {name: _plain(v) for name, v in value._asdict().items()}  # pyright: ignore
    if isinstance(value, dict):
        return {str(name): _plain(v) for name, v in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(v) for v in value]
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return value
