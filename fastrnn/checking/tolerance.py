"""How far a gradient may be from the numeric derivative: the tolerance asked for, or measured.

By default nothing is asked for, and the tolerance is the sum of the known uncertainties of both
sides, each with a safety factor. Where the uncertainties come from: derivatives.py, rounding.py.
A tolerance that is no smaller than what it is applied to says nothing: `of_use` tells.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastrnn.checking.options import CheckOptions

NUMERIC_SAFETY = 10.0  # times the estimated error of the numeric derivative
# Times the measured noise of the analytic gradient: noise is a standard deviation, but the largest
# error of thousands of entries counts.
ANALYTIC_SAFETY = 12.0
ULPS = 16.0  # units in the last place of the largest entry of the array
SATURATED_ULPS = 4.0  # of rounding.unsaturated_scale
SHARP = 0.1  # share of the derivative that a tolerance may be if all of it was measured there
SAFE = 1e-6  # and if it comes from the sizes of other entries


class Uncertainty(NamedTuple):
    """What is known of the analytic side at one coordinate, one number for each cotangent.

    Attributes:
        noise: standard deviation of the rounding noise, measured at that coordinate.
        usual: the median of the same over the whole array.
        largest: the largest entry of the array.
        unsaturated: see rounding.unsaturated_scale.
        eps: machine epsilon of the arithmetic that is checked.
    """

    noise: Any
    usual: Any
    largest: Any
    unsaturated: Any
    eps: float


def requested(options: CheckOptions, numeric: Any) -> Any:
    """Return atol + rtol * |numeric|, as in torch, or None if neither is given.

    Args:
        options: of the check.
        numeric: a derivative, or an array of them.
    """
    if options.atol is None and options.rtol is None:
        return None
    return (options.atol or 0.0) + (options.rtol or 0.0) * np.abs(numeric)


def sharp(known: Uncertainty, error: NDArray[Any], terms: NDArray[Any]) -> NDArray[Any]:
    """Return the tolerance that follows from what was measured at the coordinate itself.

    These are the estimated error of the numeric derivative, the noise of the analytic gradient,
    and some units in the last place of the terms that it is the sum of.

    Args:
        known: of the analytic side.
        error: estimated error of the numeric derivative.
        terms: sum of the absolute values of the terms of the derivative.
    """
    return NUMERIC_SAFETY * error + ANALYTIC_SAFETY * known.noise + ULPS * known.eps * terms


def wide(known: Uncertainty, error: NDArray[Any], terms: NDArray[Any]) -> NDArray[Any]:
    """Return the tolerance beyond which a gradient is wrong: nothing can explain it.

    Besides what was measured at the coordinate, its rounding may be that of the rest of the array:
    the usual noise, some units in the last place of its largest entry, and a few of the
    unsaturated scale, as the derivative 1 - h**2 of a saturated unit is exact only to the last
    place of 1.

    Args:
        known: of the analytic side.
        error: estimated error of the numeric derivative.
        terms: as for `sharp`.
    """
    others = ULPS * known.largest + SATURATED_ULPS * known.unsaturated
    return sharp(known, error, terms) + 2 * ANALYTIC_SAFETY * known.usual + known.eps * others
