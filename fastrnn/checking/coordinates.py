"""Modes full and sample: one coordinate after the other, against the derivative along it.

The outputs are reduced by Gaussian cotangents, of which each gives one gradient: an error in any
entry of the Jacobian changes them with probability 1.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastrnn.checking import derivatives
from fastrnn.checking.evaluation import ANALYTIC_SAFETY, NUMERIC_SAFETY, ULPS, Evaluation
from fastrnn.checking.problem import Variable, flat

COTANGENTS = 2
_SATURATED = 4.0
_SEGMENTS = 8  # of time, that sample mode draws from separately

Progress = Callable[[int, int], None]  # (done, of how many)


class Judged(NamedTuple):
    """One variable. Arrays have its shape; the first three a leading axis of cotangents.

    Attributes:
        variable: which.
        analytic: the gradients in question; NaN where the target gave none.
        numeric: what they should be; NaN where nothing was computed.
        tolerance: how far apart they may be.
        kinks: where the function has no derivative.
        given: the target returned a gradient for it.
    """

    variable: Variable
    analytic: NDArray[Any]
    numeric: NDArray[Any]
    tolerance: NDArray[Any]
    kinks: NDArray[np.bool_]
    given: bool

    @property
    def looked_at(self) -> NDArray[np.bool_]:
        """The coordinates that were compared."""
        return ~np.isnan(self.numeric[0]) & ~self.kinks

    @property
    def excess(self) -> NDArray[Any]:
        """How many tolerances they are apart, the worst of the cotangents; 0 where not compared."""
        away = np.abs(self.analytic - self.numeric)
        away = np.where(away == 0, 0.0, away / self.tolerance)
        away = np.where(np.isnan(away), np.inf, away).max(axis=0)
        return np.where(self.looked_at, away, 0.0)

    @property
    def wrong(self) -> NDArray[np.bool_]:
        """Where the gradient is not the derivative."""
        return self.excess > 1


def judge(evaluation: Evaluation, progress: Progress | None = None) -> list[Judged]:
    """Compare every coordinate, or in mode "sample" some of every stratum."""
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
        judged.numeric[at] = np.where(np.isnan(numeric), np.inf, numeric)  # NaN: not looked at
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

    By default what both are known to be uncertain by: the estimated error of the numeric one, the
    measured noise of the analytic one, some units in the last place of the largest entry of the
    array, and a few of what would arrive there: behind a saturated unit, 1 - h**2 is exact only to
    the last place of 1, and then multiplied by that.
    With atol or rtol, as in torch: atol + rtol * |numeric|.
    """
    options = evaluation.options
    if options.atol is not None or options.rtol is not None:
        return (options.atol or 0.0) + (options.rtol or 0.0) * np.abs(numeric)
    axes = tuple(range(1, analytic.ndim))
    largest = np.nanmax(np.abs(np.where(np.isfinite(analytic), analytic, 0)), axis=axes)
    eps = evaluation.problem.eps
    return (
        NUMERIC_SAFETY * error
        + ANALYTIC_SAFETY * noise
        + ULPS * eps * largest
        + _SATURATED * eps * evaluation.behind[i]
    )


def _coordinates(evaluation: Evaluation, variable: Variable) -> Iterator[tuple[int, ...]]:
    """Yield what is to be looked at: everything, or n_samples of every stratum."""
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
    """Return the parts of an array like the variable that are sampled separately.

    Those of its gates, or segments of time; layers and directions are variables of their own, or,
    of a state, rows.
    """
    if variable.time is not None and array.size:
        return np.array_split(array, min(_SEGMENTS, array.shape[variable.time]), variable.time)
    if variable.axes[:1] == ("layer",):
        return list(array)
    return [array[rows] for _, rows in variable.blocks()] if array.ndim else [array]
