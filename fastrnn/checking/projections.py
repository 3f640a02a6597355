"""Mode project: a few random directions through all variables at once, however many there are.

Each direction v and each cotangent u is Gaussian and independent of the others, so that an error
E of the Jacobian changes <u, E v> with probability 1, and errors cannot cancel in every projection
as they may with one fixed pair. There remains the probability that the change is too small to be
noticed; the report states it. If a projection is wrong, bisecting the coordinates finds a wrong
one. Single coordinates are compared in coordinates.py.

Source: the dot-product test of adjoints, Claerbout 1992, "Earth Soundings Analysis", ch. 5.
"""

from typing import Any, NamedTuple

import numpy as np

from fastrnn.checking import derivatives
from fastrnn.checking.arrays import as_gradient, paired
from fastrnn.checking.evaluation import Evaluation
from fastrnn.checking.problem import Arrays, flat
from fastrnn.checking.tolerance import ANALYTIC_SAFETY, NUMERIC_SAFETY, ULPS, requested


class Projection(NamedTuple):
    """One comparison of <gradient, v> with the derivative along v.

    Attributes:
        analytic: <J^T u, v>, from the gradients being checked.
        numeric: <u, J v>, from the derivative along v.
        tolerance: how far apart the two may be.
        spread: the smallest standard deviation that a variable's share of `analytic` has.
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
    """Draws directions for one evaluation, and knows the noise of gradients along them.

    Args:
        evaluation: of the target.
    """

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
            masks: factors of the direction, to select some coordinates; None: all of them.
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
        smallest = min((s for s in spreads if s), default=0.0)
        return Projection(analytic, *compared(found), smallest, kinked)

    def _tolerance(self, numeric: float, error: float, known: float) -> float:
        asked = requested(self.evaluation.options, numeric)
        return NUMERIC_SAFETY * error + known if asked is None else asked

    def _known_uncertainty(self, analytic: float, spreads: list[float], direction) -> float:
        """Return how uncertain the analytic side is, by the terms of tolerance.measured."""
        evaluation = self.evaluation
        saturated = sum(
            scale * float(np.sqrt(np.vdot(v, v)))
            for scale, v in zip(evaluation.unsaturated_scale, direction, strict=True)
        )
        rounding = ULPS * (sum(spreads) + abs(analytic)) + saturated
        noise = ANALYTIC_SAFETY * self.noise * float(np.linalg.norm(spreads))
        return noise + evaluation.problem.eps * rounding

    def _direction(self, masks):
        drawn = self.evaluation.random_direction(self.random)
        for i, scale in enumerate(self.scales):
            drawn[i] *= scale if masks is None else scale * masks[i]
        return drawn

    def _scales(self, gradients):
        """Return a factor for each variable, so that no variable dominates the sum."""
        sizes = [0.0 if g is None else float(np.sqrt(np.vdot(g, g))) for g in gradients]
        sizes = [size if np.isfinite(size) else 0.0 for size in sizes]
        smallest = min((size for size in sizes if size), default=1.0)
        return [
            0.0 if g is None else max(smallest / size, 1e-3) if size else 1.0
            for g, size in zip(gradients, sizes, strict=True)
        ]

    def _noise(self, direction: Arrays) -> float:
        """Return the noise of an analytic projection, relative to its spread.

        Measured by moving the point by two rounding errors, once: gradients may be large, and
        further calls would take long.
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
        """Return a step along a direction that changes the outputs by a fraction of their size."""
        method, tiny = self.evaluation.method, 2.0**-30
        if method.name == "complex" or self.evaluation.options.eps is not None:
            return method.step
        slope = float(np.linalg.norm(line(tiny) - self.here)) / tiny
        size = float(np.linalg.norm(self.here))
        if not (np.isfinite(slope) and slope):
            return method.step
        return method.step * min(1.0, max(size, 1e-3) / slope)


def _spreads(gradients, direction) -> list[float]:
    """Return the standard deviation of each variable's share of an analytic projection."""
    pairs = [(g, v) for g, v in zip(gradients, direction, strict=True) if g is not None]
    return [float(np.linalg.norm(g * v)) for g, v in pairs]


def miss_probability(projections: list[Projection], relative: float) -> float:
    """Return the probability that every projection misses an error of one variable's gradient.

    Args:
        projections: the comparisons that were made.
        relative: 2-norm of the error, relative to the gradient's. The error's projection is
            Gaussian, with the gradient's spread times this; a projection misses it if that number
            is within the tolerance.
    """
    chance = 1.0
    for p in projections:
        deviation = relative * p.spread
        if not p.kinked:
            chance *= min(1.0, np.sqrt(2 / np.pi) * p.tolerance / deviation) if deviation else 1.0
    return float(chance)


def detectable(projections: list[Projection], chance: float) -> float:
    """Return the error, relative to a gradient, that is missed with a given probability.

    Args:
        projections: the comparisons that were made.
        chance: the probability that all of them miss it; see miss_probability.
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
    """Return a wrong coordinate of a variable, found by bisection, or None.

    Of the two halves of the coordinates it goes on with the one whose projection has the larger
    error in tolerances.

    Args:
        projector: of the evaluation.
        variable: its position among the variables.
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
