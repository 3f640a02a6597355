"""States of recurrent layers as networks pass them on: arrays (num_layers * D, B, H), or tuples.

An LSTM's state is a tuple (h, c); a cell with one state has an array. No layer is run here.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastrnn.nn.layer import RecurrentLayer

State = Any  # an array, or a tuple of arrays; None, also in a tuple: zero


def members(state: State) -> tuple[NDArray, ...]:
    """Return a state as a tuple of its arrays; of None, an empty one."""
    if state is None:
        return ()
    return state if isinstance(state, tuple) else (state,)


def joined(arrays: Sequence[NDArray]) -> State:
    """Return the state that has these members."""
    if not arrays:
        return None
    return arrays[0] if len(arrays) == 1 else tuple(arrays)


def check(rnn: RecurrentLayer, found: Mapping[str, NDArray], batch: int | None = None) -> None:
    """Raise ValueError if arrays out of a file are no state of a layer.

    Args:
        rnn: the layer.
        found: the members of the state by their numbers, as "0"; none of them: there is no state.
        batch: B; None: any.
    """
    if not found:
        return
    names = [str(number) for number in range(len(rnn.cell.states))]
    if sorted(found) != names:
        raise ValueError(f"state.* does not fit: it has {sorted(found)}; expected {names}")
    batch = found["0"].shape[1] if batch is None and found["0"].ndim > 1 else batch
    directions = 1 + rnn.bidirectional
    for name, array in found.items():
        width = rnn.spec.emitted if name == "0" else rnn.hidden_size
        shape = (rnn.num_layers * directions, batch, width)
        if array.shape != shape or array.dtype != rnn.dtype:
            raise ValueError(
                f"state.* does not fit: state.{name} is {array.dtype} {array.shape}; expected "
                f"{rnn.dtype} {shape}"
            )


def hidden(state: State) -> NDArray:
    """Return h, the member of a state that the layer outputs."""
    return members(state)[0]


def from_hidden(rnn: RecurrentLayer, h: NDArray) -> State:
    """Return the state with this h and zeros elsewhere; or the gradient at a state, given at h."""
    others = len(rnn.cell.states) - 1
    return (h, *[None] * others) if others else h


def top(rnn: RecurrentLayer, state: State) -> NDArray:
    """Return h of the top layer, (B, D * H), with the directions side by side as in its output."""
    rows = hidden(state)[-1 - rnn.bidirectional :]
    return np.ascontiguousarray(rows.swapaxes(0, 1)).reshape(rows.shape[1], -1)


def gradient_from_top(rnn: RecurrentLayer, d_top: NDArray, state: State) -> State:
    """Return the gradient at a state, given the gradient at `top` of it."""
    d_h = np.zeros_like(hidden(state))
    directions = 1 + rnn.bidirectional
    d_h[-directions:] = d_top.reshape(len(d_top), directions, -1).swapaxes(0, 1)
    return from_hidden(rnn, d_h)


def merge_directions(state: State, directions: int) -> State:
    """Return a state (L * D, B, H) as the state of a layer of one direction, (L, B, D * H)."""

    def merged(s: NDArray) -> NDArray:
        layers, batch, width = len(s) // directions, s.shape[1], s.shape[2]
        s = s.reshape(layers, directions, batch, width).swapaxes(1, 2)
        return np.ascontiguousarray(s).reshape(layers, batch, directions * width)

    return _each(merged, state)


def split_directions(state: State, directions: int) -> State:
    """Undo `merge_directions`."""

    def split(s: NDArray) -> NDArray:
        layers, batch, width = len(s), s.shape[1], s.shape[2] // directions
        s = s.reshape(layers, batch, directions, width).swapaxes(1, 2)
        return np.ascontiguousarray(s).reshape(layers * directions, batch, width)

    return _each(split, state)


def _each(change: Callable[[NDArray], NDArray], state: State) -> State:
    return tuple(map(change, state)) if isinstance(state, tuple) else change(state)
