"""rnn, lstm and gru on plain arrays: one layer, one direction, each with its gradient.

Functions of arrays alone: they hold nothing. Depth, two directions, batch-first and dropout are
the layers'; a call runs as theirs do (nn/program.py). reference.py has the same functions, slow
and obvious.

Shapes: x (T, B, I) of the dtype of the weights, or integers (T, B) in [0, I) that stand for
one-hot vectors; states (B, H) and h under a projection (B, P); lengths (B,) integers in [0, T].
"""

from typing import Any

from fastrnn import cells, checks
from fastrnn.cells import Cell
from fastrnn.engine.buffers import plain
from fastrnn.engine.records import Weights
from fastrnn.engine.scan import NO_WEIGHTS
from fastrnn.nn.arguments import Pullback, bare, read_sequence, read_state
from fastrnn.nn.program import prepare
from fastrnn.nn.spec import Spec

_LSTM, _GRU = cells.lstm.CELL, cells.gru.CELL


def run_cell(
    name: str, cell: Cell, x, state, given: tuple, lengths, reverse, vjp: bool = False, **checkpoint
) -> tuple[Any, Pullback | None]:
    """Return `(output, state), pullback` of any cell, by any of its functions; checks everything.

    Args:
        name: of the function, for errors.
        cell: what a step computes.
        x: as in `rnn`.
        state: as in `lstm`.
        given: w_ih, w_hh, b_ih, b_hh, w_hr; biases and w_hr may be None.
        lengths: as in `rnn`.
        reverse: as in `rnn`.
        vjp: return the pullback; else None.
        checkpoint: `checkpoint` and `memory` of `rnn_vjp`, with vjp.
    """
    spec, names, weights = _weights(name, cell, given)
    x, call = read_sequence(name, spec, x, unbatched=False)
    lengths = checks.lengths(name, lengths, call.time, call.batch, True)
    reverse = checks.boolean(name, "reverse", reverse)
    program = prepare(
        spec, call._replace(stacked=False, reverse=reverse, keep=vjp, plain=lengths is None)
    )
    initial = read_state(name, "state", "{}_0", state, program)
    every = program.checkpoint_every(name, **checkpoint, lengths=lengths) if vjp else 0
    output, final, tape = program.run([weights], x, initial, lengths, (), every)
    return (output, bare(final)), Pullback(name, program, tape, [names]) if vjp else None


def _weights(owner: str, cell: Cell, given: tuple) -> tuple[Spec, list, tuple]:
    """Check the parameters against each other, and return what they make.

    w_ih decides the dtype and the hidden size. Returns the Spec; the name of each parameter in the
    order of records.Weights, None where it is missing; and the parameters, as kernels take them.
    """
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

    weights = w_ih, w_hh, bias("b_ih", given[2]), bias("b_hh", given[3]), w_hr
    names = [None if w is None else n for n, w in zip(Weights._fields, weights, strict=True)]
    arrays = tuple(
        nothing if w is None else plain(w)
        for w, nothing in zip(weights, NO_WEIGHTS[dtype], strict=True)
    )
    projection = 0 if w_hr is None else emitted
    return Spec(cell, dtype, w_ih.shape[1], hidden, projection), names, arrays


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
            past it is 0, the final state the one at its end.
        reverse: read every row from its own end.

    Returns:
        `output, h_n`: (T, B, H), (B, H).

    Raises:
        TypeError, ValueError: an argument of another type, dtype or shape.
        IndexError: an integer input outside [0, I).

    Example:
        >>> import numpy as np
        >>> output, h_n = rnn(np.ones((5, 2, 4)), None, np.ones((3, 4)), np.eye(3))
        >>> output.shape, h_n.shape
        ((5, 2, 3), (2, 3))

    Source: Elman 1990; ReLU: Le, Jaitly, Hinton 2015 (arXiv 1504.00941).
    """
    weights, cell = (w_ih, w_hh, b_ih, b_hh, None), cells.rnn.cell_of("rnn", nonlinearity)
    return run_cell("rnn", cell, x, h_0, weights, lengths, reverse)[0]


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
    weights, cell = (w_ih, w_hh, b_ih, b_hh, None), cells.rnn.cell_of("rnn", nonlinearity)
    kept = {"checkpoint": checkpoint, "memory": memory}
    return run_cell("rnn", cell, x, h_0, weights, lengths, reverse, True, **kept)


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
    return run_cell("lstm", _LSTM, x, state, weights, lengths, reverse)[0]


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
    weights, kept = (w_ih, w_hh, b_ih, b_hh, w_hr), {"checkpoint": checkpoint, "memory": memory}
    return run_cell("lstm", _LSTM, x, state, weights, lengths, reverse, True, **kept)


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
    return run_cell("gru", _GRU, x, h_0, weights, lengths, reverse)[0]


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
    weights, kept = (w_ih, w_hh, b_ih, b_hh, None), {"checkpoint": checkpoint, "memory": memory}
    return run_cell("gru", _GRU, x, h_0, weights, lengths, reverse, True, **kept)
