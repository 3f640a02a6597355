"""Truncated backpropagation through time: gradients that go back a bounded number of steps.

For sequences of any length, in memory or not (chunks.py). What is bounded is how far an error is
carried back; for the exact gradient of a long sequence use `vjp` with checkpoints
(engine/checkpoints.py).
"""

from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fastrnn import checks
from fastrnn.nn.arguments import members
from fastrnn.nn.chunks import NAME, Source, cut
from fastrnn.nn.gradients import Gradients
from fastrnn.nn.layer import RecurrentLayer


def truncated_bptt(
    layer: RecurrentLayer,
    x,
    d_output,
    k1: int,
    k2: int,
    state=None,
    lengths=None,
    *,
    reset=None,
    update: Callable[[Gradients], Any] | None = None,
    training: bool = True,
    wrt_input: bool = False,
):
    """Return the truncated gradient of a layer: every k1 steps, k2 steps back.

    At times k1, 2 k1, .. and T, the update points, the errors at the outputs since the last one
    are sent back through k2 steps; the state before these is taken as a constant. So every error
    goes back at least k2 - k1 + 1 and at most k2 steps. With k2 >= T nothing is cut off: it is the
    gradient that `vjp` gives. The cost is that of one forward pass and of k2 / k1 backward passes;
    memory is kept for k2 steps.

    Args:
        layer: RNN, LSTM or GRU of this package, in one direction.
        x: as in a call of the layer, a `numpy.memmap` too; or an iterable of such arrays, which
            are read one after the other in time, each of any number of steps.
        d_output: the gradient at the output: an array like the output; or a function
            `d_output(output, t)` that is given the output of steps t, t + 1, .. up to the next
            update point, once and in order, and returns the gradient at it. The loss, and
            whatever else is wanted of the output, is up to it.
        k1: steps between two update points, at least 1.
        k2: steps back, at least k1.
        state: the initial state, as a call of the layer takes it; None (default): zero.
        lengths: (B,) integers, of whole sequences; None (default): all are as long as x.
        reset: bool, like the whole x without its last axis: True where the state is zero before
            that step, see a call of the layer. None (default): nowhere.
        update: a function that is given the Gradients of each update point, and may change the
            parameters: what is computed later, the k2 - k1 earlier steps included, is computed
            with them.
        training: apply dropout between layers; default True.
        wrt_input: also return the gradient at x, which has to be an array of floats; default
            False.

    Returns:
        `state, grads`: the state at the end; and the sum over all times of the Gradients of
        sum(output * d_output), of which `input` is None without wrt_input, and `state` is that at
        the initial state. With `update`, grads is None.

    Raises:
        TypeError, ValueError: an argument of another type, shape or range.

    Example:
        >>> from fastrnn import GRU
        >>> gru, x = GRU(4, 3, seed=0), np.ones((10, 2, 4), np.float32)
        >>> h_n, grads = truncated_bptt(gru, x, lambda output, t: output, k1=2, k2=4)
        >>> h_n.shape, grads.params["weight_hh_l0"].shape
        ((1, 2, 3), (9, 3))

    Source: Williams & Peng 1990, "An efficient gradient-based algorithm for on-line training of
    recurrent network trajectories", BPTT(h; h') with h = k2, h' = k1.
    """
    if not isinstance(layer, RecurrentLayer):
        raise TypeError(
            f"{NAME}: layer is a {type(layer).__name__}; expected a fastrnn.RNN, LSTM or GRU."
        )
    if layer.bidirectional:
        raise ValueError(
            f"{NAME}: the {type(layer).__name__} is bidirectional, and its reverse direction "
            "begins at the end; use bidirectional=False, or vjp with checkpoint='auto'."
        )
    k1, k2 = checks.integer(NAME, "k1", k1), checks.integer(NAME, "k2", k2)
    if k2 < k1:
        raise ValueError(
            f"{NAME}: k2 is {k2}; expected at least k1 = {k1}, or the errors of some steps would "
            "not be sent back at all."
        )
    if update is not None and not callable(update):
        raise TypeError(f"{NAME}: update is a {type(update).__name__}; expected a function.")
    source = Source(layer, x, lengths, reset)
    if not callable(d_output):
        d_output = _slices(d_output, source, layer)
    if checks.boolean(NAME, "wrt_input", wrt_input) and not source.has_gradient():
        raise ValueError(f"{NAME}: wrt_input=True; expected x to be one array of floats.")
    d_x = np.zeros(x.shape, layer.dtype) if wrt_input else None
    window = _Window(layer, k2, state, source, training)
    # Where windows start: k2 % k1 steps before a time.
    parts = [k1 - k2 % k1, k2 % k1]
    if source.is_at_end():
        x, ends = source.take(0), source.lengths
        (_, after), pullback = layer.vjp(x, state, ends, training, reset=source.resets(0, 0))
        return after, pullback(None)._replace(input=d_x)
    total = None
    while not source.is_at_end():
        output = window.read(parts)
        d_new = checks.cotangent(NAME, d_output(output, window.start), output.shape, layer.dtype)
        grads = window.gradients(d_new, d_x)
        if update is not None:
            update(grads)
            window.forget()
        else:
            total = grads if total is None else _added(total, grads)
    return window.state, None if total is None else total._replace(input=d_x)


class _Piece(NamedTuple):
    """Some steps, the state before them, and their gradient."""

    t: int  # the first of them
    end: int
    x: np.ndarray
    state: Any
    pullback: Callable


class _Window:
    """The last k2 steps, as pieces that end where a later window may start.

    Attributes:
        start: the first step whose errors have not been sent back.
        state: after the last step.
    """

    def __init__(self, layer: RecurrentLayer, k2: int, state, source: Source, training: bool):
        self._layer, self._k2, self._source, self._training = layer, k2, source, training
        self._pieces: deque[_Piece] = deque()
        self.start, self.state = 0, state
        self._now, self._axis, self._stale = 0, source.axis, False

    def _sequences(self, t: int, steps: int) -> dict[str, np.ndarray | None]:
        """Return the lengths and resets of some steps."""
        lengths, reset = self._source.lengths, self._source.resets(t, t + steps)
        lengths = None if lengths is None else np.clip(lengths - t, 0, steps)
        return {"lengths": lengths, "reset": reset}

    def _append(self, t: int, x: np.ndarray) -> np.ndarray:
        """Compute a piece from the state that is known, and return its output."""
        steps, before = x.shape[self._axis], self.state
        (output, self.state), pullback = self._layer.vjp(
            x, before, training=self._training, **self._sequences(t, steps)
        )
        self._pieces.append(_Piece(t, t + steps, x, before, pullback))
        return output

    def read(self, parts) -> np.ndarray:
        """Compute the steps up to the next time, as pieces of these sizes; return the output."""
        source, inputs, outputs = self._source, [], []
        for steps in parts:
            if steps and not source.is_at_end():
                inputs += [source.take(steps)]
        self.start = self._now
        self._now += sum(x.shape[self._axis] for x in inputs)
        self._drop(max(0, self._now - self._k2))
        t = self.start
        for x in inputs:
            outputs.append(self._append(t, x))
            t += x.shape[self._axis]
        return outputs[0] if len(outputs) == 1 else np.concatenate(outputs, self._axis)

    def _drop(self, first: int) -> None:
        """Forget what is before step `first`, and compute again what has become wrong.

        That is everything, if parameters have changed. And if the sequence ends less than k1
        steps after the last time, a piece has to be cut in two.
        """
        while self._pieces and self._pieces[0].end <= first:
            self._pieces.popleft()
        if not self._pieces or not (self._stale or self._pieces[0].t < first):
            return
        oldest, *later = self._pieces
        after, skipped = self.state, max(0, first - oldest.t)
        self._pieces.clear()
        self.state = oldest.state
        if skipped:
            before = cut(oldest.x, self._axis, 0, skipped)
            sequences = self._sequences(oldest.t, skipped)
            _, self.state = self._layer(before, self.state, **sequences)
        rest = cut(oldest.x, self._axis, skipped, oldest.end - oldest.t)
        self._append(oldest.t + skipped, rest)
        if self._stale:
            for piece in later:
                self._append(piece.t, piece.x)
        else:
            self._pieces.extend(later)
            self.state = after
        self._stale = False

    def forget(self) -> None:
        """Parameters have changed: what is known of earlier steps is stale."""
        self._stale = True

    def gradients(self, d_new: np.ndarray | None, d_x: np.ndarray | None) -> Gradients:
        """Send the errors since `start` back; what they are at x is added to d_x."""
        d_state: Any = None
        params: dict[str, np.ndarray] = {}
        for piece in reversed(self._pieces):
            d_output = None
            if d_new is not None and piece.t >= self.start:
                d_output = cut(d_new, self._axis, piece.t - self.start, piece.end - self.start)
            grads = piece.pullback(d_output, d_state, wrt_input=d_x is not None)
            d_state = grads.state
            for name, d in grads.params.items():
                params[name] = params[name] + d if name in params else d
            if d_x is not None:
                part = cut(d_x, self._axis, piece.t, piece.end)
                np.add(part, grads.input, out=part)
        if self._pieces[0].t > 0:  # else the first state is a constant
            for d in members(d_state):
                d.fill(0)
        return Gradients(None, d_state, params)


def _added(total: Gradients, grads: Gradients) -> Gradients:
    """Add gradients to others, in place."""
    for name, d in grads.params.items():
        total.params[name] += d
    for d, more in zip(members(total.state), members(grads.state), strict=True):
        np.add(d, more, out=d)
    return total


def _slices(d_output, source: Source, layer: RecurrentLayer) -> Callable:
    """Return a gradient that is given as an array as a function."""
    if source.leading is None:
        raise TypeError(
            f"{NAME}: d_output is a {type(d_output).__name__} and x comes in chunks; expected a "
            "function d_output(output, t), which is given the output as it comes."
        )
    array = checks.array(NAME, "d_output", d_output)
    if array.ndim <= source.axis or array.shape[source.axis] != source.steps:
        raise ValueError(
            f"{NAME}: d_output has shape {array.shape}; expected that of the output, with "
            f"{source.steps} steps on axis {source.axis}."
        )
    checks.cotangent(NAME, array, (*source.leading, layer.spec.emitted), layer.dtype)
    return lambda output, t: cut(array, source.axis, t, t + output.shape[source.axis])
