"""rnn, lstm and gru on plain arrays: one layer, one direction, each with its gradient.

Functions of arrays alone: they hold nothing. Depth, two directions, batch-first and dropout are
the layers'; a call runs as theirs do (nn/program.py). reference.py has the same functions, slow
and obvious.

Shapes: x (T, B, I) of the dtype of the weights, or integers (T, B) in [0, I) that stand for
one-hot vectors; states (B, H) and h under a projection (B, P); lengths (B,) integers in [0, T].
"""

from fastrnn import cells
from fastrnn.nn.function import run_cell


def rnn(
    x,
    h_0,
    w_ih,
    w_hh,
    b_ih=None,
    b_hh=None,
    *,
    nonlinearity="tanh",
    lengths=None,
    reset=None,
    reverse=False,
):
    """Run a simple recurrent network, h_t = f(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh).

    Args:
        x: (T, B, I) floats, or (T, B) integers in [0, I) that stand for one-hot vectors.
        h_0: (B, H), or None: zero.
        w_ih: (H, I); its dtype, float32 or float64, is that of everything.
        w_hh: (H, H).
        b_ih: (H,) or None.
        b_hh: (H,) or None.
        nonlinearity: "tanh" (default) or "relu".
        lengths: (B,) integers in [0, T], or None: row b ends after lengths[b] steps; the output
            past it is 0, the final state the one at its end.
        reset: (T, B) bool: True where the state is zero before that step; the row is cut between
            t - 1 and t, whichever way it is read. None (default): nowhere.
        reverse: read every row from its own end; default False.

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
    return run_cell("rnn", cell, x, h_0, weights, lengths, reverse, reset=reset)[0]


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
    reset=None,
    reverse=False,
    checkpoint=None,
    memory=None,
):
    """Run `rnn` and return its gradient as a function, by BPTT (Werbos 1990).

    Args:
        x: (T, B, I) floats, or (T, B) integers in [0, I) that stand for one-hot vectors.
        h_0: (B, H), or None: zero.
        w_ih: (H, I); its dtype, float32 or float64, is that of everything.
        w_hh: (H, H).
        b_ih: (H,) or None.
        b_hh: (H,) or None.
        nonlinearity: "tanh" (default) or "relu".
        lengths: (B,) integers in [0, T], or None: row b ends after lengths[b] steps; the output
            past it is 0, the final state the one at its end.
        reset: (T, B) bool: True where the state is zero before that step; the row is cut between
            t - 1 and t, whichever way it is read. None (default): nowhere.
        reverse: read every row from its own end; default False.
        checkpoint: steps between checkpoints, the rest is recomputed; "auto"; None: keep all.
        memory: with "auto": bytes that may be kept.

    Returns:
        `(output, h_n), pullback`. `pullback(d_output, d_state=None, *, wrt_input=True)`
        returns the Gradients of sum(output * d_output) + sum(state * d_state); either may be
        None: zero. It is pure, and `pullback.nbytes` is what it keeps alive. If the arrays or
        the output are changed before it is called, its result is undefined.

    Raises:
        TypeError, ValueError: an argument of another type, dtype or shape.
        IndexError: an integer input outside [0, I).
    """
    weights, cell = (w_ih, w_hh, b_ih, b_hh, None), cells.rnn.cell_of("rnn", nonlinearity)
    kept = {"checkpoint": checkpoint, "memory": memory}
    return run_cell("rnn", cell, x, h_0, weights, lengths, reverse, True, reset=reset, **kept)


def lstm(
    x,
    state,
    w_ih,
    w_hh,
    b_ih=None,
    b_hh=None,
    w_hr=None,
    *,
    lengths=None,
    reset=None,
    reverse=False,
):
    """Run a long short-term memory, torch's gate order i, f, g, o.

    Args:
        x: (T, B, I) floats, or (T, B) integers in [0, I) that stand for one-hot vectors.
        state: (h_0, c_0), (B, H) each, h_0 (B, P) under a projection; None, or None in it: zero.
        w_ih: (4 * H, I); its dtype, float32 or float64, is that of everything.
        w_hh: (4 * H, H), or (4 * H, P).
        b_ih: (4 * H,) or None.
        b_hh: (4 * H,) or None.
        w_hr: (P, H), P <= H: h_t = W_hr (o tanh(c_t)); None: no projection.
        lengths: (B,) integers in [0, T], or None: row b ends after lengths[b] steps; the output
            past it is 0, the final state the one at its end.
        reset: (T, B) bool: True where the state is zero before that step; the row is cut between
            t - 1 and t, whichever way it is read. None (default): nowhere.
        reverse: read every row from its own end; default False.

    Returns:
        `output, (h_n, c_n)`: (T, B, H or P), (B, H or P), (B, H).

    Raises:
        TypeError, ValueError: an argument of another type, dtype or shape.
        IndexError: an integer input outside [0, I).

    Source: Hochreiter & Schmidhuber 1997; Gers et al. 2000; projection: Sak et al. 2014.
    """
    weights = (w_ih, w_hh, b_ih, b_hh, w_hr)
    return run_cell("lstm", cells.lstm.CELL, x, state, weights, lengths, reverse, reset=reset)[0]


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
    reset=None,
    reverse=False,
    checkpoint=None,
    memory=None,
):
    """Run `lstm` and return its gradient as a function, by BPTT (Werbos 1990).

    Args:
        x: (T, B, I) floats, or (T, B) integers in [0, I) that stand for one-hot vectors.
        state: (h_0, c_0), (B, H) each, h_0 (B, P) under a projection; None, or None in it: zero.
        w_ih: (4 * H, I); its dtype, float32 or float64, is that of everything.
        w_hh: (4 * H, H), or (4 * H, P).
        b_ih: (4 * H,) or None.
        b_hh: (4 * H,) or None.
        w_hr: (P, H), P <= H: h_t = W_hr (o tanh(c_t)); None: no projection.
        lengths: (B,) integers in [0, T], or None: row b ends after lengths[b] steps; the output
            past it is 0, the final state the one at its end.
        reset: (T, B) bool: True where the state is zero before that step; the row is cut between
            t - 1 and t, whichever way it is read. None (default): nowhere.
        reverse: read every row from its own end; default False.
        checkpoint: steps between checkpoints, the rest is recomputed; "auto"; None: keep all.
        memory: with "auto": bytes that may be kept.

    Returns:
        `(output, (h_n, c_n)), pullback`. `pullback(d_output, d_state=None, *, wrt_input=True)`
        returns the Gradients of sum(output * d_output) + sum(state * d_state); either may be
        None: zero. It is pure, and `pullback.nbytes` is what it keeps alive. If the arrays or
        the output are changed before it is called, its result is undefined.

    Raises:
        TypeError, ValueError: an argument of another type, dtype or shape.
        IndexError: an integer input outside [0, I).
    """
    weights, kept = (w_ih, w_hh, b_ih, b_hh, w_hr), {"checkpoint": checkpoint, "memory": memory}
    return run_cell(
        "lstm", cells.lstm.CELL, x, state, weights, lengths, reverse, True, reset=reset, **kept
    )


def gru(x, h_0, w_ih, w_hh, b_ih=None, b_hh=None, *, lengths=None, reset=None, reverse=False):
    """Run a gated recurrent unit, torch's gate order r, z, n, reset after the product.

    Args:
        x: (T, B, I) floats, or (T, B) integers in [0, I) that stand for one-hot vectors.
        h_0: (B, H), or None: zero.
        w_ih: (3 * H, I); its dtype, float32 or float64, is that of everything.
        w_hh: (3 * H, H).
        b_ih: (3 * H,) or None.
        b_hh: (3 * H,) or None.
        lengths: (B,) integers in [0, T], or None: row b ends after lengths[b] steps; the output
            past it is 0, the final state the one at its end.
        reset: (T, B) bool: True where the state is zero before that step; the row is cut between
            t - 1 and t, whichever way it is read. None (default): nowhere.
        reverse: read every row from its own end; default False.

    Returns:
        `output, h_n`: (T, B, H), (B, H).

    Raises:
        TypeError, ValueError: an argument of another type, dtype or shape.
        IndexError: an integer input outside [0, I).

    Source: Cho et al. 2014 (arXiv 1406.1078v1).
    """
    weights = (w_ih, w_hh, b_ih, b_hh, None)
    return run_cell("gru", cells.gru.CELL, x, h_0, weights, lengths, reverse, reset=reset)[0]


def gru_vjp(
    x,
    h_0,
    w_ih,
    w_hh,
    b_ih=None,
    b_hh=None,
    *,
    lengths=None,
    reset=None,
    reverse=False,
    checkpoint=None,
    memory=None,
):
    """Run `gru` and return its gradient as a function, by BPTT (Werbos 1990).

    Args:
        x: (T, B, I) floats, or (T, B) integers in [0, I) that stand for one-hot vectors.
        h_0: (B, H), or None: zero.
        w_ih: (3 * H, I); its dtype, float32 or float64, is that of everything.
        w_hh: (3 * H, H).
        b_ih: (3 * H,) or None.
        b_hh: (3 * H,) or None.
        lengths: (B,) integers in [0, T], or None: row b ends after lengths[b] steps; the output
            past it is 0, the final state the one at its end.
        reset: (T, B) bool: True where the state is zero before that step; the row is cut between
            t - 1 and t, whichever way it is read. None (default): nowhere.
        reverse: read every row from its own end; default False.
        checkpoint: steps between checkpoints, the rest is recomputed; "auto"; None: keep all.
        memory: with "auto": bytes that may be kept.

    Returns:
        `(output, h_n), pullback`. `pullback(d_output, d_state=None, *, wrt_input=True)`
        returns the Gradients of sum(output * d_output) + sum(state * d_state); either may be
        None: zero. It is pure, and `pullback.nbytes` is what it keeps alive. If the arrays or
        the output are changed before it is called, its result is undefined.

    Raises:
        TypeError, ValueError: an argument of another type, dtype or shape.
        IndexError: an integer input outside [0, I).
    """
    weights, kept = (w_ih, w_hh, b_ih, b_hh, None), {"checkpoint": checkpoint, "memory": memory}
    return run_cell(
        "gru", cells.gru.CELL, x, h_0, weights, lengths, reverse, True, reset=reset, **kept
    )
