"""How layers are put together: made from options, and a recurrent layer under a linear one.

No model and no loop is here. States are those of the layers, (num_layers * D, B, H).
"""

import inspect
from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastrnn.layers import _Recurrent
from fastrnn.linear import Linear
from fastrnn.models.options import LAYERS, Options
from fastrnn.models.sequences import Sequences

State = Any  # an array, or a tuple of them for a cell with several states


def recurrent(
    options: Options, input_size: int, hidden_size: int, bidirectional: bool, seed: int
) -> _Recurrent:
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
        input_size, hidden_size, options.num_layers, dropout=options.dropout,
        bidirectional=bidirectional, dtype=options.dtype, seed=seed, **relu,
    )  # fmt: skip
    if callable(options.init):
        options.init(layer)
    elif options.init is not None:
        begin = _init(options._owner, options.init)
        seeded = "seed" in inspect.signature(begin).parameters
        begin(layer, **({"seed": seed} if seeded else {}))
    return layer


def _init(owner: str, wanted: str) -> Callable:
    functions = vars(import_module("fastrnn.init"))
    names = [name for name, value in functions.items()
             if inspect.isfunction(value) and not name.startswith("_")]  # fmt: skip
    if wanted not in names:
        raise ValueError(
            f"{owner}: init must be None, a callable or one of {', '.join(names)}; got {wanted!r}."
        )
    return functions[wanted]


def first(state: State) -> NDArray:
    """Return the state that is emitted, h."""
    return state[0] if isinstance(state, tuple) else state


def at_first(d_h: NDArray, state: State) -> State:
    """Return the gradient at a state of which only h is used."""
    return (d_h, *[None] * (len(state) - 1)) if isinstance(state, tuple) else d_h


def before_last(rnn: _Recurrent, x: Sequences, steps: int | None) -> tuple[State, Sequences]:
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
    return rnn(*_with_state(x.before(steps), None))[1], x.last(steps)


def _with_state(x: Sequences, state: State) -> tuple:
    """Return the arguments of a layer."""
    padded, lengths = x.padded()
    return padded, state, lengths


def final_state(rnn: _Recurrent, x: Sequences, steps: int | None, training: bool):
    """Read sequences; return the final state, and the gradient of the parameters for one at it.

    Args:
        rnn: the layer.
        x: the sequences.
        steps: that the gradient goes back from the end; None: all.
        training: apply dropout.
    """
    state, rest = before_last(rnn, x, steps)
    (_, state), pullback = rnn.vjp(*_with_state(rest, state), training)
    return state, lambda d_state: pullback(None, d_state).params


def top(rnn: _Recurrent, state: State) -> NDArray:
    """Return the final h of the top layer, (B, D * H): directions side by side, as its output."""
    rows = first(state)[-1 - rnn.bidirectional :]
    return np.ascontiguousarray(rows.swapaxes(0, 1)).reshape(rows.shape[1], -1)


def at_top(rnn: _Recurrent, d_top: NDArray, state: State) -> State:
    """Return the gradient at the state of which `top` has this one."""
    d_h = np.zeros_like(first(state))
    directions = 1 + rnn.bidirectional
    d_h[-directions:] = d_top.reshape(len(d_top), directions, -1).swapaxes(0, 1)
    return at_first(d_h, state)


def outputs(rnn: _Recurrent, head: Linear, x: Sequences, state: State = None):
    """Return what a network says at each real step, in the order of `Sequences.steps`."""
    output, _ = rnn(*_with_state(x, state))
    rows, real = output.reshape(-1, output.shape[-1]), x.real()
    return head(rows if real is None else rows[real])
