"""Derivatives along a line from values of the function alone, each with an estimate of its error.

A line is a function of one number: s -> all outputs at x + s v, as one vector. Whether v is one
coordinate (coordinates.py) or a random direction (projections.py) makes no difference here.

Sources: central differences and Richardson's extrapolation: Richardson 1911; with an error taken
from the tableau: Ridders 1982, "Accurate computation of F'(x) and F'(x)F''(x)". Complex step:
Squire & Trapp 1998, "Using complex variables to estimate derivatives of real functions". Noise:
Moré & Wild 2011, "Estimating computational noise".
"""

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastrnn.checking.arrays import norm

Line = Callable[[Any], NDArray[Any]]

EPS = float(np.finfo(np.float64).eps)
COMPLEX_STEP = 2.0**-100  # far below any length scale, and its products do not underflow yet
COARSE_COMPLEX_STEP = 2.0**-30  # where they would: its square is still below rounding
CENTRAL_STEP = EPS ** (1 / 3)  # where truncation h**2 and rounding eps / h are equal
RICHARDSON_STEP = 2.0**-7
_SHRINK = 8.0  # factor to the next step, if the tableau does not converge
_SMALLEST = 2.0**-36  # below it only noise is left
_NOISE_STEP = 2.0**-40  # thousands of rounding errors wide, and too narrow for curvature
_COARSER_STEPS = (2.0**-20, 2.0**-10)  # the same in float32, and in float16
_USUAL_NOISE = 16 * EPS  # relative; a median above it is no rounding of single operations
_LEAST = float(np.finfo(np.float64).smallest_subnormal)
_JUMPS = 32.0  # growth, at a step 256 times smaller, of slopes that have no limit
SETTLED = 1e-9  # error relative to the derivative that makes smaller steps unnecessary


class Derivative(NamedTuple):
    """The derivative of all outputs along a line.

    Attributes:
        value: the derivative of each output entry.
        error: estimate of the error of each.
        step: the largest step used.
    """

    value: NDArray[Any]
    error: NDArray[Any]
    step: float


@np.errstate(all="ignore")
def noise(line: Line, resolution: Any = EPS) -> NDArray[Any]:
    """Return the rounding noise of each output (Moré & Wild 2011).

    Third differences of four or seven neighbouring values, in which the smooth part cancels.
    Outputs that do not move at all are sampled again further apart: a function that computes in
    float32, whatever it is given, is a staircase. As a few values may agree by chance, no output
    counts as less noisy, for its size, than most.

    Args:
        line: the outputs along a direction.
        resolution: machine epsilon of each output's dtype.
    """
    first = line(_NOISE_STEP)
    places = range(2, 5 if first.size > 64 else 8)  # with many outputs, few values are enough
    values = np.stack([first, *(line(k * _NOISE_STEP) for k in places)])
    size = np.abs(first)
    found = np.hypot(spread(values), resolution * size / 4)
    still = (values == values[0]).all(axis=0)
    for step in _COARSER_STEPS:
        if not still.any():
            break
        coarse = np.stack([line(k * step) for k in range(1, 8)])[:, still]
        found[still] = np.hypot(found[still], spread(coarse))
        still[still] = (coarse == coarse[0]).all(axis=0)
    relative = (found / size)[(size > 0) & np.isfinite(found)]
    usual = 2 * min(float(np.median(relative)), _USUAL_NOISE) if relative.size else 0.0
    found = np.maximum(np.maximum(found, usual * size), _LEAST * (size > 0))
    return np.where(np.isfinite(found), found, np.inf)


def spread(values: NDArray[Any]) -> NDArray[Any]:
    """Return the noise in neighbouring values: third differences have sqrt(20) times its deviation.

    Args:
        values: along the first axis.
    """
    exponent = np.frexp(np.abs(values).max(axis=0))[1]
    differences = np.diff(np.ldexp(values, -exponent), 3, axis=0)  # whose squares are finite
    return np.ldexp(np.sqrt(np.mean(differences * differences, axis=0) / 20), exponent)


def complex_step(line: Line, step: float, least: Any = _LEAST) -> Derivative:
    """Return Im f(x + i h v) / h: nothing is subtracted, so h may be tiny and the error is eps.

    Rounding in f itself does not matter, however large. Rounding in a gradient that is computed
    from the outputs does: see Evaluation.unsaturated_scale. What underflows on the way is an
    error too, of the smallest number there is over h.

    Args:
        line: the outputs along v; takes complex numbers.
        step: h.
        least: the smallest number, in the unit of each output.
    """
    value = np.imag(line(1j * step)) / step
    return Derivative(value, 16 * EPS * np.abs(value) + 2 * least / step, step)


def central(line: Line, step: float, noise: NDArray[Any]) -> Derivative:
    """Return (f(x + h v) - f(x - h v)) / 2h, its error estimated from the same at 2h.

    Args:
        line: the outputs along v.
        step: h.
        noise: of the outputs; see `noise`.
    """
    near, far = _difference(line, step), _difference(line, 2 * step)
    return Derivative(near, np.abs(far - near) / 3 + noise / step, step)


def richardson(
    line: Line, step: float, noise: NDArray[Any], agrees: Callable[[Derivative], bool] | None = None
) -> Derivative:
    """Return central differences at h to h/8, extrapolated to h = 0, for an h where this converges.

    The last two entries of the tableau, from h and from h/2, differ by about the error of the
    first. The second is returned; its error is 1/64 of that where the function is smooth, and
    taken as 1/8. Whether it converges is judged by norms over all outputs, so that no coincidence
    in one misleads. Where the differences do not shrink like h**2, there is a kink within h, and
    the error estimate is the size of these differences.

    Args:
        line: the outputs along a direction.
        step: the first h; smaller ones are tried if the extrapolation does not converge.
        noise: of the outputs; see `noise`.
        agrees: whether a derivative is the one that was expected. If it agrees to nearly the last
            digit, which does not happen by chance, the differences at h to h/4 are enough;
            otherwise the error is estimated with more care. None: always with care.
    """
    d, floor = _differences(line, step, noise)
    if agrees is not None:
        quick = _quick(d, step, floor / step)
        if norm(quick.error) <= 4 * norm(floor / step) and agrees(quick):
            return quick
    best, least = Derivative(np.zeros(0), np.zeros(0), step), np.inf
    while True:
        found = _tableau([*d, _difference(line, step / 8)], step, floor / step)
        size = norm(found.error)
        if size < least or not best.value.size:
            best, least = found, size
        settled = max(SETTLED * norm(best.value), 2 * norm(floor / step))
        if np.isfinite(least) and least <= settled:
            return best
        step /= _SHRINK
        if step < _SMALLEST or norm(floor / step) > least:
            return best
        d, floor = _differences(line, step, noise)


def _differences(line: Line, step: float, noise: NDArray[Any]) -> tuple[list, NDArray[Any]]:
    """Return central differences at h, h/2 and h/4, and 8 times the noise of the values.

    That over h is the error of the extrapolated derivative due to rounding; D(h/8) dominates it.
    Values that are larger at x + h v than at x are rounded more coarsely there.
    """
    right, left = line(step), line(-step)
    here = np.maximum(np.abs(right), np.abs(left))
    first = _halved(right, left) / step
    return (
        [first, *(_difference(line, step / n) for n in (2, 4))],
        8 * np.maximum(noise, EPS / 4 * here),
    )


def _extrapolated(differences: list) -> list[list]:
    """Return the columns of the tableau, with errors of order h**2, h**4 and h**6."""
    first = [(4 * near - far) / 3 for far, near in itertools.pairwise(differences)]
    second = [(16 * near - far) / 15 for far, near in itertools.pairwise(first)]
    return [differences, first, second]


@np.errstate(all="ignore")
def _quick(differences: list, step: float, rounding: NDArray[Any]) -> Derivative:
    """Return the derivative from h, h/2 and h/4; its error assumes that the function is smooth."""
    d, r, [value] = _extrapolated(differences)
    change = value - r[-1]
    gained, before = norm(change), norm(r[-1] - d[-1])
    order = min(1.0, 4 * gained / before) if before else 1.0
    return Derivative(value, np.abs(change) * order + rounding, step)


@np.errstate(all="ignore")
def _tableau(differences: list, step: float, rounding: NDArray[Any]) -> Derivative:
    """Return the derivative from h to h/8, with a careful estimate of its error."""
    _, _, [before, value] = _extrapolated(differences)
    error = np.abs(value - before) / 8
    changes = [near - far for far, near in itertools.pairwise(differences)]
    if not np.isfinite(error).all():  # useless, but smaller steps may do
        return Derivative(value, np.full(value.shape, np.inf), step)
    falls, floor = [norm(change) for change in changes], norm(rounding)
    if any(
        near > floor and not 3 * near < far < 5 * near for far, near in itertools.pairwise(falls)
    ):
        error = np.maximum(error, np.abs(changes).max(axis=0))
    return Derivative(value, error + rounding + 4 * EPS * np.abs(value), step)


def _difference(line: Line, step: float) -> NDArray[Any]:
    return _halved(line(step), line(-step)) / step


def _halved(right: NDArray[Any], left: NDArray[Any]) -> NDArray[Any]:
    """Return half the difference."""
    return (right - left) / 2


def is_kinked(line: Line, noise: NDArray[Any], nearest: float = 2.0**-24) -> bool:
    """Return whether the left and right slopes still differ as h shrinks.

    The second difference of a smooth function falls like h**2, that of a kink like h. Near a pole
    it does not fall until h is well below the distance to it, so three steps are tried.

    Args:
        line: the outputs along a direction.
        noise: of the outputs; see `noise`.
        nearest: distance below which a kink counts; at least the step of the derivative.
    """
    steps = (2.0**-8, 2.0**-16, nearest)
    here, bends, floors = line(0.0), [], []
    with np.errstate(all="ignore"):
        for h in steps:
            right, left = line(h), line(-h)
            bends.append(norm((right - here) - (here - left)) / h)
            rounded = EPS / 4 * np.maximum(np.abs(right), np.abs(left))
            floors.append(16 * norm(np.maximum(noise, rounded)) / h)
    if not np.isfinite(bends[-1]):  # the edge of its domain, if it has a value here at all
        return bool(np.isfinite(here).all())
    far, near, last = bends
    if not np.isfinite(near):  # no sign of a kink
        return False
    if near > _JUMPS * far or last > _JUMPS * near:  # it jumps, or is too rough for any slope
        return False
    return near > 0.1 * far and near > floors[1] and last > 0.1 * near - floors[2]


def sweep(line: Line, cotangent: NDArray[Any], analytic: float) -> list[tuple[float, float]]:
    """Return (h, |central difference - analytic|) for h from 0.1 down to 1e-11: the V-curve.

    If it falls with slope 2 and then rises like 1/h, the gradient is right; if flat, wrong.

    Args:
        line: the outputs along a coordinate.
        cotangent: contracts the outputs to a number.
        analytic: the gradient along that coordinate.
    """
    steps = 10.0 ** -np.arange(1, 12)
    with np.errstate(all="ignore"):
        return [(float(h), abs(float(cotangent @ _difference(line, h)) - analytic)) for h in steps]
