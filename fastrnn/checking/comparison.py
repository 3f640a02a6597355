"""One coordinate at a time: the gradient there against the derivative, and what can be said of it.

The outputs are contracted with Gaussian cotangents, each of which gives one gradient: an error in
any entry of the Jacobian changes them with probability 1. Outputs of very different size have
cotangents of their own (outputs.py). Which coordinates are compared is in coordinates.py.

A coordinate is right only if the tolerance is a small share of what is compared, wrong if nothing
explains the difference, and otherwise looked at more closely (closer.py); what remains is unclear.
"""

import functools
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastrnn.checking import closer, derivatives
from fastrnn.checking.arrays import norm
from fastrnn.checking.derivatives import Derivative
from fastrnn.checking.evaluation import VANISHING, Evaluation
from fastrnn.checking.rounding import gradient_noise, unsaturated_scale
from fastrnn.checking.tolerance import (
    NUMERIC_SAFETY,
    SAFE,
    SHARP,
    Uncertainty,
    requested,
    sharp,
    wide,
)

COTANGENTS = 2  # of each group of outputs
_MIXED = 2.0**10  # size of an array beside that of a coordinate, from which its moves are tried too
_BLIND = "outputs change with it, but gradient and derivative are both 0"


class Verdict(NamedTuple):
    """What was found at one coordinate.

    Attributes:
        numeric: the derivative, one number for each cotangent; infinity where there is none.
        tolerance: how far the gradient may be from it.
        right: the gradient is the derivative.
        wrong: nothing explains the difference.
        kinked: the function has no derivative there; nothing else is said.
        spread: estimated error of the derivative, relative to it.
        why: why neither right nor wrong can be said, "" if it can.
    """

    numeric: NDArray[Any]
    tolerance: NDArray[Any]
    right: bool
    wrong: bool
    kinked: bool = False
    spread: float = np.inf
    why: str = ""


class Comparison:
    """The gradients of one evaluation, ready to be compared coordinate by coordinate.

    Args:
        evaluation: of the target.

    Attributes:
        evaluation: of the target.
        cotangents: COTANGENTS of each group of outputs.
        vectors: the same as rows that contract outputs.
        sizes: their absolute values.
        analytic: for each variable its gradients, with a leading axis of cotangents; None where
            the target gave none.
    """

    def __init__(self, evaluation: Evaluation):
        self.evaluation, units = evaluation, evaluation.units
        random = evaluation.options.random(3)
        self.cotangents = [
            evaluation.cotangents(random, group)
            for group in range(units.groups)
            for _ in range(COTANGENTS)
        ]
        self.vectors = np.stack([units.contraction(c) for c in self.cotangents])
        self.sizes = np.abs(self.vectors)
        self.analytic = self._stacked([evaluation.gradients(c) for c in self.cotangents])
        noise = [gradient_noise(evaluation, c) for c in self.cotangents]
        bounds = [
            unsaturated_scale(evaluation, c, [g if g is None else g[k] for g in self.analytic])
            for k, c in enumerate(self.cotangents)
        ]
        self._known = [
            None
            if g is None
            else self._uncertainty(g, [n[i] for n in noise], [b[i] for b in bounds])
            for i, g in enumerate(self.analytic)
        ]
        self.closer = closer.CloserLook(evaluation, self.cotangents)

    def _stacked(self, gradients: list) -> list[NDArray[Any] | None]:
        columns = [list(column) for column in zip(*gradients, strict=True)]
        return [None if any(g is None for g in c) else np.stack(c) for c in columns]

    def _uncertainty(self, analytic, noise, bounds) -> Uncertainty:
        axes = tuple(range(1, analytic.ndim))
        pairs = np.stack(noise).reshape(-1, COTANGENTS, *analytic.shape[1:])
        own = np.repeat(pairs.max(axis=1), COTANGENTS, axis=0)  # of both cotangents of a group
        finite = np.abs(np.where(np.isfinite(analytic), analytic, 0.0))
        return Uncertainty(
            own,
            np.median(own, axis=axes) if axes else own,
            finite.max(axis=axes) if axes else finite,
            np.array(bounds),
            self.evaluation.problem.eps,
        )

    def at(self, i: int, index: tuple[int, ...]) -> Verdict:
        """Compare one coordinate.

        Args:
            i: position of its variable, which has a gradient.
            index: its place in that variable.
        """
        evaluation, options = self.evaluation, self.evaluation.options
        found, best = None, None
        for unit in evaluation.lengths(i, index):
            line, _ = evaluation.at(i, index, unit)
            last: list = [None, None]

            def agrees(derivative, unit=unit, last=last):
                last[:] = derivative, self.judged(i, index, derivative, unit)
                return last[1].right

            derivative = evaluation.derivative(line, agrees=agrees, unit=unit)
            if derivative is not last[0]:
                agrees(derivative)
            verdict = last[1]
            if verdict.right and self._is_blind(i, index, unit, derivative, verdict):
                verdict = verdict._replace(right=False, why=_BLIND)
            if found is None or verdict.right or verdict.spread < found.spread:
                found, best = verdict, line
            if verdict.right or (verdict.wrong and verdict.spread < SAFE):
                break
        assert found is not None  # there is at least one unit
        assert best is not None
        if found.right:
            return found
        if not found.wrong:
            found = self.closer.look(self, i, index, found)
        else:
            found = self.closer.confirmed(self, i, index, found)
        if (
            options.check_kinks
            and not found.right
            and evaluation.lengths(i, index)[-1] > VANISHING
            and derivatives.is_kinked(best, evaluation.units.noise, evaluation.nearest)
        ):
            return found._replace(kinked=True, right=False, wrong=False)
        return found

    def _is_blind(self, i, index, unit, derivative, verdict) -> bool:
        """Whether 0 = 0 was compared although the outputs do move, or could not be seen to."""
        evaluation, gradients = self.evaluation, self.analytic[i]
        at = (slice(None), *index)
        blind = (gradients[at] == 0) & (verdict.numeric == 0)  # pyright: ignore
        if not blind.any():
            return False
        if evaluation.units.rescaled and self._plain[i][at][blind].any():
            return True  # the zero is that of an underflow
        if evaluation.method.name == "complex":
            return False
        first, *others = evaluation.lengths(i, index)
        longest = max(others, default=first)
        longest = longest if longest > _MIXED * first else first
        step = derivative.step if unit == longest else evaluation.method.step
        line = evaluation.at(i, index, longest)[0]
        far = np.abs(line(step) - evaluation.here)
        moved = far > 0
        if evaluation.precise[i][index] == 0:  # where a function may well be even
            near = np.abs(line(step / 256) - evaluation.here)
            moved &= near > far / 4096 + evaluation.units.noise  # no falling slope
        return bool((self.sizes[blind][:, moved] > 0).any())

    @functools.cached_property
    def _plain(self) -> list:
        """The gradients for cotangents that are not scaled to the outputs."""
        evaluation, signs = self.evaluation, [_signs(c) for c in self.cotangents]
        return self._stacked([evaluation.gradients(c) for c in signs])

    def rounding(self, i: int, eps: float) -> NDArray[Any]:
        """Return one rounding of the largest number known on the way to a gradient.

        Args:
            i: position of the variable.
            eps: machine epsilon of the rounding.
        """
        known: Uncertainty = self._known[i]  # pyright: ignore
        return eps * np.maximum(known.largest, known.unsaturated)

    def judged(
        self,
        i: int,
        index: tuple[int, ...],
        derivative: Derivative,
        unit: float,
        analytic: NDArray[Any] | None = None,
    ) -> Verdict:
        """Return the verdict that follows from one numeric derivative.

        Args:
            i: position of the variable.
            index: of the coordinate.
            derivative: along it.
            unit: of the line.
            analytic: the gradients at the coordinate if computed more precisely, in float64; None:
                those being checked.
        """
        numeric = self.vectors @ derivative.value / unit
        terms = self.sizes @ np.abs(derivative.value) / unit
        error = np.array([norm(row * derivative.error) for row in self.vectors]) / unit
        lost = not np.isfinite(numeric).all()
        numeric = np.where(np.isfinite(numeric), numeric, np.inf)
        at = (slice(None), *index)
        given = self.analytic[i][at] if analytic is None else analytic  # pyright: ignore
        away, larger = np.abs(given - numeric), np.maximum(np.abs(given), np.abs(numeric))
        asked = requested(self.evaluation.options, numeric)
        if asked is not None:
            right = bool(np.all(away <= asked)) and not lost
            return Verdict(
                numeric, asked, right, not right and not lost, spread=0.0, why=_why(lost)
            )
        known: Uncertainty = self._known[i]  # pyright: ignore
        if analytic is None:
            known = known._replace(noise=known.noise[at])
        else:
            eps = derivatives.EPS
            shrink = eps / known.eps
            known = known._replace(noise=0.0, usual=known.usual * shrink, eps=eps)
        near, far = sharp(known, error, terms), wide(known, error, terms)
        # Where the function does not depend on the coordinate at all, zero is exactly right.
        zero = (given == 0) & (terms == 0) & np.isfinite(error)
        told = (away <= near) & (near <= SHARP * larger)
        safe = (away <= far) & (far <= SAFE * larger)
        wrong = bool(np.any(~(away <= far) & np.isfinite(far))) and not lost
        wrong |= not np.isfinite(given).all()
        sizes = np.where(larger > 0, larger, 1.0)
        return Verdict(
            numeric,
            np.where(told, near, far),
            bool(np.all(zero | told | safe)),
            wrong,
            spread=float(np.max(np.where(zero, 0.0, NUMERIC_SAFETY * error / sizes))),
            why=_why(lost, given, numeric, error, zero | told | safe),
        )


def _signs(cotangents):
    return [np.sign(c) for c in cotangents]


def _why(lost: bool, given=None, numeric=None, error=None, fine=None) -> str:
    """Return why nothing can be said at a coordinate."""
    if lost:
        return "the function has no finite values beside it"
    if given is None or numeric is None or error is None or np.all(fine):
        return ""
    k = int(np.argmin(np.asarray(fine)))
    size = max(abs(given[k]), abs(numeric[k]))
    if not np.isfinite(error[k]):
        return "no step gives a derivative: the function is too rough there, or overflows"
    if NUMERIC_SAFETY * error[k] > SHARP * size:
        return (
            f"the derivative is {numeric[k]:.3g} with an error of up to "
            f"{NUMERIC_SAFETY * error[k]:.1g}: its effect is below the rounding of the outputs"
        )
    return (
        f"gradient {given[k]:.3g} and derivative {numeric[k]:.3g} are below the rounding of the "
        "array's larger entries"
    )
