"""The oracle: recurrent networks and backpropagation through time in plain NumPy.

To be read beside a textbook: each network is two explicit loops over time, one forward, one back.
Slow and obvious; nothing here is optimised, blocked or checked, and nothing comes from the code it
judges. It works in float32, float64 and complex128, the last for complex-step differentiation
(Squire & Trapp 1998): `.T` never conjugates, and a branch looks at real parts only.

The legend: T time, B batch, I input size, H hidden size, G gates, P projection size. What the
networks have in common:

    x        (T, B, I) floats, or (T, B) integers in [0, I) that stand for one-hot rows
    h_0      (B, H), or (B, P) with a projection; None is zero
    state    the LSTM's (h_0, c_0), c_0 (B, H); None, or a None in it, is zero
    w_ih     (G*H, I)
    w_hh     (G*H, H), or (G*H, P) with a projection
    b_ih     (G*H,), or None for no bias; b_hh the same
    w_hr     (P, H), or None for no projection
    lengths  (B,) integers in [0, T], or None for T: row b reads x[:lengths[b], b] only. Past a
             row's end the output is 0, and the final state is the one at its own end
    reset    (T, B) bool, or None: True where a row is cut between t - 1 and t, whichever way it is
             read, so that what follows starts from a state of zero
    reverse  True: every row is read backwards, from its own end

`pullback(d_output, d_state=None)` returns the `Gradients` of the scalar
sum(output * d_output) + sum(state * d_state); either of the two, or a member of a pair, may be
None: zero. It writes into none of its arguments and may be called again.
"""

import numpy as np

from fastrnn.nn.gradients import Gradients


def rnn(*arguments, **options):
    """Run a simple recurrent network; returns `output, h_n`, the first half of `rnn_vjp`.

    Example:
        >>> output, h_n = rnn(np.ones((5, 2, 4)), None, np.ones((3, 4)), np.eye(3))
        >>> output.shape, h_n.shape
        ((5, 2, 3), (2, 3))
    """
    return rnn_vjp(*arguments, **options)[0]


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
):
    """Run a simple recurrent network, torch.nn.RNN, and keep what its gradient needs.

        h_t = f(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh),  f = tanh, or relu for nonlinearity="relu"

    Returns:
        `(output, h_n), pullback`: output (T, B, H), h_n (B, H).

    Source: Elman 1990, "Finding structure in time"; through time: Werbos 1990.
    """
    params = _given(w_ih=w_ih, w_hh=w_hh, b_ih=b_ih, b_hh=b_hh)
    xs, dtype = _inputs(x, w_ih, h_0, *params.values())
    h = _copy_or_zeros(h_0, (xs.shape[1], w_hh.shape[1]), dtype)
    output = np.zeros((*xs.shape[:2], w_hh.shape[1]), dtype)
    tape = []

    for t, rows, cut in _steps(xs, lengths, reset, reverse):
        h[cut] = 0
        h_prev = h[rows]
        a = _affine(xs[t, rows], w_ih, b_ih) + _affine(h_prev, w_hh, b_hh)
        h_new = np.tanh(a) if nonlinearity == "tanh" else np.where(a.real <= 0, 0, a)
        h[rows] = output[t, rows] = h_new
        tape.append((t, rows, cut, h_prev, h_new))

    def pullback(d_output, d_state=None):
        d_output = _copy_or_zeros(d_output, output.shape, dtype)
        d_h = _copy_or_zeros(d_state, h.shape, dtype)
        d_x = np.zeros(xs.shape, dtype)
        d = {name: np.zeros(w.shape, dtype) for name, w in params.items()}
        for t, rows, cut, h_prev, h_new in reversed(tape):
            d_h_new = d_h[rows] + d_output[t, rows]
            if nonlinearity == "tanh":
                d_a = d_h_new * (1 - h_new * h_new)
            else:
                d_a = np.where(h_new.real <= 0, 0, d_h_new)
            d_x[t, rows] = _affine_backward(d_a, xs[t, rows], w_ih, d, "w_ih", "b_ih")
            d_h[rows] = _affine_backward(d_a, h_prev, w_hh, d, "w_hh", "b_hh")
            d_h[cut] = 0
        return Gradients(d_x if x.ndim == 3 else None, d_h, d)

    return (output, h), pullback


def lstm(*arguments, **options):
    """Run an LSTM; returns `output, (h_n, c_n)`, the first half of `lstm_vjp`.

    Example:
        >>> output, (h_n, c_n) = lstm(np.ones((5, 2, 4)), None, np.ones((12, 4)), np.ones((12, 3)))
        >>> output.shape, c_n.shape
        ((5, 2, 3), (2, 3))
    """
    return lstm_vjp(*arguments, **options)[0]


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
):
    """Run a long short-term memory, gates i, f, g, o, and keep what its gradient needs.

        a = W_ih x_t + b_ih + W_hh h_{t-1} + b_hh
        i, f, g, o = sigmoid(a_i), sigmoid(a_f), tanh(a_g), sigmoid(a_o)
        c_t = f c_{t-1} + i g
        h_t = o tanh(c_t), or with a projection W_hr (o tanh(c_t))

    Returns:
        `(output, (h_n, c_n)), pullback`: output (T, B, H) or (T, B, P), h_n and c_n (B, ...).

    Source: Hochreiter & Schmidhuber 1997; forget gate: Gers, Schmidhuber & Cummins 2000;
    projection: Sak, Senior & Beaufays 2014, arXiv:1402.1128.
    """
    h_0, c_0 = (None, None) if state is None else state
    params = _given(w_ih=w_ih, w_hh=w_hh, b_ih=b_ih, b_hh=b_hh, w_hr=w_hr)
    xs, dtype = _inputs(x, w_ih, h_0, c_0, *params.values())
    h = _copy_or_zeros(h_0, (xs.shape[1], w_hh.shape[1]), dtype)
    c = _copy_or_zeros(c_0, (xs.shape[1], w_hh.shape[0] // 4), dtype)
    output = np.zeros((*xs.shape[:2], w_hh.shape[1]), dtype)
    tape = []

    for t, rows, cut in _steps(xs, lengths, reset, reverse):
        h[cut] = c[cut] = 0
        h_prev, c_prev = h[rows], c[rows]
        a = _affine(xs[t, rows], w_ih, b_ih) + _affine(h_prev, w_hh, b_hh)
        a_i, a_f, a_g, a_o = np.split(a, 4, axis=1)
        i, f, g, o = _sigmoid(a_i), _sigmoid(a_f), np.tanh(a_g), _sigmoid(a_o)
        c_new = f * c_prev + i * g
        tanh_c = np.tanh(c_new)
        h_new = o * tanh_c if w_hr is None else _affine(o * tanh_c, w_hr, None)
        h[rows] = output[t, rows] = h_new
        c[rows] = c_new
        tape.append((t, rows, cut, h_prev, c_prev, i, f, g, o, tanh_c))

    def pullback(d_output, d_state=None):
        d_h_n, d_c_n = (None, None) if d_state is None else d_state
        d_output = _copy_or_zeros(d_output, output.shape, dtype)
        d_h = _copy_or_zeros(d_h_n, h.shape, dtype)
        d_c = _copy_or_zeros(d_c_n, c.shape, dtype)
        d_x = np.zeros(xs.shape, dtype)
        d = {name: np.zeros(w.shape, dtype) for name, w in params.items()}
        for t, rows, cut, h_prev, c_prev, i, f, g, o, tanh_c in reversed(tape):
            d_m = d_h[rows] + d_output[t, rows]  # m = o tanh(c), what the projection reads
            if w_hr is not None:
                d_m = _affine_backward(d_m, o * tanh_c, w_hr, d, "w_hr", None)
            d_c_new = d_c[rows] + d_m * o * (1 - tanh_c * tanh_c)
            d_a_i = d_c_new * g * i * (1 - i)
            d_a_f = d_c_new * c_prev * f * (1 - f)
            d_a_g = d_c_new * i * (1 - g * g)
            d_a_o = d_m * tanh_c * o * (1 - o)
            d_a = np.concatenate([d_a_i, d_a_f, d_a_g, d_a_o], axis=1)
            d_x[t, rows] = _affine_backward(d_a, xs[t, rows], w_ih, d, "w_ih", "b_ih")
            d_h[rows] = _affine_backward(d_a, h_prev, w_hh, d, "w_hh", "b_hh")
            d_c[rows] = d_c_new * f
            d_h[cut] = d_c[cut] = 0
        return Gradients(d_x if x.ndim == 3 else None, (d_h, d_c), d)

    return (output, (h, c)), pullback


def gru(*arguments, **options):
    """Run a GRU; returns `output, h_n`, the first half of `gru_vjp`.

    Example:
        >>> output, h_n = gru(np.ones((5, 2, 4)), None, np.ones((9, 4)), np.ones((9, 3)))
        >>> output.shape, h_n.shape
        ((5, 2, 3), (2, 3))
    """
    return gru_vjp(*arguments, **options)[0]


def gru_vjp(x, h_0, w_ih, w_hh, b_ih=None, b_hh=None, *, lengths=None, reset=None, reverse=False):
    """Run a gated recurrent unit, gates r, z, n, and keep what its gradient needs.

        a_x = W_ih x_t + b_ih,  a_h = W_hh h_{t-1} + b_hh
        r = sigmoid(a_x_r + a_h_r)
        z = sigmoid(a_x_z + a_h_z)
        n = tanh(a_x_n + r a_h_n)
        h_t = (1 - z) n + z h_{t-1}

    Returns:
        `(output, h_n), pullback`: output (T, B, H), h_n (B, H).

    Source: Cho et al. 2014, arXiv:1406.1078, eq. 5-8. There r multiplies h_{t-1}; here, as in
    torch, it multiplies a_h_n = W_hn h_{t-1} + b_hn.
    """
    params = _given(w_ih=w_ih, w_hh=w_hh, b_ih=b_ih, b_hh=b_hh)
    xs, dtype = _inputs(x, w_ih, h_0, *params.values())
    h = _copy_or_zeros(h_0, (xs.shape[1], w_hh.shape[1]), dtype)
    output = np.zeros((*xs.shape[:2], w_hh.shape[1]), dtype)
    tape = []

    for t, rows, cut in _steps(xs, lengths, reset, reverse):
        h[cut] = 0
        h_prev = h[rows]
        a_x_r, a_x_z, a_x_n = np.split(_affine(xs[t, rows], w_ih, b_ih), 3, axis=1)
        a_h_r, a_h_z, a_h_n = np.split(_affine(h_prev, w_hh, b_hh), 3, axis=1)
        r = _sigmoid(a_x_r + a_h_r)
        z = _sigmoid(a_x_z + a_h_z)
        n = np.tanh(a_x_n + r * a_h_n)
        h[rows] = output[t, rows] = (1 - z) * n + z * h_prev
        tape.append((t, rows, cut, h_prev, r, z, n, a_h_n))

    def pullback(d_output, d_state=None):
        d_output = _copy_or_zeros(d_output, output.shape, dtype)
        d_h = _copy_or_zeros(d_state, h.shape, dtype)
        d_x = np.zeros(xs.shape, dtype)
        d = {name: np.zeros(w.shape, dtype) for name, w in params.items()}
        for t, rows, cut, h_prev, r, z, n, a_h_n in reversed(tape):
            d_h_new = d_h[rows] + d_output[t, rows]
            d_a_n = d_h_new * (1 - z) * (1 - n * n)
            d_a_z = d_h_new * (h_prev - n) * z * (1 - z)
            d_a_r = d_a_n * a_h_n * r * (1 - r)
            d_a_x = np.concatenate([d_a_r, d_a_z, d_a_n], axis=1)
            d_a_h = np.concatenate([d_a_r, d_a_z, d_a_n * r], axis=1)
            d_x[t, rows] = _affine_backward(d_a_x, xs[t, rows], w_ih, d, "w_ih", "b_ih")
            d_h[rows] = _affine_backward(d_a_h, h_prev, w_hh, d, "w_hh", "b_hh") + d_h_new * z
            d_h[cut] = 0
        return Gradients(d_x if x.ndim == 3 else None, d_h, d)

    return (output, h), pullback


def _steps(xs, lengths, reset, reverse):
    """Yield `(t, rows, cut)` per step: the rows of the batch not yet ended, and what each reads.

    cut: those of them whose state is zero before the step.
    """
    time, batch = xs.shape[:2]
    lengths = np.full(batch, time) if lengths is None else np.asarray(lengths)
    reset = np.zeros((time, batch), bool) if reset is None else np.asarray(reset)
    for step in range(time):
        rows = np.flatnonzero(step < lengths)
        t = lengths[rows] - 1 - step if reverse else np.full_like(rows, step)
        if not reverse:
            cut = rows[reset[t, rows]]
        elif step:  # the row was read from its end down to t + 1
            cut = rows[reset[t + 1, rows]]
        else:
            cut = rows[:0]
        yield t, rows, cut


def _inputs(x, w_ih, *others):
    """Write out one-hot rows; the dtype to compute in is complex as soon as one array is."""
    xs = np.eye(w_ih.shape[1], dtype=w_ih.dtype)[x] if x.ndim == 2 else x
    return xs, np.result_type(xs, *[a for a in others if a is not None])


def _given(**params):
    return {name: w for name, w in params.items() if w is not None}


def _copy_or_zeros(array, shape, dtype):
    return np.zeros(shape, dtype) if array is None else np.array(array, dtype)


def _sigmoid(x):
    return 0.5 * (1 + np.tanh(0.5 * x))


def _affine(x, w, b):
    return x @ w.T if b is None else x @ w.T + b


def _affine_backward(d_y, x, w, d, w_name, b_name):
    """The gradient at x; those at w and b are added to d, for every step uses the same weights."""
    d[w_name] += d_y.T @ x
    if b_name in d:
        d[b_name] += d_y.sum(axis=0)
    return d_y @ w
