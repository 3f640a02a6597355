"""A closer look at a coordinate where gradient and derivative differ by no more than rounding may.

Such a difference is rounding if it goes away in more precise arithmetic, or if it is random when
the point is moved a little: a wrong formula is wrong by the same factor at the neighbouring points
too. If neither is seen, nothing can be said, and the check says so.
"""

from typing import Any

import numpy as np

from fastrnn.checking.derivatives import EPS, Derivative
from fastrnn.checking.evaluation import Evaluation
from fastrnn.checking.problem import Arrays

_POINTS = 6
_MOVE = 2.0**-8  # of each coordinate's own size: hundreds of roundings, even where it saturates
_ROUNDINGS = 1e3  # as many roundings of the largest number on the way are rounding
_SYSTEMATIC = 3.0  # mean over deviation above which differences are no rounding


class CloserLook:
    """Decides about single coordinates.

    Args:
        evaluation: of the target.
        cotangents: with which gradients are taken.
    """

    def __init__(self, evaluation: Evaluation, cotangents: list[Arrays]):
        self.evaluation = evaluation
        self.cotangents = [[c.astype(np.float64) for c in each] for each in cotangents]
        self._moved: list[tuple[Arrays, list]] | None = None
        self._precise: list | None = None

    def look(self, comparison: Any, i: int, index: tuple[int, ...], verdict: Any) -> Any:
        """Return the verdict, as it was or now known to be right.

        Args:
            comparison: the Comparison that asks.
            i: position of the variable.
            index: of the coordinate.
            verdict: not right, and not wrong.
        """
        evaluation = self.evaluation
        unit = evaluation.lengths(i, index)[-1]
        exact = self._exact(i, index, unit)
        derivative = exact or evaluation.derivative(evaluation.at(i, index, unit)[0])
        for analytic in (None, self._precisely(i, index)):
            if exact is not None or analytic is not None:
                again = comparison.judged(i, index, derivative, unit, analytic)
                if again.right:
                    return verdict._replace(right=True, numeric=again.numeric, why="")
        if self._is_random(comparison.vectors, i, index, unit, comparison.rounding(i)):
            return verdict._replace(right=True, why="")
        return verdict

    def _exact(self, i, index, unit, point=None) -> Derivative | None:
        """Return the derivative by the complex step, where the target takes complex numbers."""
        evaluation = self.evaluation
        if evaluation.method.name != "complex" and evaluation.problem.kind != "layer":
            return None
        try:
            return evaluation.exact(evaluation.at(i, index, unit, point)[0])
        except Exception:  # dropout, for one, is not in the equations of a layer
            return None

    def _precisely(self, i, index):
        """Return the gradients at a coordinate computed in float64, if they were not already."""
        evaluation = self.evaluation
        if evaluation.problem.eps <= EPS:
            return None
        if self._precise is None:
            self._precise = self._gradients(evaluation.precise)
        return _entries(self._precise, i, index)

    def _gradients(self, point: Arrays) -> list:
        try:
            return [self.evaluation.gradients(c, point) for c in self.cotangents]
        except Exception:  # it may not run in float64
            return []

    def _is_random(self, vectors, i, index, unit, rounding) -> bool:
        """Whether the differences at neighbouring points are those of rounding."""
        if self._moved is None:
            random = self.evaluation.options.random(9)
            points = [
                [x * (1 + _MOVE * random.standard_normal(x.shape)) for x in self.evaluation.precise]
                for _ in range(_POINTS)
            ]
            self._moved = [(point, self._gradients(point)) for point in points]
        analytic, numeric, exact = [], [], True
        for point, gradients in self._moved:
            given = _entries(gradients, i, index)
            found = self._exact(i, index, unit, point)
            if given is None:
                return False
            if found is None:
                exact = False
                line, _ = self.evaluation.at(i, index, unit, point)
                found = self.evaluation.derivative(line)
            analytic.append(given)
            numeric.append(vectors @ found.value / unit)
        a, n = np.array(analytic), np.array(numeric)
        if not (np.isfinite(a).all() and np.isfinite(n).all()):
            return False
        apart = a - n
        same = ~apart.any(axis=0) & a.any(axis=0)  # to the last bit
        noise = apart.std(axis=0)
        with np.errstate(all="ignore"):
            ratio = np.where(n == 0, 0.0, apart / n)
            ratio = ratio / np.maximum(np.abs(ratio).max(axis=0), 1e-300)
        random = (
            (0 < noise)
            & (noise <= _ROUNDINGS * rounding)
            & (np.abs(apart.mean(axis=0)) <= _SYSTEMATIC * noise)
            & (np.abs(ratio.mean(axis=0)) <= _SYSTEMATIC * ratio.std(axis=0))
        )
        # Differences of a numeric derivative are random too: the gradient itself has to be.
        own = exact or bool(np.all(a.std(axis=0) >= noise / 4))
        return bool(np.all(same | random)) and own


def _entries(gradients: list, i: int, index) -> Any:
    """Return one coordinate of the gradients for each cotangent, or None where one has none."""
    if not gradients or any(g[i] is None for g in gradients):
        return None
    return np.array([g[i][index] for g in gradients])
