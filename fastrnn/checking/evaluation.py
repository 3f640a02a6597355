"""A problem made ready to be judged: its analytic gradient, its noise, and lines through its point.

Shared by the three modes (coordinates.py, projections.py) and by what looks closer after a failure.
"""

import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastrnn.checking import derivatives
from fastrnn.checking.derivatives import Derivative, Line
from fastrnn.checking.options import Options
from fastrnn.checking.problem import Arrays, Problem, flat

# Measured noise is a standard deviation, and the largest of thousands of entries is what counts.
NUMERIC_SAFETY, ANALYTIC_SAFETY, ULPS = 10.0, 12.0, 16.0

Gradients = list[NDArray[Any] | None]
_JUMP = 1e4
# No power of two: near 1, the roundings of x * x at multiples of one would lie on a line.
_JITTER = {np.dtype(np.float32): 1.618 * 2.0**-20, np.dtype(np.float64): 1.618 * 2.0**-40}


class Method(NamedTuple):
    """How derivatives are taken, and why so."""

    name: str  # "complex", "richardson", "central"
    step: float
    why: str


class Evaluation:
    """One problem at its point.

    Attributes:
        outputs: of the forward pass of the vjp, in the dtype of the target.
        noise: of the outputs in float64, as a 2-norm.
        method: see Method.
        nearest: kinks nearer than that, in units of the coordinate, cannot be looked past.
        cotangent: one for each output, for all checks that need any.
        gradient: what the target returned for it.
        behind: for each variable, how large its gradient would be behind no saturated unit: a
            gradient made from the outputs, as 1 - y**2, is exact only to a part of that.
    """

    def __init__(self, problem: Problem, options: Options):
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
        self.outputs = copies(self.outputs)  # a pullback may write into its own
        self.problem.forward(self.precise)  # what it raises here is no edge of its domain
        self.gradient = [
            np.array(g) if isinstance(g, np.ndarray) else g for g in self.raw(self.cotangent)
        ]
        self.behind = self._behind()
        direction = self.random_direction(options.random(1))
        self.noise = derivatives.noise(self.along(direction))
        self.method = self._choose(direction)
        self.nearest = 2.0**-16 if self.method.name == "central" else 2.0**-24

    def _behind(self) -> list[float]:
        """Return, for each variable, what arrives at a unit times what else it is multiplied by.

        What arrives is a cotangent, or, in a recurrence, sums of them, as large as the gradient of
        a bias or a state: the least of the largest entries. The rest is the largest other input.
        What saturates is at most 1, whatever else the outputs are.
        """
        given = [as_gradient(g, x) for g, x in zip(self.gradient, self.values, strict=True)]
        sizes = [float(np.max(np.abs(g))) for g in given if g is not None]
        least = min((s for s in sizes if s and np.isfinite(s)), default=0.0)
        bounded = [
            np.abs(c) * np.minimum(np.abs(o), 1)
            for c, o in zip(self.cotangent, self.outputs, strict=True)
        ]
        arrives = max([least, *(float(np.nan_to_num(b).max(initial=0)) for b in bounded)])
        reach = [float(np.max(np.abs(x))) for x in self.values]
        return [arrives * max([1.0, *reach[:i], *reach[i + 1 :]]) for i in range(len(reach))]

    # Lines.

    def along(self, direction: Arrays):
        """Return the line x + s v, all variables at once."""

        def line(s):
            if isinstance(s, complex):
                moved = [x + s * v for x, v in zip(self.precise, direction, strict=True)]
                return self._forward(moved)
            moved = self._work(float, "line")  # to allocate them every time takes longer
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
        """Return the outputs as one vector; NaN where a function refuses what is not its domain."""
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
        """Return copies of the point to change in place, made once for each purpose."""
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
            line: see derivatives.py.
            step: the first; None: that of the method.
            agrees: see derivatives.richardson.
        """
        step = step or self.method.step
        if self.method.name == "complex":
            return derivatives.complex_step(line, step)
        if self.method.name == "central":
            return derivatives.central(line, step, self.noise)
        return derivatives.richardson(line, step, self.noise, agrees)

    def entry(self, variable: int, index: tuple[int, ...], cotangents: Arrays) -> float:
        """Return one entry of the gradient, by differences."""
        line, unit = self.at(variable, index)
        vector = flat(cotangents).astype(np.float64)
        return float(vector @ self.derivative(line).value) / unit

    def _choose(self, direction: Arrays) -> Method:
        asked, eps = self.options.method, self.options.eps
        steps = {
            "complex": derivatives.COMPLEX_STEP,
            "richardson": derivatives.RICHARDSON_STEP,
            "central": derivatives.CENTRAL_STEP,
        }
        if asked in ("richardson", "central"):
            return Method(asked, eps or steps[asked], "asked for")
        if asked == "auto" and self.problem.kind == "layer":
            why = "compiled kernels take no complex numbers"
            return Method("richardson", eps or steps["richardson"], why)
        refused = self._refuses_complex(direction, eps or steps["complex"])
        if self.problem.kind == "layer" and not refused.startswith("raises"):
            why = "of the cell's equations, which the kernels have to equal"
            return Method("complex", eps or steps["complex"], why)
        if not refused:
            return Method("complex", eps or steps["complex"], "it takes complex numbers")
        if asked == "complex":
            raise ValueError(
                f"gradcheck: method='complex', but {self.problem.name} {refused}; use "
                "method='richardson', or 'auto'."
            )
        return Method("richardson", eps or steps["richardson"], f"in complex numbers it {refused}")

    def _refuses_complex(self, direction: Arrays, step: float) -> str:
        """Return why the function has no complex step, or ""."""
        line = self.along([v * _scale(x) for v, x in zip(direction, self.precise, strict=True)])
        here = line(0.0)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                there = line(1j * step)
        except Exception as error:
            return f"raises {type(error).__name__}"
        if there.dtype.kind != "c" or there.shape != here.shape:
            return "returns real numbers"
        if not np.allclose(
            np.real(there), here, rtol=1e-12, atol=1e-13 * np.abs(here).max(initial=0)
        ):
            return "has other values"
        exact = derivatives.complex_step(line, step)
        length = np.sqrt(sum(v.size for v in direction))
        other = derivatives.richardson(line, derivatives.RICHARDSON_STEP / length, self.noise)
        away = np.abs(exact.value - other.value).max(initial=0)
        if not away <= 1e-6 * np.abs(other.value).max(initial=0) + NUMERIC_SAFETY * other.error:
            return "is not analytic (abs, conj, or a comparison of complex numbers?)"
        return ""

    # The analytic gradient.

    def cotangents(self, random: np.random.Generator) -> Arrays:
        """Return Gaussian cotangents of the outputs' dtypes; zeros for integers."""
        return [
            np.asarray(random.standard_normal(o.shape)).astype(o.dtype)
            if o.dtype.kind == "f"
            else np.zeros(o.shape)
            for o in self.outputs
        ]

    def gradients(self, cotangents: Arrays, values: Arrays | None = None) -> Gradients:
        """Return the gradient of each variable in float64, None where it has none.

        Copies: a target may return the same arrays at every call.

        Args:
            cotangents: of the outputs.
            values: where; None: at the point of this evaluation.
        """
        given = zip(self.raw(cotangents, values), self.problem.variables, strict=True)
        usable = [as_gradient(g, variable.value) for g, variable in given]
        return [None if g is None else g.copy() for g in usable]

    def raw(self, cotangents: Arrays, values: Arrays | None = None) -> list:
        """Return the gradients as the target gives them."""
        pullback = self._pullback if values is None else self.problem.vjp(values)[1]
        return pullback(copies(cotangents))

    def jittered(self, random: np.random.Generator, places: Iterable[int]) -> Iterator[Arrays]:
        """Yield the point moved by multiples of some roundings, along one line of random signs.

        Places of one sign stay on one side of a kink that the point is on.
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
        """Return the point moved by up to two roundings, zeros left where they are."""
        return [
            x + 4 * np.finfo(x.dtype).eps * x * (random.random(x.shape, x.dtype) - 0.5)
            for x in self.values
        ]

    def gradient_noise(self, cotangents: Arrays) -> Arrays:
        """Return the standard deviation of the rounding noise in each entry of the gradients.

        As that of the outputs (derivatives.noise), in the arithmetic that is judged. No entry is
        taken to be quieter than twice the median of its array.
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
            # More than that is no rounding: the gradient jumps, at a kink.
            own = np.minimum(own, 4 * usual + _JUMP * self.problem.eps * largest)
            result.append(np.maximum(own, 2 * usual))
        return result


def _protected(problem: Problem) -> Problem:
    """Return the problem of a function that writes into its inputs, with copies handed to it.

    That it does so is a finding (properties.untouched); all else is judged as if it did not.
    """
    return replace(
        problem,
        forward=lambda given: problem.forward(copies(given)),
        vjp=lambda given: problem.vjp(copies(given)),
        unprotected=problem.vjp,
    )


def _scale(x: NDArray[Any]) -> float:
    """Return how far an array may be moved: by 1, or where it is small, as far as it is large."""
    return min(1.0, float(np.abs(x).max())) or 1.0


def copies(cotangents: Arrays) -> Arrays:
    """Return what may be handed out: a target that writes into it harms only itself."""
    return [np.array(c) for c in cotangents]


def as_gradient(given: Any, like: NDArray[Any]) -> NDArray[Any] | None:
    """Return a gradient in float64, or None where it is none or not of the shape of `like`.

    Of what is wrong with it, properties.py speaks.
    """
    if given is None:
        return None
    array = np.asarray(given)
    if array.dtype.kind not in "fiu" or array.shape != like.shape:
        return None
    return array.astype(np.float64, copy=False)


def paired(gradients, direction) -> float:
    """Return the inner product of all gradients with a direction."""
    return float(
        sum(np.vdot(g, v) for g, v in zip(gradients, direction, strict=True) if g is not None)
    )
