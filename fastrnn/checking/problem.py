"""What is checked: a function of named arrays, and the gradient somebody wrote for it.

Whatever a user hands in is made a `Problem` by the modules of targets/. Nothing is differentiated
or judged here.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = list[NDArray[Any]]


@dataclass(frozen=True)
class Variable:
    """One array with respect to which the gradient is checked.

    Attributes:
        name: as the user knows it.
        value: float32 or float64, the point at which the gradient is taken.
        axes: a word for each axis, from which a coordinate gets its name: "unit" gives "unit 3",
            "from" gives "from 3"; empty: plain numbers.
        gates: names of the equal blocks of the first axis; empty: it has none.
        time: index of the time axis, or None.
    """

    name: str
    value: NDArray[Any]
    axes: tuple[str, ...] = ()
    gates: tuple[str, ...] = ()
    time: int | None = None

    def called(self, index: tuple[int, ...]) -> str:
        """Return a coordinate in the user's terms: weight_hh_l0[gate f, unit 3, from 7]."""
        if not index:
            return self.name
        words = []
        for axis, i in enumerate(index):
            place, word = i, self.axes[axis] if axis < len(self.axes) else ""
            if axis == 0 and self.gates:
                gate, place = divmod(i, self.value.shape[0] // len(self.gates))
                words.append(f"gate {self.gates[gate]}")
            words.append(f"{word} {place}".strip())
        return f"{self.name}[{', '.join(words)}]"

    def blocks(self) -> list[tuple[str, slice]]:
        """Return names and rows of its gates; one block without a name where there are none."""
        if not self.gates:
            return [("", slice(None))]
        units = self.value.shape[0] // len(self.gates)
        return [(gate, slice(g * units, (g + 1) * units)) for g, gate in enumerate(self.gates)]


@dataclass(frozen=True)
class SequenceInfo:
    """What is known of a function that reads a sequence.

    Attributes:
        function: the layer as a target (targets/fastrnn.py), for checks that call it differently.
        x: position of the sequence among the variables, or None if it is integers.
        time: index of the time axis, of the sequence and of the first output.
        batch: index of the batch axis, or None.
        causal: no output depends on a later input.
    """

    function: Any
    x: int | None
    time: int
    batch: int | None
    causal: bool


@dataclass(frozen=True)
class Problem:
    """A function of arrays, and its gradient.

    Attributes:
        name: name of the target.
        kind: "function", "pair", "layer", "torch function" or "torch module".
        variables: the arrays it is differentiated by.
        forward: (values) -> outputs. Values are one array for each variable: of the variables'
            dtypes; or all float64, for which it computes the same function in float64; or all
            complex128, which it may refuse with any exception.
        vjp: (values) -> (outputs, pullback); pullback(cotangents) returns one gradient, or None,
            for each variable, exactly as the target returned it.
        required: names of the variables for which a gradient of None is an error.
        steps: what is known of the sequence it reads; None: nothing.
        none_is_zero: its pullback takes None for a cotangent of zeros.
        notes: remarks for the report.
        unprotected: the vjp as given, if the target overwrites its inputs and `vjp` guards them.
    """

    name: str
    kind: str
    variables: tuple[Variable, ...]
    forward: Callable[[Arrays], Arrays]
    vjp: Callable[[Arrays], tuple[Arrays, Callable[[Any], list]]]
    required: tuple[str, ...] = ()
    steps: SequenceInfo | None = None
    none_is_zero: bool = False
    notes: list[str] = field(default_factory=list)
    unprotected: Callable | None = None

    @property
    def values(self) -> Arrays:
        """Copies of the point at which the gradient is taken."""
        return [variable.value.copy() for variable in self.variables]

    @property
    def precise(self) -> Arrays:
        """The same point in float64."""
        return [variable.value.astype(np.float64) for variable in self.variables]

    @property
    def eps(self) -> float:
        """Machine epsilon of the least precise variable: that of the arithmetic being checked."""
        return max(float(np.finfo(v.value.dtype).eps) for v in self.variables)


def flat(outputs: Arrays) -> NDArray[Any]:
    """Return all entries as one vector, with zeros for integer outputs, which have no derivative.

    Always a copy: an output may be an input, which is changed in place from call to call.
    """
    vectors = [np.ravel(a) if a.dtype.kind in "fc" else np.zeros(a.size) for a in outputs]
    return np.concatenate([*vectors, np.zeros(0)])


def restricted(problem: "Problem", wrt: Any) -> "Problem":
    """Return the problem with only the variables `wrt`; the others become constants.

    Args:
        problem: to restrict.
        wrt: names of the variables to keep; None: all of them.

    Raises:
        TypeError, ValueError: as in `chosen`.
    """
    kept = chosen(problem.variables, wrt)
    if kept == problem.variables:
        return replace(problem, required=tuple(v.name for v in kept) if wrt else problem.required)
    places = [i for i, variable in enumerate(problem.variables) if variable in kept]
    precise = {np.dtype(np.float64), np.dtype(np.complex128)}

    def whole(values):
        constants = problem.values
        if values[0].dtype in precise:
            constants = [c.astype(np.float64) for c in constants]
        for i, value in zip(places, values, strict=True):
            constants[i] = value
        return constants

    def vjp(values):
        outputs, pullback = problem.vjp(whole(values))
        return outputs, lambda cotangents: [pullback(cotangents)[i] for i in places]

    steps = problem.steps
    if steps is not None:
        steps = replace(steps, x=places.index(steps.x) if steps.x in places else None)
    return replace(
        problem,
        variables=kept,
        forward=lambda values: problem.forward(whole(values)),
        vjp=vjp,
        required=tuple(v.name for v in kept),
        steps=steps,
    )


def chosen(variables: tuple[Variable, ...], wrt: Any) -> tuple[Variable, ...]:
    """Return the variables with these names, in the order of the variables.

    Args:
        variables: to choose from.
        wrt: a name or several; None: all of them.

    Raises:
        TypeError: wrt is not a sequence of names.
        ValueError: a name is unknown, or wrt is empty.
    """
    if wrt is None:
        return variables
    wrt = (wrt,) if isinstance(wrt, str) else wrt
    names = [variable.name for variable in variables]
    if not isinstance(wrt, tuple | list) or not all(isinstance(name, str) for name in wrt):
        raise TypeError(f"gradcheck: wrt is {wrt!r}; expected names, some of {names}.")
    unknown = [name for name in wrt if name not in names]
    if unknown or not wrt:
        raise ValueError(f"gradcheck: wrt has {unknown or 'no name'}; expected some of {names}.")
    return tuple(variable for variable in variables if variable.name in wrt)
