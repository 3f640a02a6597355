"""Derivatives along a line from values of the function alone, each with an estimate of its error.

A line is a function of one number: s -> all outputs at x + s v, as one vector. What v is, a
coordinate or a random direction, and what is compared with the result, is others' business.

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
CENTRAL_STEP = EPS ** (1 / 3)  # where truncation h**2 and rounding eps / h are alike
RICHARDSON_STEP = 2.0**-7
_SHRINK = 8.0  # to the next step, where the tableau does not settle
_SMALLEST = 2.0**-26  # below, noise is all that is left
_NOISE_STEP = 2.0**-40  # thousands of roundings wide, and too narrow for curvature
_COARSE_STEP = 2.0**-20  # the same in float32
SETTLED = 1e-9  # relative to the derivative: good enough not to look at smaller steps


class Derivative(NamedTuple):
    """The derivative of all outputs along a line.

    Attributes:
        value: like the outputs.
        error: estimate of the 2-norm of its error.
        step: the largest step it was taken with.
    """

    value: NDArray[Any]
    error: float
    step: float


def _norm(vector: NDArray[Any]) -> float:
    norm = float(np.sqrt(np.dot(vector, vector)))  # of a vector; np.linalg.norm takes longer
    return norm if np.isfinite(norm) else np.inf


def noise(line: Line) -> float:
    """Return the 2-norm of the rounding noise in the outputs (Moré & Wild 2011).

    Third differences of four or seven values beside each other: what is smooth falls out of them.
    Outputs that do not move at all are looked at again from further apart: a function that
    computes in float32, whatever it is given, is a staircase.
    """
    first = line(_NOISE_STEP)
    places = range(2, 5 if first.size > 64 else 8)  # many outputs are many samples
    values = np.stack([first, *(line(k * _NOISE_STEP) for k in places)])
    still = (values == values[0]).all(axis=0)
    size = np.hypot(_third_differences(values), EPS / 4 * _norm(values[0]))
    if still.any():
        coarse = np.stack([line(k * _COARSE_STEP) for k in range(1, 8)])[:, still]
        size = np.hypot(size, _third_differences(coarse))
    return float(size) if np.isfinite(size) else np.inf


def _third_differences(values: NDArray[Any]) -> float:
    """Return the noise that they show: of independent noise they are sqrt(20) times as large."""
    with np.errstate(all="ignore"):
        differences = np.diff(values, 3, axis=0)
        return float(np.sqrt(np.mean(np.sum(differences * differences, axis=1)) / 20))


def complex_step(line: Line, step: float) -> Derivative:
    """Return Im f(x + i h v) / h: nothing is subtracted, so h may be tiny and the error is eps.

    What f itself is rounded by does not matter, however large: that the gradient may be made of
    rounded outputs is evaluation.behind.
    """
    value = np.imag(line(1j * step)) / step
    return Derivative(value, 16 * EPS * _norm(value), step)


def central(line: Line, step: float, noise: float) -> Derivative:
    """Return (f(x + h v) - f(x - h v)) / 2h; its error is estimated from that at 2h."""
    near, far = _difference(line, step), _difference(line, 2 * step)
    return Derivative(near, _norm(far - near) / 3 + noise / step, step)


def richardson(
    line: Line, step: float, noise: float, agrees: Callable[[Derivative], bool] | None = None
) -> Derivative:
    """Return central differences at h to h/8, extrapolated to h = 0, where they settle.

    The last two entries of the tableau, from h and from h/2, differ by nearly the error of the
    first, and the second is returned, whose error is a 64th of that where the function is smooth;
    an 8th is taken. Norms are over all outputs, so that no accident in one makes them small.
    Where the differences themselves do not fall with h**2, there is a kink within h, and the
    error is theirs.

    Args:
        line: to be differentiated.
        step: h at first; where nothing settles, it is made smaller.
        noise: see `noise`.
        agrees: whether a derivative is what it was expected to be. Agreement to nearly the last
            digit needs no careful estimate, as nobody agrees with an error by chance: then the
            differences at h to h/4 are enough. Disagreement does.
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
    """Return the error that noise in f gives the extrapolated derivative: it weighs D(h/8)."""
    return 8 * noise / step


def _extrapolated(differences: list) -> list[list]:
    """Return the columns of the tableau: of errors h**2, h**4, h**6."""
    first = [(4 * near - far) / 3 for far, near in itertools.pairwise(differences)]
    second = [(16 * near - far) / 15 for far, near in itertools.pairwise(first)]
    return [differences, first, second]


@np.errstate(all="ignore")
def _quick(differences: list, step: float, noise: float) -> Derivative:
    """Return the derivative from h, h/2 and h/4; its error as it is if all goes as it should."""
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
    if not np.isfinite(error):  # of no value, but there may be smaller steps
        return Derivative(value, np.inf, step)
    for far, near in itertools.pairwise(falls):
        if near > rounding and not 3 * near < far < 5 * near:
            error = max(error, *falls)
    return Derivative(value, error + rounding + 4 * EPS * _norm(value), step)


def _difference(line: Line, step: float) -> NDArray[Any]:
    return (line(step) - line(-step)) / (2 * step)


def is_kinked(line: Line, noise: float, nearest: float = 2.0**-24) -> bool:
    """Return whether the slopes to the left and to the right go on differing as h falls.

    The second difference of a smooth function falls with h**2, that of a kink with h. Beside a
    pole it does not fall before h is well within the distance, so that three steps are looked at.

    Args:
        line: to be looked at.
        noise: see `noise`.
        nearest: kinks nearer than that count; not below the step of the derivative.
    """
    steps = (2.0**-8, 2.0**-16, nearest)
    here, bends, floors = line(0.0), [], []
    with np.errstate(all="ignore"):
        for h in steps:
            right, left = line(h), line(-h)
            bends.append(_norm(right - 2 * here + left) / h)
            floors.append(16 * max(noise, EPS / 4 * _norm(right), EPS / 4 * _norm(left)) / h)
    if not np.isfinite(bends[-1]):  # the edge of its domain, if there is a value at all
        return bool(np.isfinite(here).all())
    far, near, last = bends
    if not np.isfinite(near):  # as smooth as can be told
        return False
    return near > 0.1 * far and near > floors[1] and last > 0.1 * near - floors[2]


def sweep(line: Line, cotangent: NDArray[Any], analytic: float) -> list[tuple[float, float]]:
    """Return (h, |central difference - analytic|) for h from 0.1 down to 1e-11: the V-curve.

    Falling with slope 2 and then rising as 1/h: the gradient is right. Flat: it is wrong.
    """
    steps = 10.0 ** -np.arange(1, 12)
    with np.errstate(all="ignore"):
        return [(float(h), abs(float(cotangent @ _difference(line, h)) - analytic)) for h in steps]
