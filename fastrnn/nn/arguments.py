"""The arguments of a call: checked, and turned into a Call and what Program.run takes.

The messages are checks.py's; here is what a layer, a cell and a function expect, which differ in
their axes alone. Whatever was looked at once for a shape is not looked at again for it.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastrnn import checks
from fastrnn.engine.batch import Batch, batch_of
from fastrnn.kernels.threads import get_num_threads
from fastrnn.nn.call import Call
from fastrnn.nn.gradients import Gradients
from fastrnn.nn.spec import Spec


def bare(states: tuple) -> Any:
    """Return the tuple, or its only member: an LSTM's state is a pair, others' an array."""
    return states[0] if len(states) == 1 else states


def members(state: Any) -> tuple:
    """Return a state of one or two members as a tuple; `bare` undoes it."""
    return state if isinstance(state, tuple) else (state,)


def read_shape(
    owner: str, spec: Spec, x: Any, *, batch_first: bool = False, unbatched: bool = True
) -> tuple[np.ndarray, Call]:
    """Return the input of a layer or a function, and the Call that it makes.

    Args:
        owner: names the call in errors.
        spec: what is called.
        x: the input.
        batch_first: x is (B, T, ...).
        unbatched: allow x without a batch axis.

    Raises:
        TypeError, ValueError: x is not a valid input; integers are not looked at.
    """
    x, batched = checks.sequence(
        owner, x, spec.input_size, spec.dtype, batch_first=batch_first, unbatched=unbatched
    )
    batch_first = batch_first and batched
    time, batch = x.shape[:2] if batched else (x.shape[0], 1)
    if batch_first:
        time, batch = batch, time
    return x, Call(time, batch, get_num_threads(), x.dtype.kind in "iu", batched, batch_first)


def read_call(
    owner: str, spec: Spec, x: Any, lengths: Any, reset: Any = None, **axes: bool
) -> tuple[np.ndarray, Call, Batch | None]:
    """Return what read_shape does, and the sequences; None: whole rows, without resets.

    Integers are looked at up to the rows' ends.

    Args:
        owner: names the call in errors.
        spec: what is called.
        x: the input.
        lengths: as the caller gave them.
        reset: as the caller gave it.
        axes: `batch_first` and `unbatched`, see read_shape.

    Raises:
        TypeError, ValueError, IndexError: x is not a valid input, or lengths or reset are none.
    """
    x, call = read_shape(owner, spec, x, **axes)
    lengths = checks.lengths(owner, lengths, call.time, call.batch, call.batched)
    if call.one_hot:
        checks.classes(owner, x, spec.input_size, lengths, call.batch_first)
    call = call._replace(plain=lengths is None)
    return x, call, read_batch(owner, call, reset, lengths)


def read_batch(
    owner: str, call: Call, reset: Any, lengths: np.ndarray | None = None
) -> Batch | None:
    """Return the sequences of a call; None: whole rows, and no mask.

    Args:
        owner: names the call in errors.
        call: whose sequences they are.
        reset: as the caller gave it.
        lengths: (B,) int64, or None.

    Raises:
        TypeError, ValueError: reset is no mask of the call's shape.
    """
    mask = checks.reset(owner, reset, call.time, call.batch, call.batched, call.batch_first)
    if lengths is None and mask is None:
        return None
    return batch_of(call.time, call.batch, lengths, mask)


def read_step(owner: str, spec: Spec, x: Any) -> tuple[np.ndarray, Call]:
    """Return the input of a cell, and the Call that it makes; see read_shape."""
    x = checks.array(owner, "input", x)
    axes = x.ndim + (x.dtype.kind in "iu")
    if axes not in (1, 2):
        raise ValueError(
            f"{owner}: input has shape {x.shape}; expected (batch, input_size) or (input_size,) "
            f"with input_size = {spec.input_size}, or integers (batch,)."
        )
    batched = axes == 2
    one_step = x[None] if batched else x[None, None]
    checks.sequence(
        owner, one_step, spec.input_size, spec.dtype, batch_first=False, unbatched=False
    )
    batch, one_hot = x.shape[0] if batched else 1, x.dtype.kind in "iu"
    if one_hot:
        checks.classes(owner, one_step, spec.input_size)
    return x, Call(1, batch, get_num_threads(), one_hot, batched, stacked=False, emit=False)


def read_state(owner: str, name: str, pattern: str, value: Any, program: Any) -> tuple | None:
    """Return a state, or a gradient at one, as Program.run takes it; None: all zero.

    Args:
        owner: names the call in errors.
        name: the argument.
        pattern: of the names of its members, e.g. "{}_0".
        value: what was given.
        program: of the call.

    Raises:
        TypeError, ValueError: it is not a valid one.
    """
    if value is None:
        return None
    shapes, dtype = program.state_shapes, program.spec.dtype
    if type(value) is np.ndarray and len(shapes) == 1:
        if value.shape == shapes[0] and value.dtype == dtype:
            return (value,)
    elif type(value) is tuple and len(value) == len(shapes) > 1:
        for member, shape in zip(value, shapes, strict=True):
            if type(member) is not np.ndarray or member.shape != shape or member.dtype != dtype:
                break
        else:
            return value
    spec, call = program.spec, program.call
    leading = "num_layers * num_directions, " * call.stacked + "batch, " * call.batched
    return checks.states(
        owner,
        name,
        value,
        [pattern.format(state) for state in spec.cell.states],
        shapes,
        [
            leading + ("proj_size" if spec.proj_size and i == 0 else "hidden_size")
            for i in range(len(shapes))
        ],
        spec.dtype,
    )


class _TapedGradient:
    """The gradient of one call, as a function; pure, and it owns its tape. Abstract."""

    def __init__(self, owner: str, program: Any, tape: Any, names: Sequence[Sequence[str | None]]):
        self._owner, self._program, self._tape, self._names = owner, program, tape, names

    @property
    def nbytes(self) -> int:
        """Bytes kept alive beyond the arrays the caller passed in and got back."""
        return self._tape.nbytes

    def _pull(self, d_output, d_state, pattern: str, wrt_input: bool) -> Gradients:
        d_final = read_state(self._owner, "d_state", pattern, d_state, self._program)
        d_x, d_initial, d_weights = self._program.pull(self._tape, d_output, d_final, wrt_input)
        return Gradients(d_x, bare(d_initial), named(self._names, d_weights))


class Pullback(_TapedGradient):
    """The gradient of one call of a layer or a function."""

    def __call__(self, d_output, d_state=None, *, wrt_input: bool = True) -> Gradients:
        """Return the gradients of sum(output * d_output) + sum(state * d_state).

        Args:
            d_output: the gradient at the output, of its shape, or None: zero.
            d_state: the gradient at the state, in its form, or None: zero.
            wrt_input: compute the gradient at the input; else `input` is None.

        Raises:
            TypeError, ValueError: an argument of another type, dtype or shape.
        """
        program = self._program
        checks.boolean(self._owner, "wrt_input", wrt_input)
        shape, dtype = program.output_shape, program.spec.dtype
        d_output = checks.cotangent(self._owner, d_output, shape, dtype)
        return self._pull(d_output, d_state, "d_{}_n", wrt_input)


class StepPullback(_TapedGradient):
    """The gradient of one call of a cell, which has no output besides its state."""

    def __call__(self, d_state) -> Gradients:
        """Return the gradients of sum(state * d_state).

        Args:
            d_state: the gradient at the new state, in its form; None, or None in it: zero.

        Raises:
            TypeError, ValueError: an argument of another type, dtype or shape.
        """
        return self._pull(None, d_state, "d_{}", True)


def named(names: Sequence[Sequence[str | None]], weights: Sequence[tuple]) -> dict[str, np.ndarray]:
    """Return weights, or gradients at them, by their names."""
    return {
        name: weight
        for own, arrays in zip(names, weights, strict=True)
        for name, weight in zip(own, arrays, strict=True)
        if name is not None
    }
