"""This package's layers, cells and Linear as targets.

The user's object is never touched: copies of it run, one for each dtype, on arrays that take the
place of their parameters. In complex numbers there are no kernels, and the equations of the cell
stand in (equations.py); that they are the same function is a check of its own.
"""

import contextlib
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from fastrnn import checks
from fastrnn.checking.problem import Arrays, Problem, SequenceInfo, Variable
from fastrnn.checking.targets import equations
from fastrnn.nn.arguments import bare, members
from fastrnn.nn.cells import RecurrentCell
from fastrnn.nn.gradients import Gradients
from fastrnn.nn.layer import RecurrentLayer
from fastrnn.nn.linear import Linear
from fastrnn.nn.module import Module

Run = tuple[Arrays, Callable[[list], Gradients]]


def problem_of_own(target: Module, inputs: tuple, seed: int) -> Problem:
    """Return the problem of a layer, a cell or Linear; inputs: those of a call, as `Own.takes`."""
    kinds = {RecurrentLayer: OwnLayer, RecurrentCell: OwnCell, Linear: OwnLinear}
    own = next(own for kind, own in kinds.items() if isinstance(target, kind))(target, inputs, seed)
    return Problem(
        repr(target),
        "layer",
        own.variables,
        own.forward,
        own.vjp,
        required=tuple(v.name for v in own.variables),
        steps=own.steps(),
        none_is_zero=True,
    )


class Own:
    """What the three kinds share: a target as a function of its input, state and parameters.

    Attributes:
        target: the user's object.
        x: its input, an array.
        one_hot: x is integers, and no variable.
        states: names of its states.
        variables: see problem.Problem.
        lengths: of a layer's rows, or None.
        reset: of a layer's rows, or None.
    """

    takes: tuple[str, ...]

    def __init__(self, target: Any, inputs: tuple, seed: int):
        self.target, self.seed, most = target, seed, len(self.takes)
        if not 1 <= len(inputs) <= most:
            raise TypeError(
                f"gradcheck: {type(target).__name__} got {len(inputs)} inputs; expected a tuple "
                f"of at most {most}: ({', '.join(self.takes)}{',' * (most == 1)})."
            )
        x, state, self.lengths, self.reset = (*inputs, None, None, None)[:4]
        self.copies: dict[np.dtype, Any] = {target.dtype: copied(target, target.dtype)}
        outputs, _ = self.run(self.copies[target.dtype], x, state)  # which refuses what is wrong
        self.x = checks.array("gradcheck", "input", x)
        self.one_hot = self.x.dtype.kind in "iu"
        self.states: tuple[str, ...] = target.cell.states if "state" in self.takes else ()
        # Where no state was given it is zero, and its gradient is checked all the same.
        given = checks.members("gradcheck", "state", state, self.states) if self.states else ()
        final = outputs[len(outputs) - len(self.states) :]
        start = [
            np.zeros_like(f) if s is None else checks.array("gradcheck", "state", s)
            for s, f in zip(given, final, strict=True)
        ]
        self.variables = (
            *[Variable("input", self.x, self.axes(), time=self.time())] * (not self.one_hot),
            *(self.state_variable(*pair) for pair in zip(self.states, start, strict=True)),
            *map(self._parameter, target.params),
        )

    def run(self, layer: Any, x: Any, state: Any) -> Run:
        """Return the outputs of the vjp, and the pullback of a list of cotangents."""
        raise NotImplementedError

    def call(self, layer: Any, x: Any, state: Any) -> Arrays:
        """Return the outputs of a plain call."""
        raise NotImplementedError

    def axes(self) -> tuple[str, ...]:
        """Return a word for each axis of x."""
        raise NotImplementedError

    def time(self) -> int | None:
        """Return the axis of x that is time."""
        return None

    def steps(self) -> SequenceInfo | None:
        """Return what is known of the sequence that is read."""
        return None

    def state_variable(self, name: str, value: np.ndarray) -> Variable:
        """Return the variable of a state."""
        return Variable(name, value, (*["row"] * (value.ndim - 1), "unit"))

    def _parameter(self, name: str) -> Variable:
        kind, gates = name.partition("_l")[0], ()
        if self.states and kind != "weight_hr":
            gates = self.target.cell.gates
        axes = ("unit" if gates else "output", "from input" if kind == "weight_ih" else "from")
        return Variable(name, self.target.parameter(name), axes, gates)

    def masks(self, time: int, batch: int) -> tuple:
        """Return what dropout multiplies the input of each layer but the first by."""
        return ()

    def split(self, values: Arrays) -> tuple[Any, Any, dict[str, np.ndarray]]:
        """Return x, the state and the parameters from values of the variables."""
        rest = list(values)
        x = self.x if self.one_hot else rest.pop(0)
        members = tuple(rest.pop(0) for _ in self.states)
        state = bare(members) if members else None
        return x, state, dict(zip(self.target.params, rest, strict=True))

    def _arguments(self, values: Arrays) -> tuple[Any, Any, Any]:
        """Return a copy of the target, in the dtype of the values and with them in it, x, state."""
        x, state, params = self.split(values)
        dtype = values[-1].dtype
        if dtype not in self.copies:
            self.copies[dtype] = copied(self.target, dtype)
        self.copies[dtype].params.update(params)
        return self.copies[dtype], x, state

    def forward(self, values: Arrays) -> Arrays:
        """Return the outputs: the emitted sequence, if there is one, and the final states."""
        if any(value.dtype.kind == "c" for value in values):
            sequences = self.lengths, self.reset, self.masks
            return equations.run(self.target, *self.split(values), *sequences)
        return self.call(*self._arguments(values))

    def vjp(self, values: Arrays):
        """Return the outputs and the pullback, as Problem wants them."""
        outputs, pull = self.run(*self._arguments(values))

        def gradients(cotangents):
            grads = pull(cotangents)
            first = [] if self.one_hot else [grads.input]
            params = [grads.params.get(name) for name in self.target.params]
            return [*first, *members_of(grads.state), *params]

        return outputs, gradients


class OwnLinear(Own):
    """A Linear."""

    takes = ("x",)

    def run(self, layer, x, state):
        y, pullback = layer.vjp(x)
        return [y], lambda cotangents: pullback(cotangents[0])

    def call(self, layer, x, state):
        return [layer(x)]

    def axes(self):
        return (*[""] * (self.x.ndim - 1), "feature")


class OwnCell(Own):
    """A cell: one step."""

    takes = ("x", "state")

    def run(self, layer, x, state):
        new, pullback = layer.vjp(x, state)
        count = len(layer.cell.states)
        return list(members_of(new)), lambda cotangents: pullback(bare(tuple(cotangents[:count])))

    def call(self, layer, x, state):
        return list(members_of(layer(x, state)))

    def axes(self):
        return (*["row"] * (self.x.ndim - 1), "feature")


class OwnLayer(Own):
    """A layer that reads sequences."""

    takes = ("x", "state", "lengths", "reset")

    def run(self, layer, x, state):
        layer.seed_dropout(self.seed)  # the same masks every time
        (output, final), pullback = layer.vjp(x, state, self.lengths, **self._more())
        return [output, *members_of(final)], lambda cotangents: pullback(
            cotangents[0], bare(tuple(cotangents[1:]))
        )

    def call(self, layer, x, state):
        if layer.dropout and layer.num_layers > 1:  # which only vjp applies
            return self.run(layer, x, state)[0]
        output, final = layer(x, state, self.lengths, **self._more())
        return [output, *members_of(final)]

    def _more(self) -> dict[str, Any]:
        return {} if self.reset is None else {"reset": self.reset}

    @property
    def takes_reset(self) -> bool:
        """Whether the layer does: a user's class may have a vjp of its own that does not."""
        parameters = inspect.signature(self.target.vjp).parameters.values()
        return any(p.name == "reset" or p.kind is p.VAR_KEYWORD for p in parameters)

    def masks(self, time, batch):
        layer = copied(self.target, np.float64)
        layer.seed_dropout(self.seed)
        return layer.dropout_masks(time, batch)

    @property
    def batched(self) -> bool:
        """Whether x has an axis of rows."""
        return self.x.ndim + self.one_hot == 3

    def axes(self):
        if not self.batched:
            return ("t", "feature")
        return ("row", "t", "feature") if self.time() else ("t", "row", "feature")

    def time(self):
        return int(self.batched and self.target.batch_first)

    def steps(self):
        time = self.time()
        return SequenceInfo(
            self,
            None if self.one_hot else 0,
            time,
            1 - time if self.batched else None,
            not self.target.bidirectional,
        )

    def state_variable(self, name, value):
        return Variable(f"{name}_0", value, ("layer", *["row"] * (value.ndim - 2), "unit"))

    @contextlib.contextmanager
    def with_sequences(self, lengths: Any = None, reset: Any = None) -> Iterator[None]:
        """Run with other lengths and resets for a while."""
        before = self.lengths, self.reset
        self.lengths, self.reset = lengths, reset
        try:
            yield
        finally:
            self.lengths, self.reset = before


def members_of(state: Any) -> tuple:
    """Return the arrays of a state as a tuple."""
    return () if state is None else members(state)


def copied(target: Any, dtype: Any) -> Any:
    """Return a copy of a layer that computes in another dtype, with parameters of its own."""
    return target.with_parameters(
        {name: target.parameter(name).astype(dtype) for name in target.shapes}
    )
