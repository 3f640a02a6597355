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
from fastrnn.checking.arrays import as_gradient, norm, paired
from fastrnn.checking.evaluation import Evaluation
from fastrnn.checking.problem import Arrays
from fastrnn.checking.rounding import unsaturated_scale
from fastrnn.checking.tolerance import ANALYTIC_SAFETY, NUMERIC_SAFETY, SHARP, ULPS, requested


class Projection(NamedTuple):
    """One comparison of <gradient, v> with the derivative along v.

    Attributes:
        analytic: <J^T u, v>, from the gradients being checked.
        numeric: <u, J v>, from the derivative along v.
        tolerance: how far apart the two may be.
        shares: the standard deviation of each variable's share of `analytic`; 0: it has none.
        kinked: the function has no derivative along v.
        asked: the tolerance was asked for, not measured.
    """

    analytic: float
    numeric: float
    tolerance: float
    shares: tuple[float, ...]
    kinked: bool
    asked: bool = False

    @property
    def wrong(self) -> bool:
        """Whether the two differ."""
        away = abs(self.analytic - self.numeric)
        return not (self.kinked or self.unclear) and not away <= self.tolerance

    @property
    def spread(self) -> float:
        """The smallest share that is not zero."""
        return min((s for s in self.shares if s), default=0.0)

    @property
    def unclear(self) -> bool:
        """Whether the tolerance is so large that nothing would be wrong."""
        if self.kinked or self.asked:
            return False
        if not np.isfinite(self.tolerance):
            return bool(np.isfinite(self.analytic))
        sizes = abs(self.analytic), abs(self.numeric), *self.shares
        return 0 < SHARP * max(sizes) <= self.tolerance

    def hides(self, variable: int) -> bool:
        """Whether a variable's share is too small for errors in it to be seen."""
        small = 0 < SHARP * self.shares[variable] < self.tolerance
        return self.unclear or (small and not self.kinked and not self.asked)


class _Part(NamedTuple):
    """What is known of the projections on one group of outputs.

    Attributes:
        scales: a factor of the direction for each variable, so that none dominates the sum.
        noise: of an analytic projection, relative to its spread.
        step: along a direction.
    """

    scales: list[float]
    noise: float
    step: float


class Projector:
    """Draws directions for one evaluation, and knows the noise of gradients along them.

    Args:
        evaluation: of the target.
    """

    def __init__(self, evaluation: Evaluation):
        self.evaluation = evaluation
        self.random = evaluation.options.random(5)
        count = evaluation.units.groups
        self.parts = [self._part(group if count > 1 else None) for group in range(count)]

    @property
    def scales(self) -> list[float]:
        """A factor for each variable; 0: it has no gradient."""
        return self.parts[0].scales

    def _part(self, group: int | None) -> _Part:
        evaluation = self.evaluation
        cotangent = evaluation.cotangent
        if group is not None:
            cotangent = evaluation.cotangents(evaluation.options.random(10), group)
        given = zip(evaluation.raw(cotangent), evaluation.values, strict=True)
        gradient = [None if (g := as_gradient(a, x)) is None else g.copy() for a, x in given]
        part = _Part(self._scales(gradient), 0.0, 0.0)
        first = self._direction(part, None)
        noise = self._noise(cotangent, gradient, first)
        return part._replace(noise=noise, step=self._step(evaluation.along(first)))

    def project(self, masks: Arrays | None = None, group: int = 0) -> Projection:
        """Compare along one new direction with one new cotangent.

        Args:
            masks: factors of the direction, to select some coordinates; None: all of them.
            group: of outputs.
        """
        evaluation, part = self.evaluation, self.parts[group]
        cotangents = evaluation.cotangents(self.random, group)
        direction = self._direction(part, masks)
        vector, gradients = (
            evaluation.units.contraction(cotangents),
            evaluation.gradients(cotangents),
        )
        analytic, spreads = paired(gradients, direction), _spreads(gradients, direction)
        known = self._known_uncertainty(part, analytic, spreads, gradients, cotangents, direction)

        def compared(found):
            numeric = float(vector @ found.value)
            return numeric, self._tolerance(numeric, norm(vector * found.error), known)

        def agrees(found):
            numeric, tolerance = compared(found)
            return abs(analytic - numeric) <= tolerance

        line = evaluation.along(direction)
        step = part.step if masks is None else self._step(line)
        found = evaluation.derivative(line, step, agrees)
        kinked = False
        if evaluation.options.check_kinks and not agrees(found):
            scale = step / derivatives.RICHARDSON_STEP
            kinked = derivatives.is_kinked(
                lambda s: line(s * scale), evaluation.units.noise, evaluation.nearest
            )
        asked = requested(evaluation.options, 0.0) is not None
        return Projection(analytic, *compared(found), tuple(spreads), kinked, asked)

    def _tolerance(self, numeric: float, error: float, known: float) -> float:
        asked = requested(self.evaluation.options, numeric)
        return NUMERIC_SAFETY * error + known if asked is None else asked

    def _known_uncertainty(
        self, part, analytic: float, spreads: list[float], gradients, cotangents, direction
    ) -> float:
        """Return how uncertain the analytic side is, by the terms of tolerance.wide."""
        evaluation = self.evaluation
        bounds = unsaturated_scale(evaluation, cotangents, gradients)
        saturated = sum(b * norm(v) for b, v in zip(bounds, direction, strict=True))
        rounding = ULPS * (sum(spreads) + abs(analytic)) + saturated
        noise = ANALYTIC_SAFETY * part.noise * norm(np.array(spreads))
        return noise + evaluation.problem.eps * rounding

    def _direction(self, part, masks):
        drawn = self.evaluation.random_direction(self.random)
        for i, (scale, span) in enumerate(zip(part.scales, self.evaluation.spans, strict=True)):
            drawn[i] *= scale * span if masks is None else scale * span * masks[i]
        return drawn

    def _scales(self, gradients):
        """Return a factor for each variable, so that no variable dominates the sum."""
        spans = self.evaluation.spans
        sizes = [0.0 if g is None else norm(g * s) for g, s in zip(gradients, spans, strict=True)]
        sizes = [size if np.isfinite(size) else 0.0 for size in sizes]
        smallest = min((size for size in sizes if size), default=1.0)
        return [
            0.0 if g is None else max(smallest / size, 1e-3) if size else 1.0
            for g, size in zip(gradients, sizes, strict=True)
        ]

    def _noise(self, cotangent: Arrays, gradient: list, direction: Arrays) -> float:
        """Return the noise of an analytic projection, relative to its spread.

        Measured by moving the point by two rounding errors, once: gradients may be large, and
        further calls would take long.
        """
        evaluation = self.evaluation
        moved = evaluation.gradients(cotangent, evaluation.disturbed(evaluation.options.random(6)))
        changes = [
            None if g is None or h is None else g - h for g, h in zip(moved, gradient, strict=True)
        ]
        spread = norm(np.array(_spreads(gradient, direction)))
        noise = norm(np.array(_spreads(changes, direction))) / spread if spread else 0.0
        return noise if np.isfinite(noise) else 0.0

    def _step(self, line) -> float:
        """Return a step along a direction that changes the outputs by a fraction of their size."""
        method, tiny = self.evaluation.method, 2.0**-30
        if method.name == "complex" or self.evaluation.options.eps is not None:
            return method.step
        slope, size = norm(line(tiny) - self.evaluation.here) / tiny, norm(self.evaluation.here)
        if not (np.isfinite(slope) and slope):
            return method.step
        return method.step * min(1.0, max(size, 1e-3) / slope)


def _spreads(gradients, direction) -> list[float]:
    """Return the standard deviation of each variable's share of an analytic projection."""
    pairs = zip(gradients, direction, strict=True)
    return [0.0 if g is None else norm(g * v) for g, v in pairs]


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


def culprit(projector: Projector, variable: int, group: int = 0) -> tuple[int, ...] | None:
    """Return a wrong coordinate of a variable, found by bisection, or None.

    Of the two halves of the coordinates it goes on with the one whose projection has the larger
    error in tolerances.

    Args:
        projector: of the evaluation.
        variable: its position among the variables.
        group: of outputs.
    """
    shape = projector.evaluation.precise[variable].shape
    numbers: Any = np.arange(projector.evaluation.precise[variable].size)
    while len(numbers) > 1:
        halves = np.array_split(numbers, 2)
        worst = [
            max(_excess(projector, variable, half, group) for _ in range(2)) for half in halves
        ]
        if max(worst) <= 1:
            return None
        numbers = halves[int(worst[1] > worst[0])]
    return tuple(int(i) for i in np.unravel_index(numbers[0], shape))


def _excess(projector, variable, numbers, group):
    masks = [np.zeros(x.shape) for x in projector.evaluation.precise]
    masks[variable].reshape(-1)[numbers] = 1.0
    p = projector.project(masks, group)
    if not p.wrong:
        return 0.0
    return abs(p.analytic - p.numeric) / max(p.tolerance, np.finfo(float).tiny)
