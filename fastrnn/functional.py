"""rnn, lstm and gru on plain arrays: one layer, one direction, each with its gradient.

Functions of arrays alone: they hold nothing. Depth, two directions, batch-first and dropout are
in layers.py; the loops are in forward.py. reference.py has the same functions, slow and
obvious.

Shapes: x (T, B, I) of the dtype of the weights, or integers (T, B) in [0, I) that stand for
one-hot vectors; states (B, H) and h under a projection (B, P); lengths (B,) integers in [0, T].
"""

import numpy as np

from fastrnn import cells, checks
from fastrnn.cells import Cell
from fastrnn.engine import scan, workspace
from fastrnn.engine.checkpoints import steps_between
from fastrnn.engine.weights import Weights, sizes_of
from fastrnn.nn.gradients import Gradients

_RNN = {"tanh": cells.rnn.TANH, "relu": cells.rnn.RELU}
_LSTM, _GRU = cells.lstm.CELL, cells.gru.CELL


def rnn_cell(owner: str, nonlinearity: str) -> Cell:
    """Return the cell of this nonlinearity."""
    if not isinstance(nonlinearity, str) or nonlinearity not in _RNN:
        raise ValueError(f"{owner}: nonlinearity must be 'tanh' or 'relu', got {nonlinearity!r}.")
    return _RNN[nonlinearity]


class _Call:
    """One checked call of a cell; after `run(keep=True)`, also its pullback."""

    def __init__(self, name, cell, x, state, weights, lengths, reverse):
        self.name, self.cell = name, cell
        self.weights = _weights(name, cell, weights)
        dtype = self.weights.w_ih.dtype
        self.size = sizes_of(cell, self.weights)
        self.x, _ = checks.sequence(
            name, x, self.size.input, dtype, batch_first=False, unbatched=False
        )
        time, batch = self.x.shape[:2]
        widths = [self.size.emitted] + [self.size.hidden] * (len(cell.states) - 1)
        self.shapes = [(batch, width) for width in widths]
        self.state = self._states("state", "{}_0", state)
        self.reverse = checks.boolean(name, "reverse", reverse)
        lengths = checks.lengths(name, lengths, time, batch, True)
        self.batch = workspace.sort_by_length(time, batch, lengths)

    def _states(self, name, pattern, value):
        if value is None:
            return scan.zero_states(self.size.dtype)
        names = [pattern.format(state) for state in self.cell.states]
        symbols = ["batch, hidden_size"] * len(names)
        given = checks.states(self.name, name, value, names, self.shapes, symbols, self.size.dtype)
        members = tuple(None if member is None else member[None] for member in given)
        return scan.as_states(members, self.size.dtype)

    def run(self, keep, checkpoint=None, memory=None):
        every = steps_between(self.name, checkpoint, memory, self.cell, [self.size], self.batch)
        shape = (*self.x.shape[:2], self.size.emitted)
        self.output = np.zeros(shape, self.size.dtype)
        final = scan.new_states(self.cell, 1, shape[1], self.size)
        self.trace = scan.forward(
            self.cell,
            self.size,
            self.weights,
            self.x,
            self.state,
            self.batch,
            0,
            reverse=self.reverse,
            output=workspace.rows_of(self.output),
            final=final,
            keep=keep,
            every=every,
        )
        return self.output, self._bare(final)

    def _bare(self, states):
        return bare(tuple(member[0] for member in states.members()))

    @property
    def nbytes(self) -> int:
        """Bytes kept alive beyond the arrays the caller passed in and got back."""
        assert self.trace is not None  # only a pullback is asked
        return self.trace.nbytes

    def __call__(self, d_output, d_state=None, *, wrt_input: bool = True) -> Gradients:
        d_output = checks.cotangent(self.name, d_output, self.output.shape, self.size.dtype)
        d_final = self._states("d_state", "d_{}_n", d_state)
        rows = None if d_output is None else workspace.rows_of(d_output)
        wanted = checks.boolean(self.name, "wrt_input", wrt_input) and self.x.ndim == 3
        d_x = np.zeros(self.x.shape, self.size.dtype) if wanted else None
        assert self.trace is not None
        d_initial = scan.new_states(self.cell, 1, self.x.shape[1], self.size)
        d_weights = scan.backward(
            self.cell, self.size, self.weights, self.trace, rows, d_final, d_x, d_initial
        )
        params = {name: d for name, d in d_weights._asdict().items() if d is not None}
        return Gradients(d_x, self._bare(d_initial), params)


def bare(states: tuple):
    """Return the tuple, or its only member: an LSTM's state is a pair, others' an array."""
    return states[0] if len(states) == 1 else states


def members(state) -> tuple:
    """Return a state of one or two members as a tuple; `bare` undoes it."""
    return state if isinstance(state, tuple) else (state,)


def _weights(owner: str, cell: Cell, given: tuple) -> Weights:
    """Check the parameters against each other: w_ih decides the dtype and the hidden size."""
    w_ih = checks.array(owner, "w_ih", given[0])
    dtype = checks.float_dtype(f"{owner}: w_ih", w_ih.dtype)
    gates = len(cell.gates)
    if w_ih.ndim != 2 or w_ih.shape[0] % gates or 0 in w_ih.shape:
        raise ValueError(
            f"{owner}: w_ih has shape {w_ih.shape}; expected ({gates} * hidden_size, input_size), "
            "sizes of at least 1."
        )
    rows, hidden = w_ih.shape[0], w_ih.shape[0] // gates
    w_hr = None if given[4] is None else checks.floats(owner, "w_hr", given[4], dtype)
    if w_hr is not None and (
        w_hr.ndim != 2 or w_hr.shape[1] != hidden or not 0 < w_hr.shape[0] <= hidden
    ):
        raise ValueError(
            f"{owner}: w_hr has shape {w_hr.shape}; expected (proj_size, hidden_size) = "
            f"(at most {hidden}, {hidden})."
        )
    emitted = hidden if w_hr is None else w_hr.shape[0]
    w_hh = checks.floats(owner, "w_hh", given[1], dtype)
    columns = "hidden_size" if w_hr is None else "proj_size"
    checks.shape(owner, "w_hh", w_hh, (rows, emitted), f"{gates} * hidden_size, {columns}")

    def bias(name, value):
        if value is None:
            return None
        checked = checks.floats(owner, name, value, dtype)
        checks.shape(owner, name, checked, (rows,), f"{gates} * hidden_size,")
        return checked

    return Weights(w_ih, w_hh, bias("b_ih", given[2]), bias("b_hh", given[3]), w_hr)


def rnn(
    x, h_0, w_ih, w_hh, b_ih=None, b_hh=None, *, nonlinearity="tanh", lengths=None, reverse=False
):
    """Run a simple recurrent network, h_t = f(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh).

    Args:
        x: (T, B, I) floats, or (T, B) integers in [0, I): one-hot.
        h_0: (B, H), or None: zero.
        w_ih: (H, I); its dtype, float32 or float64, is that of everything.
        w_hh: (H, H).
        b_ih: (H,) or None.
        b_hh: (H,) or None.
        nonlinearity: "tanh" or "relu".
        lengths: (B,) integers in [0, T], or None: row b ends after lengths[b] steps; the output
            behind is 0, the final state that at its end.
        reverse: read every row from its own end.

    Returns:
        `output, h_n`: (T, B, H), (B, H).

    Raises:
        TypeError, ValueError: an argument of another type, dtype or shape.
        IndexError: an integer input outside [0, I).

    Example:
        >>> output, h_n = rnn(np.ones((5, 2, 4)), None, np.ones((3, 4)), np.eye(3))
        >>> output.shape, h_n.shape
        ((5, 2, 3), (2, 3))

    Source: Elman 1990; ReLU: Le, Jaitly, Hinton 2015 (arXiv 1504.00941).
    """
    weights = (w_ih, w_hh, b_ih, b_hh, None)
    cell = rnn_cell("rnn", nonlinearity)
    return _Call("rnn", cell, x, h_0, weights, lengths, reverse).run(keep=False)


def rnn_vjp(
    x,
    h_0,
    w_ih,
    w_hh,
    b_ih=None,
    b_hh=None,
    *,
    nonlinearity="tanh",
    lengths=None,
    reverse=False,
    checkpoint=None,
    memory=None,
):
    """Run `rnn` and return `(output, h_n), pullback`.

    `pullback(d_output, d_state=None, *, wrt_input=True)` returns the Gradients of
    sum(output * d_output) + sum(h_n * d_state), by backpropagation through time (Werbos 1990);
    either may be None: zero. It is pure. Its `nbytes` says what it keeps alive. Arguments as in
    `rnn`, `checkpoint` and `memory` as in `fastrnn.LSTM.vjp`; if the arrays or the output are
    changed before it is called, its result is undefined.
    """
    weights = (w_ih, w_hh, b_ih, b_hh, None)
    call = _Call("rnn", rnn_cell("rnn", nonlinearity), x, h_0, weights, lengths, reverse)
    return call.run(True, checkpoint, memory), call


def lstm(x, state, w_ih, w_hh, b_ih=None, b_hh=None, w_hr=None, *, lengths=None, reverse=False):
    """Run a long short-term memory, torch's gate order i, f, g, o.

    Args:
        x: as in `rnn`.
        state: (h_0, c_0), (B, H) each, h_0 (B, P) under a projection; None, or None in it: zero.
        w_ih: (4 * H, I).
        w_hh: (4 * H, H), or (4 * H, P).
        b_ih: (4 * H,) or None.
        b_hh: (4 * H,) or None.
        w_hr: (P, H), P <= H: h_t = W_hr (o tanh(c_t)); None: no projection.
        lengths: as in `rnn`.
        reverse: as in `rnn`.

    Returns:
        `output, (h_n, c_n)`: (T, B, H or P), (B, H or P), (B, H).

    Raises:
        TypeError, ValueError, IndexError: as in `rnn`.

    Source: Hochreiter & Schmidhuber 1997; Gers et al. 2000; projection: Sak et al. 2014.
    """
    weights = (w_ih, w_hh, b_ih, b_hh, w_hr)
    return _Call("lstm", _LSTM, x, state, weights, lengths, reverse).run(keep=False)


def lstm_vjp(
    x,
    state,
    w_ih,
    w_hh,
    b_ih=None,
    b_hh=None,
    w_hr=None,
    *,
    lengths=None,
    reverse=False,
    checkpoint=None,
    memory=None,
):
    """Run `lstm` and return `(output, (h_n, c_n)), pullback`, as `rnn_vjp` does."""
    call = _Call("lstm", _LSTM, x, state, (w_ih, w_hh, b_ih, b_hh, w_hr), lengths, reverse)
    return call.run(True, checkpoint, memory), call


def gru(x, h_0, w_ih, w_hh, b_ih=None, b_hh=None, *, lengths=None, reverse=False):
    """Run a gated recurrent unit, torch's gate order r, z, n, reset after the product.

    Args:
        x: as in `rnn`.
        h_0: (B, H), or None: zero.
        w_ih: (3 * H, I).
        w_hh: (3 * H, H).
        b_ih: (3 * H,) or None.
        b_hh: (3 * H,) or None.
        lengths: as in `rnn`.
        reverse: as in `rnn`.

    Returns:
        `output, h_n`: (T, B, H), (B, H).

    Raises:
        TypeError, ValueError, IndexError: as in `rnn`.

    Source: Cho et al. 2014 (arXiv 1406.1078v1).
    """
    weights = (w_ih, w_hh, b_ih, b_hh, None)
    return _Call("gru", _GRU, x, h_0, weights, lengths, reverse).run(keep=False)


def gru_vjp(
    x,
    h_0,
    w_ih,
    w_hh,
    b_ih=None,
    b_hh=None,
    *,
    lengths=None,
    reverse=False,
    checkpoint=None,
    memory=None,
):
    """Run `gru` and return `(output, h_n), pullback`, as `rnn_vjp` does."""
    call = _Call("gru", _GRU, x, h_0, (w_ih, w_hh, b_ih, b_hh, None), lengths, reverse)
    return call.run(True, checkpoint, memory), call
