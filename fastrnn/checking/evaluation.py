"""A problem, evaluated: its gradient at one point, its outputs, and lines through the point.

Shared by the three modes (coordinates.py, projections.py) and by location.py and diagnosis.py.
Nothing is judged here.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastrnn.checking import derivatives
from fastrnn.checking.arrays import as_gradient, copies
from fastrnn.checking.derivatives import Derivative, Line
from fastrnn.checking.method import choose
from fastrnn.checking.options import CheckOptions
from fastrnn.checking.outputs import Outputs
from fastrnn.checking.problem import Arrays, Problem, flat

GivenGradients = list[NDArray[Any] | None]  # None for a variable that has none
_APART = 2.0**-20  # of a coordinate's size to its array's, below which it has a scale of its own
VANISHING = 2.0**-900
_TINY = float(np.finfo(np.float64).tiny)
_LEAST = float(np.finfo(np.float64).smallest_subnormal)


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
        units: which outputs have a derivative, and the unit and the noise of each.
        method: how derivatives are taken, a Method.
        nearest: distance, in units of the coordinate, below which a kink cannot be avoided.
        here: all outputs at the point, in their units.
        cotangent: one array for each output, for every check that needs some cotangent.
        gradient: what the target returned for that cotangent.
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
        precise = self.problem.forward(self.precise)  # an exception here is not a domain's edge
        self.units = Outputs(self.outputs, precise)
        self.outputs = self.units.values  # copies: a pullback may overwrite those it keeps
        near = [
            v * u for v, u in zip(self.random_direction(options.random(1)), self.near, strict=True)
        ]
        noise = derivatives.noise(self.along(near), self.units.resolution)
        self.units.settle(noise, self.problem.eps)
        self.here = self._forward(self.precise)
        self.cotangent = self.cotangents(options.random(8))
        self.gradient = [
            np.array(g) if isinstance(g, np.ndarray) else g for g in self.raw(self.cotangent)
        ]
        length = float(np.sqrt(sum(v.size for v in near)))
        self.method = choose(problem, options, self.along(near), length, self.units.noise)
        self.nearest = 2.0**-16 if self.method.name == "central" else 2.0**-24

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

    @property
    def near(self) -> Arrays:
        """How far each coordinate may be moved: by its size, or by up to 1/4 in an array of such.

        A coordinate that is tiny beside the others has a scale of its own.
        """
        return [_near(x) for x in self.precise]

    @property
    def spans(self) -> Arrays:
        """How far each coordinate is moved in a random direction: by 1, or by its array's size."""
        return [
            np.where(n < _APART / 4, n, max(1.0, float(np.abs(x).max())))
            for x, n in zip(self.precise, self.near, strict=True)
        ]

    def lengths(self, variable: int, index: tuple[int, ...]) -> list[float]:
        """Return the units in which to move a coordinate, in the order in which to try them.

        Differences want steps as long as the function allows: first 1/4 or the coordinate's own
        size, then the size of its array, then its own even if it is tiny. The complex step loses
        nothing with the smallest.
        """
        array = self.precise[variable]
        own, largest = abs(float(array[index])), float(np.abs(array).max())
        sizes = [max(own, 0.25), max(own, largest / 4) or 0.25, own or largest or 0.25]
        if self.method.name == "complex":
            sizes = sizes[-1:]
        elif self.options.eps is not None:
            sizes = sizes[:1]
        elif self.method.step > derivatives.RICHARDSON_STEP:  # as the outputs are rough
            sizes.append(32 * sizes[0])
        powers = [
            float(2.0 ** np.clip(np.ceil(np.log2(max(s, _TINY))), -1000, 1000)) for s in sizes
        ]
        return list(dict.fromkeys(powers))

    def at(
        self,
        variable: int,
        index: tuple[int, ...],
        unit: float | None = None,
        point: Arrays | None = None,
    ):
        """Return the line through one coordinate, in a unit of its size, and that unit.

        Args:
            variable: its position among the variables.
            index: of the coordinate.
            unit: one of `lengths`; None: the first.
            point: in float64; None: that of this evaluation.
        """
        unit = unit or self.lengths(variable, index)[0]
        start = (point or self.precise)[variable][index]

        def line(s):
            kind = complex if isinstance(s, complex) else float
            arrays = self._work(kind) if point is None else [x.astype(kind) for x in point]
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
            if result.size == self.size:
                return self.units.measured(result)
        except (ArithmeticError, AssertionError, ValueError, np.linalg.LinAlgError):
            if values[0].dtype.kind == "c":
                raise  # it takes no complex numbers
            return np.full(self.size, np.nan)
        raise ValueError(
            f"gradcheck: {self.problem.name} returned {self.size} numbers, and {result.size} "
            "nearby; expected outputs whose shapes do not depend on the values."
        )

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
        unit: float = 1.0,
    ) -> Derivative:
        """Return the derivative along a line by the method of this check.

        Args:
            line: the outputs along it; see derivatives.py.
            step: the first step; None: the method's own.
            agrees: whether a derivative is as expected; see derivatives.richardson.
            unit: of the line; one so small that a complex step would vanish gets differences.
        """
        if self.method.name == "complex" and unit < VANISHING:
            step = derivatives.RICHARDSON_STEP
        elif self.method.name == "complex":
            return self.exact(line, step or self.method.step)
        step = step or self.method.step
        if self.method.name == "central":
            return derivatives.central(line, step, self.units.noise)
        return derivatives.richardson(line, step, self.units.noise, agrees)

    def exact(self, line: Line, step: float = derivatives.COMPLEX_STEP) -> Derivative:
        """Return the derivative by the complex step; a longer one where the given one underflows.

        Args:
            line: the outputs along it.
            step: in the unit of the line.
        """
        least = _LEAST if self.units.unit is None else np.maximum(_LEAST / self.units.unit, _LEAST)
        found = derivatives.complex_step(line, step, least)
        if 2 * np.max(least) / step < 1e-30:  # the usual case
            return found
        lost = found.error > 1e-15 * np.abs(found.value)
        if lost.any() and step < derivatives.COARSE_COMPLEX_STEP:
            found = derivatives.complex_step(line, derivatives.COARSE_COMPLEX_STEP, least)
            lost = (found.value == 0) & (found.error > 1e-6)  # 0, or too small to be told
            found.error[lost] = np.inf
        return found

    def entry(self, variable: int, index: tuple[int, ...], cotangents: Arrays) -> float:
        """Return one entry of the gradient, computed numerically."""
        line, unit = self.at(variable, index)
        return float(self.units.contraction(cotangents) @ self.derivative(line).value) / unit

    # The analytic gradient.

    def cotangents(self, random: np.random.Generator, group: int | None = None) -> Arrays:
        """Return random cotangents of all outputs, or of one group; see outputs.Outputs."""
        return self.units.cotangents(random, group)

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

    def disturbed(self, random: np.random.Generator) -> Arrays:
        """Return the point moved by up to two rounding errors; zeros stay zero."""
        return [
            x + 4 * np.finfo(x.dtype).eps * x * (random.random(x.shape, x.dtype) - 0.5)
            for x in self.values
        ]


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


def _near(x: NDArray[Any]) -> NDArray[Any]:
    """Return how far each coordinate of an array may be moved; see Evaluation.near."""
    size = np.abs(x)
    usual = 0.25 * (min(1.0, float(size.max())) or 1.0)
    tiny = (size > 0) & (size < _APART * usual)
    return np.where(tiny, size, np.maximum(size, usual))
