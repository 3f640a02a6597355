"""`trace`: gates, states and their gradients at every step, as named arrays.

They are recorded in recorder.py; what they tell about learning is measured in flow.py.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastrnn import checks
from fastrnn.nn.arguments import bare, named, read_call, read_state
from fastrnn.nn.gradients import Gradients
from fastrnn.nn.layer import RecurrentLayer
from fastrnn.nn.program import Program, prepare
from fastrnn.tracing.recorder import Recorder


class PassTrace(NamedTuple):
    """One layer in one direction, at every step; 0 past a sequence's end.

    The axes are those of the layer's output: (T, B, H), or (B, T, H) with batch_first, or (T, H)
    unbatched, with P in place of H for a projected h. Index t is that of the input, also in the
    reverse direction, which reads from the end.

    Attributes:
        activations: gate -> its value after the nonlinearity: i, f, g, o of an LSTM, r, z, n of a
            GRU, a of an RNN (which is h).
        states: state -> its value after the step at t.
        d_preactivations: gate -> the gradient before the nonlinearity, the deltas of
            backpropagation; None if no gradient was given.
        d_states: state -> the gradient at the state after the step at t: what reaches it from the
            output at t and from all later steps. The h and c of an LSTM count as two values, as
            in the state that a layer takes and returns: the effect of c through the h of the same
            step is not in "c", but it is "h" * o * (1 - tanh(c)^2). None if no gradient was given.
    """

    activations: dict[str, NDArray]
    states: dict[str, NDArray]
    d_preactivations: dict[str, NDArray] | None
    d_states: dict[str, NDArray] | None


class Trace(Mapping[str, PassTrace]):
    """The result of `trace`: a mapping from "l0", "l0_reverse", "l1", ... to a PassTrace.

    Attributes:
        output: the layer's output.
        state: its final state.
        gradients: the pullback's Gradients; None if no gradient was given.
    """

    def __init__(
        self, passes: dict[str, PassTrace], output: NDArray, state: Any, gradients: Gradients | None
    ):
        self._passes, self.output, self.state, self.gradients = passes, output, state, gradients

    def __getitem__(self, name: str) -> PassTrace:
        if name not in self._passes:
            raise KeyError(f"{name!r}: the layer has {list(self._passes)}.")
        return self._passes[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._passes)

    def __len__(self) -> int:
        return len(self._passes)

    def __repr__(self) -> str:
        shape = next(iter(self._passes.values())).states["h"].shape
        return f"Trace({', '.join(self._passes)}: {shape})"


def trace(
    layer: Any,
    x: Any,
    d_output: Any = None,
    state: Any = None,
    lengths: Any = None,
    d_state: Any = None,
    *,
    reset: Any = None,
) -> Trace:
    """Run a layer forward and backward, and return its gates, states and gradients at every step.

    The gradients are those of sum(output * d_output) + sum(state * d_state), from the same kernels
    that train, run step by step: a small layer takes about 50 microseconds a step. Dropout is off.
    The arrays take 2 * (gates + states) times as much memory as the output.

    Args:
        layer: an RNN, LSTM or GRU.
        x: the input, as in a call of the layer.
        d_output: the gradient at the output; None (default): zero.
        state: the initial state, as in a call of the layer; None (default): zero.
        lengths: the sequences' lengths, as in a call of the layer; None (default): T.
        d_state: the gradient at the final state; None (default): zero. If d_output is None too,
            there is no backward pass.
        reset: where a state begins anew, as in a call of the layer; None (default): nowhere.

    Returns:
        A Trace: `t["l0"].activations["f"]`, `t["l1_reverse"].d_states["h"]`, ...

    Raises:
        TypeError: layer is not a layer, or an argument has the wrong type.
        ValueError: as in a call of the layer.
        IndexError: a one-hot index is out of range.

    Example:
        >>> from fastrnn.nn.layers import LSTM
        >>> lstm, x = LSTM(4, 3, seed=0), np.ones((5, 2, 4), np.float32)
        >>> t = trace(lstm, x, d_output=np.ones((5, 2, 3), np.float32))
        >>> t["l0"].activations["f"].shape, t["l0"].d_states["c"].shape
        ((5, 2, 3), (5, 2, 3))

    Source: Werbos 1990; for a look at a cell's inside Karpathy, Johnson & Fei-Fei 2016,
    "Visualizing and understanding recurrent networks" (arXiv 1506.02078).
    """
    program, run, recorders = record("trace", layer, x, d_output, state, lengths, d_state, reset)
    passes = {name: _arrays(recorder, program) for name, recorder in recorders.items()}
    return Trace(passes, *run)


def record(owner: str, layer: Any, x, d_output, state, lengths, d_state, reset=None):
    """Return the program, `(output, state, gradients)` and a Recorder for each pass, by name.

    Args:
        owner: the public function, for errors.
        layer: as in `trace`; and so are all others.
        x: the input.
        d_output: the gradient at the output.
        state: the initial state.
        lengths: of the sequences.
        d_state: the gradient at the final state.
        reset: of the sequences.

    Raises:
        TypeError, ValueError, IndexError: as `trace`.
    """
    if not isinstance(layer, RecurrentLayer):
        raise TypeError(
            f"{owner}: layer is a {type(layer).__name__}; expected an RNN, LSTM or GRU of fastrnn. "
            "For one of torch.nn make the same here and copy the parameters: "
            "layer.load_state_dict(module.state_dict()); for a cell take its layer."
        )
    owner = type(layer).__name__
    x, call, batch = read_call(owner, layer.spec, x, lengths, reset, batch_first=layer.batch_first)
    program = prepare(layer.spec, call._replace(keep=True, plain=False))
    assert isinstance(program, Program)  # what is not plain is no single step
    initial = read_state(owner, "state", "{}_0", state, program)
    output, final, tape = program.run(layer.weights(), x, initial, batch)
    assert output is not None
    assert tape is not None
    names = [suffix.removeprefix("_") for suffix in layer.spec.suffixes()]
    recorders = [Recorder(program, tape, final, slot) for slot in range(len(names))]
    gradients = None
    if d_output is not None or d_state is not None:
        d_output = checks.cotangent(owner, d_output, program.output_shape, layer.dtype)
        d_final = read_state(owner, "d_state", "d_{}_n", d_state, program)
        d_x, d_initial, d_weights = program.pull(
            tape, d_output, d_final, watch=lambda slot, *d: recorders[slot].watch(*d)
        )
        gradients = Gradients(d_x, bare(d_initial), named(layer.names, d_weights))
        for recorder in recorders:
            recorder.finish()
    return program, (output, bare(final), gradients), dict(zip(names, recorders, strict=True))


def _arrays(recorder: Recorder, program: Program) -> PassTrace:
    """Give the rows of a pass the caller's axes, and names."""
    cell = recorder.cell

    def named(names, rows):
        return {
            name: program.caller_axes(recorder.spread(r))
            for name, r in zip(names, rows, strict=True)
        }

    activations = named(cell.gates, [recorder.saved(gate) for gate in cell.gates])
    states, d_gates, d_states = named(cell.states, recorder.states_after()), None, None
    if recorder.d_gates is not None:
        d_gates = named(cell.gates, np.split(recorder.d_gates, len(cell.gates), axis=1))
        d_states = named(cell.states, recorder.d_states)
    return PassTrace(activations, states, d_gates, d_states)
