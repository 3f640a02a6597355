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

Line = Callable[[Any], NDArray[Any]]

EPS = float(np.finfo(np.float64).eps)
COMPLEX_STEP = 1e-150  # tiny beside any input, and its cube is 0: no truncation even at x**3
CENTRAL_STEP = EPS ** (1 / 3)  # where truncation h**2 and rounding eps / h are equal
RICHARDSON_STEP = 2.0**-7
_SHRINK = 8.0  # factor to the next step, if the tableau does not converge
_SMALLEST = 2.0**-26  # below it only noise is left
_NOISE_STEP = 2.0**-40  # thousands of rounding errors wide, and too narrow for curvature
_COARSE_STEP = 2.0**-20  # the same in float32
SETTLED = 1e-9  # error relative to the derivative that makes smaller steps unnecessary


class Derivative(NamedTuple):
    """The derivative of all outputs along a line.

    Attributes:
        value: the derivative of each output entry.
        error: estimate of the 2-norm of its error.
        step: the largest step used.
    """

    value: NDArray[Any]
    error: float
    step: float


def _norm(vector: NDArray[Any]) -> float:
    norm = float(np.sqrt(np.dot(vector, vector)))  # faster than np.linalg.norm
    return norm if np.isfinite(norm) else np.inf


def noise(line: Line) -> float:
    """Return the 2-norm of the rounding noise in the outputs (Moré & Wild 2011).

    Third differences of four or seven neighbouring values, in which the smooth part cancels.
    Outputs that do not move at all are sampled again further apart: a function that computes in
    float32, whatever it is given, is a staircase.

    Args:
        line: the outputs along a direction.
    """
    first = line(_NOISE_STEP)
    places = range(2, 5 if first.size > 64 else 8)  # with many outputs, few values are enough
    values = np.stack([first, *(line(k * _NOISE_STEP) for k in places)])
    still = (values == values[0]).all(axis=0)
    size = np.hypot(_third_differences(values), EPS / 4 * _norm(values[0]))
    if still.any():
        coarse = np.stack([line(k * _COARSE_STEP) for k in range(1, 8)])[:, still]
        size = np.hypot(size, _third_differences(coarse))
    return float(size) if np.isfinite(size) else np.inf


def _third_differences(values: NDArray[Any]) -> float:
    """Return the noise in values: their third differences have sqrt(20) times its deviation."""
    with np.errstate(all="ignore"):
        differences = np.diff(values, 3, axis=0)
        return float(np.sqrt(np.mean(np.sum(differences * differences, axis=1)) / 20))


def complex_step(line: Line, step: float) -> Derivative:
    """Return Im f(x + i h v) / h: nothing is subtracted, so h may be tiny and the error is eps.

    Rounding in f itself does not matter, however large. Rounding in a gradient that is computed
    from the outputs does: see Evaluation.unsaturated_scale.

    Args:
        line: the outputs along v; takes complex numbers.
        step: h.
    """
    value = np.imag(line(1j * step)) / step
    return Derivative(value, 16 * EPS * _norm(value), step)


def central(line: Line, step: float, noise: float) -> Derivative:
    """Return (f(x + h v) - f(x - h v)) / 2h, its error estimated from the same at 2h.

    Args:
        line: the outputs along v.
        step: h.
        noise: of the outputs; see `noise`.
    """
    near, far = _difference(line, step), _difference(line, 2 * step)
    return Derivative(near, _norm(far - near) / 3 + noise / step, step)


def richardson(
    line: Line, step: float, noise: float, agrees: Callable[[Derivative], bool] | None = None
) -> Derivative:
    """Return central differences at h to h/8, extrapolated to h = 0, for an h where this converges.

    The last two entries of the tableau, from h and from h/2, differ by about the error of the
    first. The second is returned; its error is 1/64 of that where the function is smooth, and
    taken as 1/8. Norms are over all outputs, so that no coincidence in one makes them small.
    Where the differences do not shrink like h**2, there is a kink within h, and the error
    estimate is the size of these differences.

    Args:
        line: the outputs along a direction.
        step: the first h; smaller ones are tried if the extrapolation does not converge.
        noise: of the outputs; see `noise`.
        agrees: whether a derivative is the one that was expected. If it agrees to nearly the last
            digit, which does not happen by chance, the differences at h to h/4 are enough;
            otherwise the error is estimated with more care. None: always with care.
    """
    d = [_difference(line, step / n) for n in (1, 2, 4)]
    if agrees is not None:
        quick = _quick(d, step, noise)
        if quick.error <= 4 * _rounding(noise, step) and agrees(quick):
            return quick
    best = Derivative(np.zeros(0), np.inf, step)
    while True:
        found = _tableau([*d, _difference(line, step / 8)], step, noise)
        if found.error < best.error or not best.value.size:
            best = found
        settled = max(SETTLED * _norm(best.value), 2 * _rounding(noise, step))
        if np.isfinite(best.error) and best.error <= settled:
            return best
        step /= _SHRINK
        if step < _SMALLEST or _rounding(noise, step) > best.error:
            return best
        d = [_difference(line, step / n) for n in (1, 2, 4)]


def _rounding(noise: float, step: float) -> float:
    """Return the error of the extrapolated derivative due to noise in f; D(h/8) dominates it."""
    return 8 * noise / step


def _extrapolated(differences: list) -> list[list]:
    """Return the columns of the tableau, with errors of order h**2, h**4 and h**6."""
    first = [(4 * near - far) / 3 for far, near in itertools.pairwise(differences)]
    second = [(16 * near - far) / 15 for far, near in itertools.pairwise(first)]
    return [differences, first, second]


@np.errstate(all="ignore")
def _quick(differences: list, step: float, noise: float) -> Derivative:
    """Return the derivative from h, h/2 and h/4; its error assumes that the function is smooth."""
    d, r, [value] = _extrapolated(differences)
    gained, before = _norm(value - r[-1]), _norm(r[-1] - d[-1])
    error = gained * min(1.0, 4 * gained / before) if before else gained
    return Derivative(value, error + _rounding(noise, step), step)


@np.errstate(all="ignore")
def _tableau(differences: list, step: float, noise: float) -> Derivative:
    """Return the derivative from h to h/8, with a careful estimate of its error."""
    _, _, [before, value] = _extrapolated(differences)
    error = _norm(value - before) / 8
    falls = [_norm(near - far) for far, near in itertools.pairwise(differences)]
    rounding = _rounding(noise, step)
    if not np.isfinite(error):  # useless, but smaller steps may do
        return Derivative(value, np.inf, step)
    for far, near in itertools.pairwise(falls):
        if near > rounding and not 3 * near < far < 5 * near:
            error = max(error, *falls)
    return Derivative(value, error + rounding + 4 * EPS * _norm(value), step)


def _difference(line: Line, step: float) -> NDArray[Any]:
    return (line(step) - line(-step)) / (2 * step)


def is_kinked(line: Line, noise: float, nearest: float = 2.0**-24) -> bool:
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
            bends.append(_norm(right - 2 * here + left) / h)
            floors.append(16 * max(noise, EPS / 4 * _norm(right), EPS / 4 * _norm(left)) / h)
    if not np.isfinite(bends[-1]):  # the edge of its domain, if it has a value here at all
        return bool(np.isfinite(here).all())
    far, near, last = bends
    if not np.isfinite(near):  # no sign of a kink
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
