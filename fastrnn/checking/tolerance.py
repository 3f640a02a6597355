"""How far a gradient may be from the numeric derivative: the tolerance asked for, or measured.

By default nothing is asked for, and the tolerance is the sum of the known uncertainties of both
sides, each with a safety factor. Where the uncertainties come from: derivatives.py, evaluation.py.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastrnn.checking.options import CheckOptions

NUMERIC_SAFETY = 10.0  # times the estimated error of the numeric derivative
# Times the measured noise of the analytic gradient: noise is a standard deviation, but the largest
# error of thousands of entries counts.
ANALYTIC_SAFETY = 12.0
ULPS = 16.0  # units in the last place of the largest entry of the array
SATURATED_ULPS = 4.0  # of Evaluation.unsaturated_scale


def requested(options: CheckOptions, numeric: Any) -> Any:
    """Return atol + rtol * |numeric|, as in torch, or None if neither is given.

    Args:
        options: of the check.
        numeric: a derivative, or an array of them.
    """
    if options.atol is None and options.rtol is None:
        return None
    return (options.atol or 0.0) + (options.rtol or 0.0) * np.abs(numeric)


def measured(
    analytic: NDArray[Any], eps: float, unsaturated_scale: float, error: float, noise: float
) -> NDArray[Any]:
    """Return the tolerance at one coordinate that follows from the known uncertainties.

    These are the estimated error of the numeric derivative, the noise of the analytic gradient,
    some units in the last place of its array's largest entry, and a few of `unsaturated_scale`, as
    the derivative 1 - h**2 of a saturated unit is exact only to the last place of 1.

    Args:
        analytic: gradients of the whole array, with a leading axis of cotangents.
        eps: machine epsilon of the arithmetic that is checked.
        unsaturated_scale: of the array; see Evaluation.
        error: estimated error of the numeric derivative.
        noise: standard deviation of the rounding noise in the gradient at that coordinate.

    Returns:
        One tolerance for each cotangent.
    """
    finite = np.abs(np.where(np.isfinite(analytic), analytic, 0))
    largest = np.nanmax(finite, axis=tuple(range(1, analytic.ndim)))
    return (
        NUMERIC_SAFETY * error
        + ANALYTIC_SAFETY * noise
        + ULPS * eps * largest
        + SATURATED_ULPS * eps * unsaturated_scale
    )
