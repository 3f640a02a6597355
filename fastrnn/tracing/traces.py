"""`trace`: gates, states and their gradients at every step, as named arrays.

Where they come from is recorder.py's business; what they say about learning, flow.py's.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastrnn import checks
from fastrnn.nn.arguments import bare, named, read_sequence, read_state
from fastrnn.nn.gradients import Gradients
from fastrnn.nn.layer import RecurrentLayer
from fastrnn.nn.program import Program, prepare
from fastrnn.tracing.recorder import Recorder


class PassTrace(NamedTuple):
    """One layer in one direction, at every step; 0 where a sequence has no step.

    Axes as the layer's output has them: (T, B, H), or (B, T, H) with batch_first, or (T, H)
    unbatched; for h under a projection P instead of H. Index t is that of the input, in the
    reverse direction too, which reads from the end.

    Attributes:
        activations: gate -> what it has let through: i, f, g, o of an LSTM, r, z, n of a GRU, a
            of an RNN (there it is h).
        states: state -> its value after the step at t.
        d_preactivations: gate -> the gradient at what its nonlinearity is applied to, the deltas
            of backpropagation; None if no gradient was asked for.
        d_states: state -> the gradient at the state that the step at t hands over: what reaches it
            from the output at t and from all later steps. Of an LSTM, h and c count as two
            values then, as in the state that a layer takes and returns; what c does through the h
            of the same step is not in "c", but it is "h" * o * (1 - tanh(c)^2). None as above.
    """

    activations: dict[str, NDArray]
    states: dict[str, NDArray]
    d_preactivations: dict[str, NDArray] | None
    d_states: dict[str, NDArray] | None


class Trace(Mapping[str, PassTrace]):
    """What `trace` saw: a mapping from "l0", "l0_reverse", "l1", ... to a PassTrace.

    Attributes:
        output: of the layer.
        state: its final state.
        gradients: what the pullback returned, a Gradients; None if none was asked for.
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
) -> Trace:
    """Run a layer, forward and back, and return what happened inside at every step.

    The gradients are those of sum(output * d_output) + sum(state * d_state), by the very kernels
    that train, run step by step: a small layer takes some 50 microseconds a step. Dropout is off.
    The arrays take 2 * (gates + states) times as much memory as the output.

    Args:
        layer: an RNN, LSTM or GRU.
        x: as in a call of the layer; and so are state and lengths.
        d_output: the gradient at the output, or None: zero.
        state: the initial state.
        lengths: of the sequences.
        d_state: the gradient at the final state, or None: zero. If both are None, nothing is run
            backwards.

    Returns:
        A Trace: `t["l0"].activations["f"]`, `t["l1_reverse"].d_states["h"]`, ...

    Raises:
        TypeError, ValueError, IndexError: as a call of the layer, or it is no layer.

    Example:
        >>> from fastrnn.nn.layers import LSTM
        >>> lstm, x = LSTM(4, 3, seed=0), np.ones((5, 2, 4), np.float32)
        >>> t = trace(lstm, x, d_output=np.ones((5, 2, 3), np.float32))
        >>> t["l0"].activations["f"].shape, t["l0"].d_states["c"].shape
        ((5, 2, 3), (5, 2, 3))

    Source: Werbos 1990; the picture of a cell from inside: Karpathy, Johnson & Fei-Fei 2016,
    "Visualizing and understanding recurrent networks" (arXiv 1506.02078).
    """
    program, run, recorders = record("trace", layer, x, d_output, state, lengths, d_state)
    passes = {name: _arrays(recorder, program) for name, recorder in recorders.items()}
    return Trace(passes, *run)


def record(owner: str, layer: Any, x, d_output, state, lengths, d_state):
    """Return the program, `(output, state, gradients)` and a Recorder for each pass, by name.

    Args:
        owner: the public function, for errors.
        layer: as in `trace`; and so are all others.
        x: the input.
        d_output: the gradient at the output.
        state: the initial state.
        lengths: of the sequences.
        d_state: the gradient at the final state.

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
    x, call = read_sequence(owner, layer.spec, x, batch_first=layer.batch_first)
    lengths = checks.lengths(owner, lengths, call.time, call.batch, call.batched)
    program = prepare(layer.spec, call._replace(keep=True, plain=False))
    initial = read_state(owner, "state", "{}_0", state, program)
    output, final, tape = program.run(layer.weights(), x, initial, lengths)
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
