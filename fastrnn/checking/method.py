"""Which numeric derivative a check uses: complex step, Richardson's extrapolation, or central.

The complex step is the best where it is possible, and whether it is, is found out by trying. How
each derivative is computed is in derivatives.py.
"""

import warnings
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastrnn.checking import derivatives
from fastrnn.checking.arrays import norm
from fastrnn.checking.derivatives import Line
from fastrnn.checking.options import CheckOptions
from fastrnn.checking.problem import Problem
from fastrnn.checking.tolerance import NUMERIC_SAFETY

_STEPS = {
    "complex": derivatives.COMPLEX_STEP,
    "richardson": derivatives.RICHARDSON_STEP,
    "central": derivatives.CENTRAL_STEP,
}


_FINE = 1e-12  # relative noise of outputs that is usual in float64
_LONGEST = 32.0
_ROUNDINGS = 100.0  # by which complex arithmetic may differ


class Method(NamedTuple):
    """How derivatives are taken, and why that way."""

    name: str  # "complex", "richardson", "central"
    step: float
    why: str


def choose(
    problem: Problem, options: CheckOptions, line: Line, length: float, noise: NDArray[Any]
) -> Method:
    """Return the method that the options ask for, or for "auto" the best that the target allows.

    Args:
        problem: the target.
        options: of the check.
        line: along a random direction, short enough to stay near the point.
        length: 2-norm that the direction had before it was made that short.
        noise: of the outputs; see derivatives.noise.

    Raises:
        ValueError: the complex step is asked for, and the target does not allow it.
    """
    asked = options.method

    def method(name, why):
        step = _STEPS[name] * (_lengthened(line, noise) if name == "richardson" else 1.0)
        return Method(name, options.eps or step, why)

    if asked in ("richardson", "central"):
        return method(asked, "asked for")
    if asked == "auto" and problem.kind == "layer":
        return method("richardson", "compiled kernels take no complex numbers")
    refused = _why_not_complex(line, options.eps or _STEPS["complex"], length, noise)
    if problem.kind == "layer" and not refused.startswith("raises"):
        return method("complex", "of the cell's equations, which the kernels have to equal")
    if not refused:
        return method("complex", "it takes complex numbers")
    if asked == "complex":
        raise ValueError(
            f"gradcheck: method='complex', but {problem.name} {refused}; use method='richardson', "
            "or 'auto'."
        )
    return method("richardson", f"in complex numbers it {refused}")


def _lengthened(line: Line, noise: NDArray[Any]) -> float:
    """Return by what the first step is longer for outputs that are rounded coarsely.

    Truncation of order h**6 and rounding, noise / h, are balanced.
    """
    size, rough = norm(line(0.0)), norm(noise)
    if not (np.isfinite(rough) and rough > _FINE * size > 0):
        return 1.0
    return min(2.0 ** np.round(np.log2(rough / size / derivatives.EPS) / 7), _LONGEST)


def _why_not_complex(line: Line, step: float, length: float, noise: NDArray[Any]) -> str:
    """Return what keeps a function from having a complex step, or ""."""
    here = line(0.0)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            there = line(1j * step)
    except Exception as error:
        return f"raises {type(error).__name__}"
    if there.dtype.kind != "c" or there.shape != here.shape:
        return "returns real numbers"
    size = np.abs(here)
    allowed = 1e-12 * size + 1e-13 * size.max(initial=0) + _ROUNDINGS * noise
    if not np.all(np.abs(np.real(there) - here) <= allowed):
        return "has other values"
    exact = derivatives.complex_step(line, step)
    if not exact.value.any():  # it may underflow
        exact = derivatives.complex_step(line, derivatives.COARSE_COMPLEX_STEP)
    other = derivatives.richardson(line, derivatives.RICHARDSON_STEP / length, noise)
    if not np.isfinite(exact.value).all():
        return "overflows"
    if not exact.value.any() and other.value.any():
        return "loses a step as small as the complex step's"
    # The largest is the scale of all, but for outputs in units of their own.
    size = np.maximum(np.abs(exact.value), np.abs(other.value)).max(initial=0)
    away = np.abs(exact.value - other.value)
    if not np.isfinite(other.error).all():
        return "cannot be compared with differences, which find no derivative here"
    if not np.all(away <= 1e-6 * size + NUMERIC_SAFETY * (other.error + exact.error)):
        return "is not analytic (abs, conj, or a comparison of complex numbers?)"
    return ""
