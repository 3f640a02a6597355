"""How layers are put together: made from options, and a recurrent layer under a linear one.

No model and no loop is here. States are those of the layers, (num_layers * D, B, H).
"""

import inspect
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastrnn import init
from fastrnn.losses import softmax_cross_entropy
from fastrnn.models.options import LAYERS, Options
from fastrnn.models.sequences import Sequences
from fastrnn.models.training import Loss
from fastrnn.nn.gradients import Gradients
from fastrnn.nn.layer import RecurrentLayer
from fastrnn.nn.linear import Linear
from fastrnn.nn.module import Module

_INITS = (init.uniform, init.glorot, init.orthogonal, init.identity, init.forget_bias)
State = Any  # an array, or a tuple of them for a cell with several states


def recurrent(
    options: Options, input_size: int, hidden_size: int, bidirectional: bool, seed: int
) -> RecurrentLayer:
    """Return a recurrent layer as the options say.

    Args:
        options: checked.
        input_size: I.
        hidden_size: H.
        bidirectional: of two directions.
        seed: of its parameters and of dropout.
    """
    relu: dict[str, Any] = {"nonlinearity": "relu"} if options.cell == "relu" else {}
    layer = LAYERS[options.cell](
        input_size,
        hidden_size,
        options.num_layers,
        dropout=options.dropout,
        bidirectional=bidirectional,
        dtype=options.dtype,
        seed=seed,
        **relu,
    )
    if options.init is not None:
        begin = options.init if callable(options.init) else _init(options._owner, options.init)
        wanted = inspect.signature(begin).parameters.get("seed")
        begin(layer, **({"seed": seed} if wanted and wanted.default is None else {}))
    return layer


def read_out(
    options: Options, input_size: int, outputs: int, seeds: Sequence[int], bidirectional: bool
) -> tuple[RecurrentLayer, Linear]:
    """Return a recurrent layer as the options say, and a linear one for its output.

    Args:
        options: checked.
        input_size: I.
        outputs: of the linear layer.
        seeds: of the two.
        bidirectional: of two directions.
    """
    rnn = recurrent(options, input_size, options.hidden_size, bidirectional, seeds[0])
    width = options.hidden_size * (1 + bidirectional)
    return rnn, Linear(width, outputs, dtype=options.dtype, seed=seeds[1])


def _init(owner: str, wanted: str) -> Callable:
    known = {begin.__name__: begin for begin in _INITS}
    if wanted not in known:
        raise ValueError(
            f"{owner}: init must be None, a callable or one of {', '.join(known)}; got {wanted!r}."
        )
    return known[wanted]


def first(state: State) -> NDArray:
    """Return the state that is emitted, h."""
    return state[0] if isinstance(state, tuple) else state


def only_first(rnn: RecurrentLayer, h: NDArray) -> State:
    """Return the state with this h and zero beside it; or the gradient at one, as at its h."""
    others = len(rnn.cell.states) - 1
    return (h, *[None] * others) if others else h


def before_last(rnn: RecurrentLayer, x: Sequences, steps: int | None) -> tuple[State, Sequences]:
    """Read all but the last so many steps of each sequence, without a gradient or dropout.

    Args:
        rnn: of one direction.
        x: the sequences.
        steps: how many; None: all.

    Returns:
        The state to read the rest in, and the rest.
    """
    if steps is None or steps >= x.lengths.max():
        return None, x
    padded, lengths = x.before(steps).padded()
    return rnn(padded, lengths=lengths)[1], x.last(steps)


def final_state(rnn: RecurrentLayer, x: Sequences, steps: int | None, training: bool):
    """Read sequences; return the final state, and the gradient of the parameters for one at it.

    Args:
        rnn: the layer.
        x: the sequences.
        steps: that the gradient goes back from the end; None: all.
        training: apply dropout.
    """
    state, rest = before_last(rnn, x, steps)
    padded, lengths = rest.padded()
    (_, state), pullback = rnn.vjp(padded, state, lengths, training)
    return state, lambda d_state: pullback(None, d_state, wrt_input=False).params


def top(rnn: RecurrentLayer, state: State) -> NDArray:
    """Return the final h of the top layer, (B, D * H): directions side by side, as its output."""
    rows = first(state)[-1 - rnn.bidirectional :]
    return np.ascontiguousarray(rows.swapaxes(0, 1)).reshape(rows.shape[1], -1)


def at_top(rnn: RecurrentLayer, d_top: NDArray, state: State) -> State:
    """Return the gradient at the state of which `top` has this one."""
    d_h = np.zeros_like(first(state))
    directions = 1 + rnn.bidirectional
    d_h[-directions:] = d_top.reshape(len(d_top), directions, -1).swapaxes(0, 1)
    return only_first(rnn, d_h)


def outputs(rnn: RecurrentLayer, head: Linear, x: Sequences) -> NDArray:
    """Return what a network says at each real step, in the order of `Sequences.steps`."""
    padded, lengths = x.padded()
    output, _ = rnn(padded, lengths=lengths)
    rows, real = output.reshape(-1, output.shape[-1]), x.real()
    return head(rows if real is None else rows[real])


def next_logits(
    rnn: RecurrentLayer, head: Linear, symbols: NDArray, state: State
) -> tuple[NDArray, State]:
    """Read one step of each sequence, symbols (B,); return logits (B, V) and the new state."""
    output, state = rnn(symbols[None], state)
    return head(output[0]), state


class Steps(NamedTuple):
    """What a network predicts at every step, against what was right.

    Attributes:
        loss: the mean over the real steps.
        weight: how many there are.
        state: in which the layer ends.
        gradients: makes the Gradients of the layer and the parameters' of the head.
    """

    loss: float
    weight: int
    state: State
    gradients: Callable[[], tuple[Gradients, dict[str, NDArray]]]


def predict_steps(
    rnn: RecurrentLayer, head: Linear, x: Sequences, targets: NDArray, state: State, training: bool
) -> Steps:
    """Read sequences and compare with the index that is right at each real step.

    Args:
        rnn: reads.
        head: says; it is given real steps only.
        x: the sequences.
        targets: in the order of `Sequences.steps`.
        state: to begin in; None: zero.
        training: apply dropout.
    """
    padded, lengths = x.padded()
    (output, state), pull = rnn.vjp(padded, state, lengths, training)
    rows, real = output.reshape(-1, output.shape[-1]), x.real()
    logits, pull_head = head.vjp(rows if real is None else rows[real])
    loss, d_logits = softmax_cross_entropy(logits, targets)

    def gradients() -> tuple[Gradients, dict[str, NDArray]]:
        d_rows, _, d_head = pull_head(d_logits)
        assert d_rows is not None  # of floats
        if real is None:
            return pull(d_rows.reshape(output.shape), wrt_input=False), d_head
        d_output = np.zeros_like(rows)
        d_output[real] = d_rows
        return pull(d_output.reshape(output.shape), wrt_input=False), d_head

    return Steps(loss, len(targets), state, gradients)


def loss_of(found: Steps) -> Loss:
    """Return the loss of a network that is a recurrent layer and a linear one, and no more."""

    def gradients() -> list[dict[str, NDArray]]:
        d_rnn, d_head = found.gradients()
        return [d_rnn.params, d_head]

    return Loss(found.loss, found.weight, gradients)


def no_gradient(part: Module) -> dict[str, NDArray]:
    """Return that of parameters which a loss does not depend on."""
    return {name: np.zeros_like(value) for name, value in part.params.items()}


def side_by_side(state: State, directions: int) -> State:
    """Return a state (L * D, B, H) as that of a layer of one direction, (L, B, D * H)."""

    def joined(s: NDArray) -> NDArray:
        layers, batch, width = len(s) // directions, s.shape[1], s.shape[2]
        s = s.reshape(layers, directions, batch, width).swapaxes(1, 2)
        return np.ascontiguousarray(s).reshape(layers, batch, directions * width)

    return tuple(map(joined, state)) if isinstance(state, tuple) else joined(state)


def apart(state: State, directions: int) -> State:
    """Return what `side_by_side` makes such a state of."""

    def parted(s: NDArray) -> NDArray:
        layers, batch, width = len(s), s.shape[1], s.shape[2] // directions
        s = s.reshape(layers, batch, directions, width).swapaxes(1, 2)
        return np.ascontiguousarray(s).reshape(layers * directions, batch, width)

    return tuple(map(parted, state)) if isinstance(state, tuple) else parted(state)
