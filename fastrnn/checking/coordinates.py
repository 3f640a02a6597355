"""Modes full and sample: each coordinate's gradient against the derivative along that coordinate.

The outputs are contracted with Gaussian cotangents, each of which gives one gradient: an error in
any entry of the Jacobian changes them with probability 1. Random directions through all
coordinates at once are in projections.py.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastrnn.checking import derivatives
from fastrnn.checking.evaluation import Evaluation
from fastrnn.checking.problem import Variable, flat
from fastrnn.checking.tolerance import measured, requested

COTANGENTS = 2
_SEGMENTS = 8  # of time, each of which sample mode draws from

ProgressCallback = Callable[[int, int], None]  # (done, total)


class Judged(NamedTuple):
    """The comparison of one variable's gradients.

    Arrays have the variable's shape, the first three with a leading axis of cotangents.

    Attributes:
        variable: the variable.
        analytic: the gradients being checked; NaN where the target gave none.
        numeric: the derivatives they should equal; NaN where none was computed.
        tolerance: how far apart the two may be.
        kinks: where the function has no derivative.
        given: the target returned a gradient for the variable.
    """

    variable: Variable
    analytic: NDArray[Any]
    numeric: NDArray[Any]
    tolerance: NDArray[Any]
    kinks: NDArray[np.bool_]
    given: bool

    @property
    def compared(self) -> NDArray[np.bool_]:
        """Which coordinates were compared."""
        return ~np.isnan(self.numeric[0]) & ~self.kinks

    @property
    def excess(self) -> NDArray[Any]:
        """The error in tolerances, the largest of the cotangents; 0 where nothing was compared."""
        away = np.abs(self.analytic - self.numeric)
        away = np.where(away == 0, 0.0, away / self.tolerance)
        away = np.where(np.isnan(away), np.inf, away).max(axis=0)
        return np.where(self.compared, away, 0.0)

    @property
    def wrong(self) -> NDArray[np.bool_]:
        """Where the gradient differs from the derivative."""
        return self.excess > 1


def judge(evaluation: Evaluation, progress: ProgressCallback | None = None) -> list[Judged]:
    """Compare every coordinate, or in mode "sample" some of every stratum.

    Args:
        evaluation: of the target.
        progress: called with (done, total) after each coordinate.
    """
    options, problem = evaluation.options, evaluation.problem
    random = options.random(3)
    cotangents = [evaluation.cotangents(random) for _ in range(COTANGENTS)]
    vectors = np.stack([flat(c).astype(np.float64) for c in cotangents])
    gradients = [evaluation.gradients(c) for c in cotangents]
    noise = [
        np.maximum(*pair)
        for pair in zip(*[evaluation.gradient_noise(c) for c in cotangents], strict=True)
    ]
    plans = [list(_coordinates(evaluation, v)) for v in problem.variables]
    total, done = sum(map(len, plans)), 0
    result = []
    for i, variable in enumerate(problem.variables):
        mine = [own for g in gradients if (own := g[i]) is not None]
        given = len(mine) == COTANGENTS
        shape = (COTANGENTS, *variable.value.shape)
        judged = Judged(
            variable,
            np.stack(mine) if given else np.full(shape, np.nan),
            np.full(shape, np.nan),
            np.full(shape, np.nan),
            np.zeros(variable.value.shape, bool),
            given,
        )
        for index in plans[i] if given else ():
            _compare(evaluation, i, index, judged, vectors, noise[i])
            done += 1
            if progress is not None:
                progress(done, total)
        result.append(judged)
    return result


def _compare(evaluation, i, index, judged, vectors, noise):
    line, unit = evaluation.at(i, index)
    at = (slice(None), *index)

    def agrees(found):
        numeric = vectors @ found.value / unit
        judged.numeric[at] = np.where(np.isnan(numeric), np.inf, numeric)  # NaN means not compared
        judged.tolerance[at] = tolerance(
            evaluation, i, judged.analytic, judged.numeric[at], found.error / unit, noise[index]
        )
        away = np.abs(judged.analytic[at] - judged.numeric[at])
        return bool(np.all(np.isfinite(away) & (away <= judged.tolerance[at])))

    close = agrees(evaluation.derivative(line, agrees=agrees))
    if evaluation.options.check_kinks and not close:
        judged.kinks[index] = derivatives.is_kinked(line, evaluation.noise, evaluation.nearest)


def tolerance(
    evaluation: Evaluation, i: int, analytic, numeric, error: float, noise: float
) -> NDArray[Any]:
    """Return how far an analytic derivative may be from a numeric one.

    Args:
        evaluation: of the target.
        i: number of the variable.
        analytic: gradients of the whole variable, with a leading axis of cotangents.
        numeric: derivatives at one coordinate, one for each cotangent.
        error: estimated error of `numeric`.
        noise: standard deviation of the rounding noise in `analytic` at that coordinate.
    """
    asked = requested(evaluation.options, numeric)
    if asked is not None:
        return asked
    scale = evaluation.unsaturated_scale[i]
    return measured(analytic, evaluation.problem.eps, scale, error, noise)


def _coordinates(evaluation: Evaluation, variable: Variable) -> Iterator[tuple[int, ...]]:
    """Yield the coordinates to compare: all of them, or n_samples of every stratum."""
    shape = variable.value.shape
    if evaluation.options.mode == "full":
        yield from np.ndindex(shape)
        return
    random = evaluation.options.random(4)
    numbers = np.arange(variable.value.size).reshape(shape)
    for stratum in strata(variable, numbers):
        members = stratum.ravel()
        count = min(len(members), evaluation.options.n_samples)
        for number in random.choice(members, count, replace=False):
            yield tuple(int(i) for i in np.unravel_index(number, shape))


def strata(variable: Variable, array: NDArray[Any]) -> list[NDArray[Any]]:
    """Return the parts of an array, shaped like the variable, that are sampled separately.

    These are the rows of each gate, the segments of a sequence, or each layer and direction of a
    state. A layer's parameters are variables of their own.

    Args:
        variable: says what the axes are.
        array: is cut.
    """
    if variable.time is not None and array.size:
        return np.array_split(array, min(_SEGMENTS, array.shape[variable.time]), variable.time)
    if variable.axes[:1] == ("layer",):
        return list(array)
    return [array[rows] for _, rows in variable.blocks()] if array.ndim else [array]
