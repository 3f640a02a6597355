"""RNNCell, LSTMCell and GRUCell: functions of one step, that hold parameters and no state.

Sequences are layers.py's, a layer that keeps its state from step to step stream.py's. A call runs
as every call does (program.py).
"""

import numpy as np

from fastrnn import cells, checks
from fastrnn.cells import Cell
from fastrnn.kernels.threads import get_num_threads
from fastrnn.nn.arguments import StepPullback, bare, read_state, read_step
from fastrnn.nn.module import Recurrent
from fastrnn.nn.program import prepare
from fastrnn.nn.spec import Spec


class RecurrentCell(Recurrent):
    """What RNNCell, LSTMCell and GRUCell share; abstract."""

    cell: Cell

    def __init__(self, input_size, hidden_size, bias, dtype, seed):
        dtype = checks.float_dtype(self._owner, dtype)
        self.bias = checks.boolean(self._owner, "bias", bias)
        self.input_size = checks.integer(self._owner, "input_size", input_size)
        self.hidden_size = checks.integer(self._owner, "hidden_size", hidden_size)
        spec = Spec(self.cell, dtype, self.input_size, self.hidden_size, bias=self.bias)
        super().__init__(spec, seed)

    def _suffixes(self, spec: Spec) -> tuple[str, ...]:
        return ("",)

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
        x, program = self._prepared(x, False)
        state = read_state(self._owner, "state", "{}", state, program)
        _, final, _ = program.run(self.weights(), x, state)
        return bare(final)

    def vjp(self, x, state=None):
        """Compute one step and return its gradient as a function.

        Args:
            x: (B, I) or (I,), or integers (B,) that stand for one-hot rows.
            state: (B, H) or (H,), for LSTMCell a tuple (h, c) of them; None, or None in the
                tuple, is zero.

        Returns:
            `new_state, pullback`. `pullback(d_new_state)` returns the Gradients of
            sum(new_state * d_new_state), for LSTMCell of (d_h, d_c), in which None is zero.

        Raises:
            TypeError, ValueError, IndexError: an argument of another type, dtype, shape, range; of
                the pullback, too.
        """
        x, program = self._prepared(x, True)
        state = read_state(self._owner, "state", "{}", state, program)
        _, final, tape = program.run(self.weights(), x, state)
        return bare(final), StepPullback(self._owner, program, tape, self.names)

    def _prepared(self, x, keep: bool):
        """Return `x, program`, checked; what is known of a shape is not looked at again."""
        if type(x) is np.ndarray and x.dtype == self.dtype:
            program = self._programs.get((x.shape, get_num_threads(), keep))
            if program is not None:
                return x, program
        x, call = read_step(self._owner, self.spec, x)
        program = prepare(self.spec, call._replace(keep=keep))
        if not call.one_hot:
            self._remember((x.shape, call.threads, keep), program)
        return x, program


class RNNCell(RecurrentCell):
    """One step of RNN; the function of torch.nn.RNNCell.

    Args:
        input_size: I, features of the input, at least 1.
        hidden_size: H, hidden units, at least 1.
        bias: have bias_ih and bias_hh; default True.
        nonlinearity: "tanh" (default) or "relu".
        dtype: np.float32 (default) or np.float64, of parameters, input and state.
        seed: of the parameters, U(-1/sqrt(H), 1/sqrt(H)); None (default): different each time.
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
        self.nonlinearity, self.cell = nonlinearity, cells.rnn.cell_of("RNNCell", nonlinearity)
        super().__init__(input_size, hidden_size, bias, dtype, seed)


class LSTMCell(RecurrentCell):
    """One step of LSTM, `h, c = cell(x, (h, c))`; the function of torch.nn.LSTMCell.

    Args:
        input_size: I, features of the input, at least 1.
        hidden_size: H, hidden units, at least 1.
        bias: have bias_ih and bias_hh; default True.
        dtype: np.float32 (default) or np.float64, of parameters, input and state.
        seed: of the parameters, U(-1/sqrt(H), 1/sqrt(H)); None (default): different each time.
    """

    cell = cells.lstm.CELL

    def __init__(self, input_size, hidden_size, bias=True, *, dtype=np.float32, seed=None):
        super().__init__(input_size, hidden_size, bias, dtype, seed)


class GRUCell(RecurrentCell):
    """One step of GRU; the function of torch.nn.GRUCell.

    Args:
        input_size: I, features of the input, at least 1.
        hidden_size: H, hidden units, at least 1.
        bias: have bias_ih and bias_hh; default True.
        dtype: np.float32 (default) or np.float64, of parameters, input and state.
        seed: of the parameters, U(-1/sqrt(H), 1/sqrt(H)); None (default): different each time.
    """

    cell = cells.gru.CELL

    def __init__(self, input_size, hidden_size, bias=True, *, dtype=np.float32, seed=None):
        super().__init__(input_size, hidden_size, bias, dtype, seed)
