"""What a check found: records with a name for each number, and as JSON.

The numbers are computed elsewhere (verdict.py). The report as text is table.py, as a picture
plot.py.
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
from fastrnn.checking.table import lines_of

NO_GRADIENT = "no gradient given"  # a variable's note


@dataclass(frozen=True)
class Coordinate:
    """One entry of a gradient, compared.

    Attributes:
        name: in the user's terms, weight_hh_l1_reverse[gate f, unit 3, from 7].
        variable: name of the array it is in.
        index: its place in that array.
        analytic: the gradient that is checked, there.
        numeric: the derivative, computed from values of the function.
        error: |analytic - numeric|.
        relative: the error, relative to the larger of the two.
        ulp: the error in units in the last place of the largest entry of the array.
        tolerance: the largest error that is accepted.
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
        """The error in tolerances: above 1 is wrong."""
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
    """What was found for one array.

    Attributes:
        name: name of the array.
        shape: its shape.
        checked: number of coordinates compared; 0 in mode project.
        kinks: number of coordinates skipped because the function has no derivative there.
        wrong: number of coordinates that differ; in mode project 1 if its projections do.
        worst: the coordinate with the largest error in tolerances, or None.
        cosine: cosine of the angle between gradient and derivative; nan where unknown.
        ratio: ratio of their norms; nan where unknown.
        gates: gate -> its largest error, in tolerances.
        note: a remark, e.g. why nothing was compared.
        unclear: number of coordinates of which nothing can be said.
        why: the first of these, and why.
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
    unclear: int = 0
    why: str = ""


@dataclass
class GradcheckReport:
    """The result of `gradcheck`; true where it passed.

    Attributes:
        ok: all that was looked at is right; False also where nothing can be said.
        target: name of what was checked.
        kind: "function", "pair", "layer", "torch function" or "torch module".
        method: how derivatives were taken, and why that way.
        mode: "full", "sample" or "project".
        seed: seed of everything random.
        variables: one VariableReport for each array.
        worst: the coordinate with the largest error in tolerances; None in mode project if all
            is right.
        top: the five worst coordinates.
        properties: the other properties tested, a Property each.
        hints: likely causes, read off the pattern of the errors.
        location: where in time a recurrent target goes wrong, or None.
        sweep: (h, error) of central differences at the worst coordinate, after a failure.
        projections: (analytic, numeric, tolerance) of each projection, in mode project.
        miss: the probability with which mode project misses an error of `miss_size`.
        miss_size: that error, relative to the gradient of one variable; None in other modes.
        seconds: duration of the check.
        unmeasured: why the gradient could not be checked, "" if it could; then it is not ok either.
        notes: remarks, e.g. which inputs were taken as constants.
        environment: versions and number of threads.
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
    unmeasured: str = ""
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
            absent = [v.name for v in self.variables if v.note == NO_GRADIENT]
            without = f", no gradient given of {', '.join(absent)}" if absent else ""
            return f"{start}right, {compared}{skipped}{without} ({self.method})"
        wrong = [v.name for v in self.variables if v.wrong]
        if self.unmeasured and not wrong and all(p.ok for p in self.properties):
            return f"{start}COULD NOT BE CHECKED: {self.unmeasured} ({compared}{skipped})"
        failed = [p.name for p in self.properties if not p.ok]
        parts = ([f"wrong gradient of {', '.join(wrong)}"] if wrong else []) + failed
        parts += [f"could not be checked: {self.unmeasured}"] * bool(self.unmeasured)
        return f"{start}FAILED: {'; '.join(parts)} ({compared}{skipped})"

    def table(self) -> str:
        """Return everything as text, for a terminal or a log."""
        return "\n".join(text for _, text in self.lines())

    def lines(self) -> list[tuple[str, str]]:
        """Return the table as (kind, text), line by line; see table.lines_of."""
        return lines_of(self)

    def to_json(self, **options: Any) -> str:
        """Return everything as JSON.

        Args:
            options: keyword arguments of json.dumps, e.g. indent=2.
        """
        return json.dumps(_plain(self), **options)

    def plot(self, path: Any) -> None:
        """Draw the errors per variable and gate, over time, and the V-curve, into a file.

        Args:
            path: the file to write; its ending chooses the format: .png, .svg, .pdf or .jpg.

        Raises:
            ModuleNotFoundError: matplotlib is not installed.
            ValueError: the ending is none of these.
            OSError: the file cannot be written.
        """
        from fastrnn.checking.plot import draw

        draw(self, path)


class GradcheckError(AssertionError):
    """A gradient is wrong; the message is the report, and `report` the report itself."""

    __module__ = "fastrnn"  # keeps a traceback's last line short enough to show the message

    def __init__(self, report: GradcheckReport):
        super().__init__(report.table())
        self.report = report

    def __reduce__(self):
        return GradcheckError, (self.report,)


def environment() -> dict[str, str]:
    """Return the versions and the number of threads that a result may depend on."""
    from fastrnn.kernels.threads import get_num_threads

    versions = {"python": platform.python_version(), "fastrnn": _version("fastrnn")}
    versions |= {name: _version(name) for name in ("numpy", "numba")}
    return versions | {"threads": str(get_num_threads())}


def coordinate(judged, index: tuple[int, ...]) -> Coordinate:
    """Return one entry of a `coordinates.Judged`, for the cotangent with the largest error."""
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


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def _plain(value: Any) -> Any:
    """Return a value in JSON's types; NaN becomes null, infinity a string."""
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
