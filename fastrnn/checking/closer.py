"""A closer look at a coordinate where gradient and derivative differ by no more than rounding may.

Such a difference is rounding if it goes away in more precise arithmetic, or if it is random when
the point is moved a little: a wrong formula is wrong by the same factor at the neighbouring points
too. If neither is seen, nothing can be said, and the check says so.
"""

from typing import Any

import numpy as np

from fastrnn.checking.arrays import norm
from fastrnn.checking.derivatives import EPS, Derivative
from fastrnn.checking.evaluation import Evaluation
from fastrnn.checking.problem import Arrays
from fastrnn.checking.tolerance import NUMERIC_SAFETY, SHARP

_POINTS = 6
_MOVE = 2.0**-8  # of each coordinate's own size: hundreds of roundings, even where it saturates
_ROUNDINGS = 1e3  # as many roundings of the largest number on the way are rounding
_SHORTER = (2.0**-14, 2.0**-20, 2.0**-27, 2.0**-33)  # steps that confirm a derivative
_STEEP = "differences have no limit as the steps get shorter: the function is too steep or rough"
_LITTLE = 1e-3  # relative difference that may be rounding
_DEVIATIONS = 6.0  # of the differences at neighbouring points, within which one may be
_SYSTEMATIC = 3.0  # mean over deviation above which differences are no rounding


class CloserLook:
    """Decides about single coordinates.

    Args:
        evaluation: of the target.
        cotangents: with which gradients are taken.
    """

    def __init__(self, evaluation: Evaluation, cotangents: list[Arrays]):
        self.evaluation, self.given = evaluation, cotangents
        self.cotangents = [[c.astype(np.float64) for c in each] for each in cotangents]
        self._moved: dict[bool, list[tuple[Arrays, list]]] = {}
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
        error = np.array([norm(row * derivative.error) for row in comparison.vectors]) / unit
        for analytic in (None, self._precisely(i, index)):
            if exact is not None or analytic is not None:
                again = comparison.judged(i, index, derivative, unit, analytic)
                if again.right:
                    return verdict._replace(right=True, numeric=again.numeric, why="")
        apart = self._differences(comparison.vectors, i, index, unit, True)
        if apart is None:
            return verdict
        rounding = comparison.rounding(i, EPS)
        if _are_random(*apart, rounding) or _are_zero(*apart[:2], rounding, error):
            return verdict._replace(right=True, why="")
        return verdict

    def confirmed(self, comparison: Any, i: int, index: tuple[int, ...], verdict: Any) -> Any:
        """Return a verdict of wrong, or the one that takes its place if that was too rash.

        Far out a function may be as flat as if differences converged. And a little error may be
        rounding that is larger than thought, as by a factor that is in none of the inputs.

        Args:
            comparison: the Comparison that asks.
            i: position of the variable.
            index: of the coordinate.
            verdict: wrong.
        """
        evaluation, given = self.evaluation, comparison.analytic[i][(slice(None), *index)]
        if evaluation.method.name == "richardson":
            unit = evaluation.lengths(i, index)[-1]
            line, _ = evaluation.at(i, index, unit)
            limit = True
            for step in _SHORTER:
                slope = comparison.vectors @ ((line(step) - line(-step)) / (2 * step)) / unit
                rough = comparison.sizes @ evaluation.units.noise / (step * unit)
                allowed = NUMERIC_SAFETY * rough + SHARP * np.abs(slope)
                if not np.all(np.abs(slope - verdict.numeric) <= allowed):
                    limit = False
                    shorter = evaluation.derivative(line, step)
                    again = comparison.judged(i, index, shorter, unit)
                    if again.right:
                        return again
            if not limit:
                return verdict._replace(wrong=not np.isfinite(given).all(), why=_STEEP)
        away = np.abs(given - verdict.numeric)
        little = _LITTLE * np.maximum(np.abs(given), np.abs(verdict.numeric))
        if np.all(away <= little) and self._is_rounding(comparison, i, index, away):
            tolerance = np.maximum(verdict.tolerance, away)
            return verdict._replace(right=True, wrong=False, tolerance=tolerance)
        return verdict

    def _is_rounding(self, comparison, i, index, away) -> bool:
        """Whether a difference that is larger than expected is rounding all the same."""
        unit = self.evaluation.lengths(i, index)[-1]
        found = self._differences(comparison.vectors, i, index, unit, False)
        if found is None:
            return False
        noise = (found[0] - found[1]).std(axis=0)
        eps = self.evaluation.problem.eps
        return bool(np.all(away <= _DEVIATIONS * noise)) and _are_random(
            *found, comparison.rounding(i, eps) * self._conditioning
        )

    @property
    def _conditioning(self) -> float:
        """How many roundings of float64 the outputs are uncertain by, as by large arguments."""
        noise, size = self.evaluation.units.noise, np.abs(self.evaluation.here)
        known = (size > 0) & np.isfinite(noise)
        return (
            max(1.0, float(np.median((noise[known] / size[known]) / EPS))) if known.any() else 1.0
        )

    def _exact(self, i, index, unit, point=None) -> Derivative | None:
        """Return the derivative by the complex step, where the target takes complex numbers."""
        evaluation = self.evaluation
        if evaluation.method.name != "complex" and evaluation.problem.kind != "layer":
            return None
        try:
            return evaluation.exact(evaluation.at(i, index, unit, point)[0])
        except Exception:  # it takes no complex numbers after all
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
        """Return the gradients at a point, for cotangents in its precision; none if it raises."""
        try:
            dtypes = {x.dtype for x in point}
            precise = dtypes == {np.dtype(np.float64)}
            return [
                self.evaluation.gradients(c, point)
                for c in (self.cotangents if precise else self.given)
            ]
        except Exception:  # it may not run in float64
            return []

    def _differences(self, vectors, i, index, unit, precise: bool):
        """Return gradients and derivatives at points nearby, and whether the latter are exact.

        Args:
            vectors: the cotangents as rows.
            i: position of the variable.
            index: of the coordinate.
            unit: to move it in.
            precise: take gradients in float64, not in the dtype that is checked.
        """
        analytic, numeric, exact = [], [], True
        for point, gradients in self._neighbours(precise):
            given, found = _entries(gradients, i, index), self._exact(i, index, unit, point)
            if given is None:
                return None
            if found is None:
                exact = False
                line, _ = self.evaluation.at(i, index, unit, point)
                found = self.evaluation.derivative(line)
            analytic.append(given)
            numeric.append(vectors @ found.value / unit)
        return np.array(analytic), np.array(numeric), exact

    def _neighbours(self, precise: bool) -> list[tuple[Arrays, list]]:
        """Return points nearby and the gradients there, computed once."""
        if precise not in self._moved:
            random, points = self.evaluation.options.random(9), []
            for _ in range(_POINTS):
                moved = [
                    x * (1 + _MOVE * random.standard_normal(x.shape))
                    for x in self.evaluation.precise
                ]
                if not precise:
                    pairs = zip(moved, self.evaluation.values, strict=True)
                    moved = [m.astype(v.dtype) for m, v in pairs]
                points.append((moved, self._gradients(moved)))
            self._moved[precise] = [
                ([x.astype(np.float64) for x in point], gradients) for point, gradients in points
            ]
        return self._moved[precise]


def _are_random(a, n, exact: bool, rounding) -> bool:
    """Whether gradients and derivatives at neighbouring points differ as by rounding."""
    if not (np.isfinite(a).all() and np.isfinite(n).all()):
        return False
    apart = a - n
    same = ~apart.any(axis=0) & a.any(axis=0)  # to the last bit
    noise = apart.std(axis=0)
    with np.errstate(all="ignore"):
        ratio = np.where(n == 0, 0.0, apart / n)
        ratio = ratio / np.maximum(np.abs(ratio).max(axis=0), 1e-300)
    random = (
        (noise > 0)
        & (noise <= _ROUNDINGS * rounding)
        & (np.abs(apart.mean(axis=0)) <= _SYSTEMATIC * noise)
        & (np.abs(ratio.mean(axis=0)) <= _SYSTEMATIC * ratio.std(axis=0))
    )
    # Differences of a numeric derivative are random too: the gradient itself has to be.
    own = exact or bool(np.all(a.std(axis=0) >= noise / 4))
    return bool(np.all(same | random)) and own


def _are_zero(a, n, rounding, error) -> bool:
    """Whether gradients nearby are rounding around 0, and no derivative is told from 0.

    So is that of a bias before a normalisation, or of the keys of an attention.
    """
    noise = a.std(axis=0)
    random = (noise > 0) & (np.abs(a.mean(axis=0)) <= _SYSTEMATIC * noise)
    zero = (~a.any(axis=0) & ~n.any(axis=0)) | (random & (noise <= _ROUNDINGS * rounding))
    told = np.abs(n) > NUMERIC_SAFETY * error + _ROUNDINGS * rounding
    return bool(np.all(zero) and np.any(random) and not np.any(told))


def _entries(gradients: list, i: int, index) -> Any:
    """Return one coordinate of the gradients for each cotangent, or None where one has none."""
    if not gradients or any(g[i] is None for g in gradients):
        return None
    return np.array([g[i][index] for g in gradients])
