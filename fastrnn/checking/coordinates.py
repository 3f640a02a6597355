"""Modes full and sample: each coordinate's gradient against the derivative along that coordinate.

What is compared at one coordinate is in comparison.py. Random directions through all coordinates
at once are in projections.py.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastrnn.checking.comparison import Comparison
from fastrnn.checking.evaluation import Evaluation
from fastrnn.checking.problem import Variable

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
        unclear: where nothing can be said, for rounding or for want of values.
        why: the coordinate and the reason of the first of these, or "".
        given: the target returned a gradient for the variable.
    """

    variable: Variable
    analytic: NDArray[Any]
    numeric: NDArray[Any]
    tolerance: NDArray[Any]
    kinks: NDArray[np.bool_]
    unclear: NDArray[np.bool_]
    why: str
    given: bool

    @property
    def compared(self) -> NDArray[np.bool_]:
        """Which coordinates were compared."""
        return ~np.isnan(self.numeric[0]) & ~self.kinks & ~self.unclear

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
    comparison = Comparison(evaluation)
    plans = [list(_coordinates(evaluation, v)) for v in evaluation.problem.variables]
    total, done = sum(map(len, plans)), 0
    result = []
    for i, variable in enumerate(evaluation.problem.variables):
        gradients, places = comparison.analytic[i], plans[i]
        if gradients is None:
            places = []
        judged = compared_at(comparison, i, [])
        for place in places:
            judged = compared_at(comparison, i, [place], judged)
            done += 1
            if progress is not None:
                progress(done, total)
        result.append(judged)
        assert judged.variable is variable
    return result


def compared_at(
    comparison: Comparison, i: int, places: list[tuple[int, ...]], judged: Judged | None = None
) -> Judged:
    """Compare some coordinates of a variable.

    Args:
        comparison: of the evaluation.
        i: position of the variable.
        places: the coordinates.
        judged: what was found at others before, to add to; None: nothing.
    """
    variable = comparison.evaluation.problem.variables[i]
    gradients = comparison.analytic[i]
    shape = (len(comparison.cotangents), *variable.value.shape)
    if judged is None:
        judged = Judged(
            variable,
            np.full(shape, np.nan) if gradients is None else gradients,
            np.full(shape, np.nan),  # not compared
            np.full(shape, np.nan),
            np.zeros(variable.value.shape, bool),
            np.zeros(variable.value.shape, bool),
            "",
            gradients is not None,
        )
    for index in places:
        found = comparison.at(i, index)
        at = (slice(None), *index)
        judged.numeric[at], judged.tolerance[at] = found.numeric, found.tolerance
        judged.kinks[index] = found.kinked
        judged.unclear[index] = not (found.right or found.wrong or found.kinked)
        if judged.unclear[index] and not judged.why:
            judged = judged._replace(why=f"{variable.called(index)}: {found.why}")
    return judged


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
