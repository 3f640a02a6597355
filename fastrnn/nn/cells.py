"""One time step at a time: RNNCell, LSTMCell and GRUCell, and the stream of a layer.

A cell is a function of one step and holds no state; a stream holds the state, and its buffers.
Sequences are layers.py's.
"""

import numpy as np

from fastrnn import cells, checks
from fastrnn.cells import Cell
from fastrnn.engine import scan, workspace
from fastrnn.engine.weights import TORCH_NAMES, sizes_of, weights_of
from fastrnn.engine.workspace import Rows
from fastrnn.functional import bare, rnn_cell
from fastrnn.kernels.threads import get_num_threads
from fastrnn.nn.gradients import Gradients
from fastrnn.nn.module import Parameters
from fastrnn.nn.shortcut import Shortcuts, of_cell, remember


class _Cell(Parameters):
    """What RNNCell, LSTMCell and GRUCell share; abstract."""

    cell: Cell

    def __init__(self, input_size, hidden_size, bias, dtype, seed):
        super().__init__(checks.float_dtype(self._owner, dtype))
        self.bias = checks.boolean(self._owner, "bias", bias)
        self.input_size = checks.integer(self._owner, "input_size", input_size)
        self.hidden_size = checks.integer(self._owner, "hidden_size", hidden_size)
        rows = len(self.cell.gates) * self.hidden_size
        shapes = {"weight_ih": (rows, self.input_size), "weight_hh": (rows, self.hidden_size)}
        if self.bias:
            shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}
        self._make(shapes, self.hidden_size**-0.5, seed)
        self._sizes = [sizes_of(self.cell, weights_of(self))]
        self._shortcuts = Shortcuts()

    bidirectional, _passes = False, ((0, 0, ""),)  # as of a layer, for single.py

    def __repr__(self) -> str:
        return self._described(
            self.input_size, self.hidden_size, bias=True, nonlinearity="tanh", dtype=np.float32
        )

    def __call__(self, x, state=None):
        """Compute one step.

        Args:
            x: (B, I) or (I,), or integers (B,) that stand for one-hot rows.
            state: (B, H) or (H,), for LSTMCell a tuple (h, c) of them; None, or None in the
                tuple, is zero.

        Returns:
            The new state, in the same form.

        Raises:
            TypeError, ValueError, IndexError: an argument of another type, dtype, shape, range.
        """
        if type(x) is np.ndarray and x.dtype == self.dtype and x.flags.carray:
            known = self._shortcuts.get((x.shape, get_num_threads()))
            result = known(x, state) if known else None
            if result is not None:
                return result
        new = _Step(self, x, state).run(keep=False)
        remember(self._shortcuts, self, x, of_cell)
        return new

    def vjp(self, x, state=None):
        """Compute one step and return `new_state, pullback`.

        `pullback(d_new_state)` returns the Gradients of sum(new_state * d_new_state), for
        LSTMCell of (d_h, d_c), in which None is zero.
        """
        step = _Step(self, x, state)
        return step.run(keep=True), step


class _Step:
    """One checked call of a cell; after `run(keep=True)`, also its pullback."""

    def __init__(self, layer: _Cell, x, state):
        name = layer._owner
        self.layer, self.cell = layer, layer.cell
        self.weights = weights_of(layer)
        self.size = layer._sizes[0]
        x = checks.array(name, "input", x)
        self.batched = x.ndim + (x.dtype.kind in "iu") == 2
        if x.ndim + (x.dtype.kind in "iu") not in (1, 2):
            raise ValueError(
                f"{name}: input has shape {x.shape}; expected (batch, input_size) or "
                f"(input_size,) with input_size = {layer.input_size}, or integers (batch,)."
            )
        one_step = x[None] if self.batched else x[None, None]
        self.x, _ = checks.sequence(
            name, one_step, layer.input_size, layer.dtype, batch_first=False, unbatched=False
        )
        self.batch = workspace.sort_by_length(1, self.x.shape[1], None)
        self.state = self._states("state", "{}", state)

    def _states(self, name, pattern, value):
        if value is None:
            return scan.zero_states(self.layer.dtype)
        rows = (self.x.shape[1],) if self.batched else ()
        count = len(self.cell.states)
        given = checks.states(
            self.layer._owner,
            name,
            value,
            [pattern.format(s) for s in self.cell.states],
            [(*rows, self.layer.hidden_size)] * count,
            ["batch, " * self.batched + "hidden_size"] * count,
            self.layer.dtype,
        )
        members = tuple(
            None if s is None else s[None] if self.batched else s[None, None] for s in given
        )
        return scan.as_states(members, self.layer.dtype)

    def _bare(self, states):
        return bare(tuple(s[0] if self.batched else s[0, 0] for s in states.members()))

    def _new_states(self):
        return scan.new_states(self.cell, 1, self.x.shape[1], self.size)

    def run(self, keep):
        final = self._new_states()
        self.trace = scan.forward(
            self.cell,
            self.size,
            self.weights,
            self.x,
            self.state,
            self.batch,
            0,
            reverse=False,
            output=Rows(final.first, 0, 0, self.layer.hidden_size),
            final=final,
            keep=keep,
        )
        return self._bare(final)

    @property
    def nbytes(self) -> int:
        """Bytes kept alive beyond the arrays the caller passed in and got back."""
        assert self.trace is not None  # only a pullback is asked
        return self.trace.nbytes

    def __call__(self, d_state) -> Gradients:
        d_new = self._states("d_state", "d_{}", d_state)
        d_x = np.empty(self.x.shape, self.layer.dtype) if self.x.ndim == 3 else None
        assert self.trace is not None
        d_old = self._new_states()
        d_weights = scan.backward(
            self.cell, self.size, self.weights, self.trace, None, d_new, d_x, d_old
        )
        given = zip(TORCH_NAMES, d_weights, strict=True)
        d_input = None if d_x is None else (d_x[0] if self.batched else d_x[0, 0])
        params = {name: d for name, d in given if d is not None}
        return Gradients(d_input, self._bare(d_old), params)


class RNNCell(_Cell):
    """One step of RNN; the function of torch.nn.RNNCell.

    Args:
        input_size: I, at least 1.
        hidden_size: H, at least 1.
        bias: have bias_ih and bias_hh.
        nonlinearity: "tanh" or "relu".
        dtype: np.float32 or np.float64.
        seed: of the parameters, U(-1/sqrt(H), 1/sqrt(H)).
    """

    def __init__(
        self,
        input_size,
        hidden_size,
        bias=True,
        nonlinearity="tanh",
        *,
        dtype=np.float32,
        seed=None,
    ):
        self.nonlinearity, self.cell = nonlinearity, rnn_cell("RNNCell", nonlinearity)
        super().__init__(input_size, hidden_size, bias, dtype, seed)


class LSTMCell(_Cell):
    """One step of LSTM, `h, c = cell(x, (h, c))`; the function of torch.nn.LSTMCell.

    Args:
        input_size: as in RNNCell; and so are the others.
        hidden_size: as in RNNCell.
        bias: as in RNNCell.
        dtype: as in RNNCell.
        seed: as in RNNCell.
    """

    cell = cells.lstm.CELL

    def __init__(self, input_size, hidden_size, bias=True, *, dtype=np.float32, seed=None):
        super().__init__(input_size, hidden_size, bias, dtype, seed)


class GRUCell(_Cell):
    """One step of GRU; the function of torch.nn.GRUCell.

    Args:
        input_size: as in RNNCell; and so are the others.
        hidden_size: as in RNNCell.
        bias: as in RNNCell.
        dtype: as in RNNCell.
        seed: as in RNNCell.
    """

    cell = cells.gru.CELL

    def __init__(self, input_size, hidden_size, bias=True, *, dtype=np.float32, seed=None):
        super().__init__(input_size, hidden_size, bias, dtype, seed)
