"""Mode project: a few random directions through all variables at once, whatever their number.

Each direction v and each cotangent u is Gaussian and independent of the others, so that an error
E of the Jacobian changes <u, E v> with probability 1, and no sign of one cancels another for ever,
as it may with one fixed pair. What is left is the chance that the change is smaller than what can
be told; the report says how large it is. Where a projection is wrong, halving the directions
finds a coordinate.

Source: the dot-product test of adjoints, Claerbout 1992, "Earth Soundings Analysis", ch. 5.
"""

from typing import Any, NamedTuple

import numpy as np

from fastrnn.checking import derivatives
from fastrnn.checking.evaluation import (
    ANALYTIC_SAFETY,
    NUMERIC_SAFETY,
    ULPS,
    Evaluation,
    as_gradient,
    paired,
)
from fastrnn.checking.problem import Arrays, flat


class Projection(NamedTuple):
    """One comparison of <gradient, v> with the derivative along v.

    Attributes:
        analytic: <J^T u, v>, by the gradients in question.
        numeric: <u, J v>.
        tolerance: how far apart they may be.
        spread: the standard deviation of the part of each variable in `analytic`.
        kinked: the function has no derivative along v.
    """

    analytic: float
    numeric: float
    tolerance: float
    spread: float
    kinked: bool

    @property
    def wrong(self) -> bool:
        """Whether the two differ."""
        return not self.kinked and not abs(self.analytic - self.numeric) <= self.tolerance


class Projector:
    """Directions in which one evaluation is projected, and the noise of the gradients there."""

    def __init__(self, evaluation: Evaluation):
        self.evaluation = evaluation
        self.random = evaluation.options.random(5)
        self.here = evaluation.along(evaluation.precise)(0.0)
        self.gradient = [
            as_gradient(g, x) for g, x in zip(evaluation.gradient, evaluation.values, strict=True)
        ]
        self.scales = self._scales(self.gradient)
        first = self._direction(None)
        self.noise, self.step = self._noise(first), self._step(evaluation.along(first))

    def project(self, masks: Arrays | None = None) -> Projection:
        """Compare along one new direction with one new cotangent.

        Args:
            masks: factors of the direction, to look at a part of the coordinates only.
        """
        evaluation = self.evaluation
        cotangents, direction = evaluation.cotangents(self.random), self._direction(masks)
        vector, gradients = flat(cotangents).astype(np.float64), evaluation.gradients(cotangents)
        analytic, spreads = paired(gradients, direction), _spreads(gradients, direction)
        known = self._known_uncertainty(analytic, spreads, direction)

        def compared(found):
            numeric = float(vector @ found.value)
            return numeric, self._tolerance(numeric, found.error, known)

        def agrees(found):
            numeric, tolerance = compared(found)
            return abs(analytic - numeric) <= tolerance

        line = evaluation.along(direction)
        step = self.step if masks is None else self._step(line)
        found = evaluation.derivative(line, step, agrees)
        kinked = False
        if evaluation.options.check_kinks and not agrees(found):
            scale = step / derivatives.RICHARDSON_STEP
            kinked = derivatives.is_kinked(
                lambda s: line(s * scale), evaluation.noise, evaluation.nearest
            )
        least = min((s for s in spreads if s), default=0.0)
        return Projection(analytic, *compared(found), least, kinked)

    def _tolerance(self, numeric: float, error: float, known: float) -> float:
        options = self.evaluation.options
        if options.atol is not None or options.rtol is not None:
            return (options.atol or 0.0) + (options.rtol or 0.0) * abs(numeric)
        return NUMERIC_SAFETY * error + known

    def _known_uncertainty(self, analytic: float, spreads: list[float], direction) -> float:
        """Return how far off the analytic side may be; as in coordinates.tolerance."""
        evaluation = self.evaluation
        behind = sum(
            b * float(np.sqrt(np.vdot(v, v)))
            for b, v in zip(evaluation.behind, direction, strict=True)
        )
        rounding = ULPS * (sum(spreads) + abs(analytic)) + behind
        noise = ANALYTIC_SAFETY * self.noise * float(np.linalg.norm(spreads))
        return noise + evaluation.problem.eps * rounding

    def _direction(self, masks):
        drawn = self.evaluation.random_direction(self.random)
        for i, scale in enumerate(self.scales):
            drawn[i] *= scale if masks is None else scale * masks[i]
        return drawn

    def _scales(self, gradients):
        """Return a factor for each variable, so that none drowns the others in the sum."""
        sizes = [0.0 if g is None else float(np.sqrt(np.vdot(g, g))) for g in gradients]
        sizes = [size if np.isfinite(size) else 0.0 for size in sizes]
        least = min((size for size in sizes if size), default=1.0)
        return [
            0.0 if g is None else max(least / size, 1e-3) if size else 1.0
            for g, size in zip(gradients, sizes, strict=True)
        ]

    def _noise(self, direction: Arrays) -> float:
        """Return the noise of an analytic projection, as a part of its spread.

        From what moving the point by two roundings does to every entry of the gradient: the
        gradients may be large, and more calls than one take long.
        """
        evaluation, cotangent = self.evaluation, self.evaluation.cotangent
        moved = evaluation.gradients(cotangent, evaluation.disturbed(evaluation.options.random(6)))
        changes = [
            None if g is None or h is None else g - h
            for g, h in zip(moved, self.gradient, strict=True)
        ]
        spread = float(np.linalg.norm(_spreads(self.gradient, direction)))
        noise = float(np.linalg.norm(_spreads(changes, direction))) / spread if spread else 0.0
        return noise if np.isfinite(noise) else 0.0

    def _step(self, line) -> float:
        """Return a step along a direction in which the outputs change by a part of themselves."""
        method, tiny = self.evaluation.method, 2.0**-30
        if method.name == "complex" or self.evaluation.options.eps is not None:
            return method.step
        slope = float(np.linalg.norm(line(tiny) - self.here)) / tiny
        size = float(np.linalg.norm(self.here))
        if not (np.isfinite(slope) and slope):
            return method.step
        return method.step * min(1.0, max(size, 1e-3) / slope)


def _spreads(gradients, direction) -> list[float]:
    """Return the standard deviation of the part of each variable in an analytic projection."""
    pairs = [(g, v) for g, v in zip(gradients, direction, strict=True) if g is not None]
    return [float(np.linalg.norm(g * v)) for g, v in pairs]


def miss_probability(projections: list[Projection], relative: float) -> float:
    """Return the chance that all of these missed an error of one variable's gradient.

    Args:
        projections: what was compared.
        relative: the size of the error, as a part of the gradient (2-norms). Its projection is
            Gaussian with that part of the gradient's spread, and each one missed it with the
            chance that such a number is within the tolerance.
    """
    chance = 1.0
    for p in projections:
        deviation = relative * p.spread
        if not p.kinked:
            chance *= min(1.0, np.sqrt(2 / np.pi) * p.tolerance / deviation) if deviation else 1.0
    return float(chance)


def detectable(projections: list[Projection], chance: float) -> float:
    """Return the size of an error, as a part of a gradient, that is missed with this chance.

    Args:
        projections: what was compared.
        chance: of all of them missing it; see miss_probability.
    """
    ratios = [
        np.sqrt(2 / np.pi) * p.tolerance / p.spread
        for p in projections
        if not p.kinked and p.spread
    ]
    if not ratios:
        return np.inf
    return float((np.prod(ratios) / chance) ** (1 / len(ratios)))


def culprit(projector: Projector, variable: int) -> tuple[int, ...] | None:
    """Return a coordinate of a variable that is wrong, by halving the direction; None: none found.

    Of two halves of the coordinates, the one whose projection is further off, in tolerances.
    """
    shape = projector.evaluation.precise[variable].shape
    numbers: Any = np.arange(projector.evaluation.precise[variable].size)
    while len(numbers) > 1:
        halves = np.array_split(numbers, 2)
        worst = [max(_excess(projector, variable, half) for _ in range(2)) for half in halves]
        if max(worst) <= 1:
            return None
        numbers = halves[int(worst[1] > worst[0])]
    return tuple(int(i) for i in np.unravel_index(numbers[0], shape))


def _excess(projector, variable, numbers):
    masks = [np.zeros(x.shape) for x in projector.evaluation.precise]
    masks[variable].reshape(-1)[numbers] = 1.0
    p = projector.project(masks)
    if not p.wrong:
        return 0.0
    return abs(p.analytic - p.numeric) / max(p.tolerance, np.finfo(float).tiny)
