"""A problem, evaluated: its gradient at one point, its rounding noise, and lines through the point.

Shared by the three modes (coordinates.py, projections.py) and by location.py and diagnosis.py.
Nothing is judged here.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastrnn.checking import derivatives
from fastrnn.checking.arrays import as_gradient, copies
from fastrnn.checking.derivatives import Derivative, Line
from fastrnn.checking.method import choose
from fastrnn.checking.options import CheckOptions
from fastrnn.checking.problem import Arrays, Problem, flat

GivenGradients = list[NDArray[Any] | None]  # None for a variable that has none
_JUMP = 1e4
# Not a power of two: near 1, the roundings of x * x at its multiples would lie on a line.
_JITTER = {np.dtype(np.float32): 1.618 * 2.0**-20, np.dtype(np.float64): 1.618 * 2.0**-40}


class Evaluation:
    """One problem, evaluated at its point.

    Args:
        problem: what is checked.
        options: of the check.

    Attributes:
        problem: with copies of the inputs handed out if the target writes into them.
        options: of the check.
        values: the point, an array for each variable, in its dtype.
        precise: the point in float64.
        outputs: outputs of the vjp's forward pass, in the dtype of the target.
        size: number of entries of all outputs.
        noise: rounding noise of the outputs in float64, as a 2-norm.
        method: how derivatives are taken, a Method.
        nearest: distance, in units of the coordinate, below which a kink cannot be avoided.
        cotangent: one array for each output, for every check that needs some cotangent.
        gradient: what the target returned for that cotangent.
        unsaturated_scale: for each variable, an upper bound on its gradient if no unit were
            saturated. A factor such as 1 - y**2, computed from the output y, is exact only to
            the last place of 1, so a gradient is exact only to the last places of this bound.
    """

    def __init__(self, problem: Problem, options: CheckOptions):
        self.problem, self.options = problem, options
        self._copies: dict[tuple[type, str], Arrays] = {}
        self.values, self.precise = problem.values, problem.precise
        self.outputs, self._pullback = problem.vjp(self.values)
        if not all(map(np.array_equal, self.values, problem.values)):
            self.problem, self.values = _protected(problem), problem.values
            self.outputs, self._pullback = self.problem.vjp(self.values)
        for output in self.outputs:
            if output.dtype.kind not in "fiub":
                raise TypeError(
                    f"gradcheck: {problem.name} returned {output.dtype} numbers; expected float "
                    "arrays, or tuples of them (of complex numbers, the two parts)."
                )
        self.size = sum(output.size for output in self.outputs)
        self.cotangent = self.cotangents(options.random(8))
        self.outputs = copies(self.outputs)  # a pullback may overwrite those it keeps
        self.problem.forward(self.precise)  # an exception here is not the edge of its domain
        self.gradient = [
            np.array(g) if isinstance(g, np.ndarray) else g for g in self.raw(self.cotangent)
        ]
        self.unsaturated_scale = self._unsaturated_scale()
        direction = self.random_direction(options.random(1))
        self.noise = derivatives.noise(self.along(direction))
        near = [v * _scale(x) for v, x in zip(direction, self.precise, strict=True)]
        length = float(np.sqrt(sum(v.size for v in direction)))
        self.method = choose(problem, options, self.along(near), length, self.noise)
        self.nearest = 2.0**-16 if self.method.name == "central" else 2.0**-24

    def _unsaturated_scale(self) -> list[float]:
        """Return, for each variable, the gradient arriving at a unit times its largest factor.

        What arrives is a cotangent or, in a recurrence, a sum of them, as large as the gradient
        of a bias or a state: the smallest of the gradients' largest entries stands for it. The
        factor is the largest entry of any other input. Outputs that saturate are at most 1.
        """
        given = [as_gradient(g, x) for g, x in zip(self.gradient, self.values, strict=True)]
        sizes = [float(np.max(np.abs(g))) for g in given if g is not None]
        smallest = min((s for s in sizes if s and np.isfinite(s)), default=0.0)
        bounded = [
            np.abs(c) * np.minimum(np.abs(o), 1)
            for c, o in zip(self.cotangent, self.outputs, strict=True)
        ]
        arriving = max([smallest, *(float(np.nan_to_num(b).max(initial=0)) for b in bounded)])
        largest = [float(np.max(np.abs(x))) for x in self.values]
        others = [[*largest[:i], *largest[i + 1 :]] for i in range(len(largest))]
        return [arriving * max([1.0, *factors]) for factors in others]

    # Lines.

    def along(self, direction: Arrays):
        """Return the line x + s v, all variables at once."""

        def line(s):
            if isinstance(s, complex):
                moved = [x + s * v for x, v in zip(self.precise, direction, strict=True)]
                return self._forward(moved)
            moved = self._work(float, "line")  # allocating them at every call takes longer
            for x, v, out in zip(self.precise, direction, moved, strict=True):
                np.add(x, np.multiply(v, s, out=out), out=out)
            return self._forward(moved)

        return line

    def at(self, variable: int, index: tuple[int, ...]):
        """Return the line through one coordinate, in units of its size, and that unit."""
        work = self._work
        start = self.precise[variable][index]
        unit = 2.0 ** np.ceil(np.log2(max(abs(start), 0.25)))

        def line(s):
            arrays = work(complex if isinstance(s, complex) else float)
            arrays[variable][index] = start + s * unit
            try:
                return self._forward(arrays)
            finally:
                arrays[variable][index] = start

        return line, float(unit)

    def _forward(self, values: Arrays) -> NDArray[Any]:
        """Return the outputs as one vector; NaN where the function raises, outside its domain."""
        try:
            result = flat(self.problem.forward(values))
        except (ArithmeticError, AssertionError, ValueError, np.linalg.LinAlgError):
            if values[0].dtype.kind == "c":
                raise  # it takes no complex numbers
            return np.full(self.size, np.nan)
        if result.size != self.size:
            raise ValueError(
                f"gradcheck: {self.problem.name} returned {self.size} numbers, and {result.size} "
                "nearby; expected outputs whose shapes do not depend on the values."
            )
        return result

    def _work(self, kind: type, purpose: str = "coordinate") -> Arrays:
        """Return copies of the point that may be changed in place, made once for each purpose."""
        if (kind, purpose) not in self._copies:
            self._copies[kind, purpose] = [x.astype(np.dtype(kind)) for x in self.precise]
        return self._copies[kind, purpose]

    def random_direction(self, random: np.random.Generator) -> Arrays:
        """Return independent Gaussian numbers for every coordinate."""
        return [random.standard_normal(x.shape) for x in self.precise]

    # The numeric derivative.

    def derivative(
        self,
        line: Line,
        step: float | None = None,
        agrees: Callable[[Derivative], bool] | None = None,
    ) -> Derivative:
        """Return the derivative along a line by the method of this check.

        Args:
            line: the outputs along it; see derivatives.py.
            step: the first step; None: the method's own.
            agrees: whether a derivative is as expected; see derivatives.richardson.
        """
        step = step or self.method.step
        if self.method.name == "complex":
            return derivatives.complex_step(line, step)
        if self.method.name == "central":
            return derivatives.central(line, step, self.noise)
        return derivatives.richardson(line, step, self.noise, agrees)

    def entry(self, variable: int, index: tuple[int, ...], cotangents: Arrays) -> float:
        """Return one entry of the gradient, computed numerically."""
        line, unit = self.at(variable, index)
        vector = flat(cotangents).astype(np.float64)
        return float(vector @ self.derivative(line).value) / unit

    # The analytic gradient.

    def cotangents(self, random: np.random.Generator) -> Arrays:
        """Return Gaussian cotangents in the outputs' dtypes; zeros for integer outputs."""
        return [
            np.asarray(random.standard_normal(o.shape)).astype(o.dtype)
            if o.dtype.kind == "f"
            else np.zeros(o.shape)
            for o in self.outputs
        ]

    def gradients(self, cotangents: Arrays, values: Arrays | None = None) -> GivenGradients:
        """Return the gradient of each variable in float64, None where it has none.

        These are copies, as a target may return the same arrays at every call.

        Args:
            cotangents: one for each output.
            values: where to take the gradient; None: at the point of this evaluation.
        """
        given = zip(self.raw(cotangents, values), self.problem.variables, strict=True)
        usable = [as_gradient(g, variable.value) for g, variable in given]
        return [None if g is None else g.copy() for g in usable]

    def raw(self, cotangents: Arrays, values: Arrays | None = None) -> list:
        """Return the gradients exactly as the target gives them."""
        pullback = self._pullback if values is None else self.problem.vjp(values)[1]
        return pullback(copies(cotangents))

    def jittered(self, random: np.random.Generator, places: Iterable[int]) -> Iterator[Arrays]:
        """Yield the point moved by some rounding errors, along one line of random signs.

        Multiples `places` of one sign stay on one side of a kink that the point is on.
        """
        signs = [np.sign(random.standard_normal(x.shape)) for x in self.values]
        for k in places:
            yield [
                x
                + (k * _JITTER[x.dtype] * np.maximum(np.abs(x), 0.25 * _scale(x)) * s).astype(
                    x.dtype
                )
                for x, s in zip(self.values, signs, strict=True)
            ]

    def disturbed(self, random: np.random.Generator) -> Arrays:
        """Return the point moved by up to two rounding errors; zeros stay zero."""
        return [
            x + 4 * np.finfo(x.dtype).eps * x * (random.random(x.shape, x.dtype) - 0.5)
            for x in self.values
        ]

    def gradient_noise(self, cotangents: Arrays) -> Arrays:
        """Return the standard deviation of the rounding noise in each entry of the gradients.

        Measured like the outputs' noise (derivatives.noise), in the dtype that is checked. No
        entry counts as less noisy than twice the median of its array.
        """
        found = [
            self.gradients(cotangents, values)
            for values in self.jittered(self.options.random(2), range(1, 8))
        ]
        result = []
        for i, variable in enumerate(self.problem.variables):
            stack = [gradients[i] for gradients in found]
            known = [g for g in stack if g is not None]
            if len(known) < len(stack):
                result.append(np.zeros(variable.value.shape))
                continue
            third = np.diff(np.stack(known), 3, axis=0)
            own = np.sqrt(np.mean(third * third, axis=0) / 20)
            own = np.where(np.isfinite(own), own, 0.0)
            usual, largest = np.median(own), np.abs(np.nan_to_num(known[0])).max()
            # Larger differences are not rounding: the gradient jumps, at a kink.
            own = np.minimum(own, 4 * usual + _JUMP * self.problem.eps * largest)
            result.append(np.maximum(own, 2 * usual))
        return result


def _protected(problem: Problem) -> Problem:
    """Return the problem of a function that overwrites its inputs, with copies handed to it.

    That it does so is reported by properties.untouched; the rest is judged as if it did not.
    """
    return replace(
        problem,
        forward=lambda given: problem.forward(copies(given)),
        vjp=lambda given: problem.vjp(copies(given)),
        unprotected=problem.vjp,
    )


def _scale(x: NDArray[Any]) -> float:
    """Return how far an array may be moved: by 1, or by its largest entry where that is smaller."""
    return min(1.0, float(np.abs(x).max())) or 1.0
