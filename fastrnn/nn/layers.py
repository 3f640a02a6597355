"""RNN, LSTM and GRU as torch.nn has them: their arguments, and which cell each of them runs.

All they do is in layer.py. Shapes: input (T, B, I), (B, T, I) with batch_first, (T, I) unbatched;
the last axis missing for integers, which stand for one-hot vectors. Output (..., D * E), D
directions, E = proj_size or hidden_size. States (num_layers * D, B, E), and
(num_layers * D, B, H) for c; row layer * D + direction.
"""

import numpy as np

from fastrnn import cells
from fastrnn.nn.layer import RecurrentLayer


class RNN(RecurrentLayer):
    """A simple recurrent network (Elman 1990); the function of torch.nn.RNN.

        h_t = tanh(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh), or relu

    Args:
        input_size: I, features of the input, at least 1.
        hidden_size: H, hidden units, at least 1.
        num_layers: layers, each reading the output of the one below; default 1.
        nonlinearity: "tanh" (default) or "relu".
        bias: have b_ih and b_hh; default True.
        batch_first: input and output are (B, T, ...) instead of (T, B, ...); states are not
            affected; default False.
        dropout: probability in [0, 1] that an element between two layers becomes 0 in training,
            which is `vjp`; default 0.
        bidirectional: add a second direction that reads from the end, whose output follows the
            first one's on the last axis; default False.
        dtype: np.float32 (default) or np.float64, of parameters, input and output.
        seed: of the initial parameters, U(-1/sqrt(H), 1/sqrt(H)), and of dropout; None (default):
            different values each time.

    Raises:
        TypeError, ValueError: an argument of another type or out of range.

    Example:
        >>> rnn = RNN(4, 3, seed=0)
        >>> output, h_n = rnn(np.ones((5, 2, 4), np.float32))
        >>> output.shape, h_n.shape
        ((5, 2, 3), (1, 2, 3))
    """

    def __init__(
        self,
        input_size,
        hidden_size,
        num_layers=1,
        nonlinearity="tanh",
        bias=True,
        batch_first=False,
        dropout=0.0,
        bidirectional=False,
        *,
        dtype=np.float32,
        seed=None,
    ):
        self.nonlinearity, self.cell = nonlinearity, cells.rnn.cell_of("RNN", nonlinearity)
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            0,
            dtype,
            seed,
        )


class LSTM(RecurrentLayer):
    """Long short-term memory (Hochreiter & Schmidhuber 1997); the function of torch.nn.LSTM.

    Gates in the order i, f, g, o; the state is a tuple (h, c).

    Args:
        input_size: I, features of the input, at least 1.
        hidden_size: H, hidden units, the size of c, at least 1.
        num_layers: layers, each reading the output of the one below; default 1.
        bias: have b_ih and b_hh; default True.
        batch_first: input and output are (B, T, ...) instead of (T, B, ...); states are not
            affected; default False.
        dropout: probability in [0, 1] that an element between two layers becomes 0 in training,
            which is `vjp`; default 0.
        bidirectional: add a second direction that reads from the end, whose output follows the
            first one's on the last axis; default False.
        proj_size: P < H: h_t = W_hr (o tanh(c_t)) (Sak et al. 2014); 0 (default): no projection.
        dtype: np.float32 (default) or np.float64, of parameters, input and output.
        seed: of the initial parameters, U(-1/sqrt(H), 1/sqrt(H)), and of dropout; None (default):
            different values each time.

    Raises:
        TypeError, ValueError: an argument of another type or out of range.

    Example:
        >>> lstm = LSTM(4, 3, seed=0)
        >>> (output, (h_n, c_n)), pullback = lstm.vjp(np.ones((5, 2, 4), np.float32))
        >>> grads = pullback(np.ones_like(output))
        >>> grads.params["weight_hh_l0"].shape
        (12, 3)
    """

    cell = cells.lstm.CELL

    def __init__(
        self,
        input_size,
        hidden_size,
        num_layers=1,
        bias=True,
        batch_first=False,
        dropout=0.0,
        bidirectional=False,
        proj_size=0,
        *,
        dtype=np.float32,
        seed=None,
    ):
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            proj_size,
            dtype,
            seed,
        )


class GRU(RecurrentLayer):
    """Gated recurrent unit (Cho et al. 2014), reset after the product; as torch.nn.GRU.

    Gates in the order r, z, n.

    Args:
        input_size: I, features of the input, at least 1.
        hidden_size: H, hidden units, at least 1.
        num_layers: layers, each reading the output of the one below; default 1.
        bias: have b_ih and b_hh; default True.
        batch_first: input and output are (B, T, ...) instead of (T, B, ...); states are not
            affected; default False.
        dropout: probability in [0, 1] that an element between two layers becomes 0 in training,
            which is `vjp`; default 0.
        bidirectional: add a second direction that reads from the end, whose output follows the
            first one's on the last axis; default False.
        dtype: np.float32 (default) or np.float64, of parameters, input and output.
        seed: of the initial parameters, U(-1/sqrt(H), 1/sqrt(H)), and of dropout; None (default):
            different values each time.

    Raises:
        TypeError, ValueError: an argument of another type or out of range.

    Example:
        >>> gru = GRU(10, 3, bidirectional=True, seed=0)
        >>> output, h_n = gru(np.array([[1, 9], [0, 2], [4, 4]]), lengths=np.array([3, 1]))
        >>> output.shape, bool((output[1:, 1] == 0).all())
        ((3, 2, 6), True)
    """

    cell = cells.gru.CELL

    def __init__(
        self,
        input_size,
        hidden_size,
        num_layers=1,
        bias=True,
        batch_first=False,
        dropout=0.0,
        bidirectional=False,
        *,
        dtype=np.float32,
        seed=None,
    ):
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            0,
            dtype,
            seed,
        )
