"""RNN, LSTM and GRU as torch.nn has them: depth, directions, batch_first, lengths, dropout.

A layer holds parameters; how a call of it runs is in stack.py, what a step computes is a cell's
business (cells/), and one step at a time is steps.py's. There is no autograd: `vjp` returns the
gradient as a function.

Shapes: input (T, B, I), (B, T, I) with batch_first, (T, I) unbatched; the last axis missing for
integers, which stand for one-hot vectors. Output (..., D * E), D directions, E = proj_size or
hidden_size. States (num_layers * D, B, E), and (num_layers * D, B, H) for c; row
layer * D + direction.
"""

import threading
import warnings

import numpy as np

from fastrnn import cells, checks
from fastrnn.cells import Cell
from fastrnn.engine.weights import sizes_of, weights_of
from fastrnn.functional import rnn_cell
from fastrnn.kernels.threads import get_num_threads
from fastrnn.nn.module import Parameters
from fastrnn.nn.shortcut import Shortcuts, of_layer, remember
from fastrnn.nn.stack import StackCall
from fastrnn.nn.stream import Stream


class _Recurrent(Parameters):
    """What RNN, LSTM and GRU share; abstract."""

    cell: Cell

    def __init__(
        self,
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
    ):
        name = self._owner
        super().__init__(checks.float_dtype(name, dtype))
        self.dropout = checks.probability(name, "dropout", dropout)
        self.bias = checks.boolean(name, "bias", bias)
        self.batch_first = checks.boolean(name, "batch_first", batch_first)
        self.bidirectional = checks.boolean(name, "bidirectional", bidirectional)
        self.input_size = checks.integer(name, "input_size", input_size)
        self.hidden_size = checks.integer(name, "hidden_size", hidden_size)
        self.num_layers = checks.integer(name, "num_layers", num_layers)
        self.proj_size = checks.integer(name, "proj_size", proj_size, least=0)
        if self.proj_size >= self.hidden_size:
            raise ValueError(
                f"{name}: proj_size has to be smaller than hidden_size = {hidden_size}, "
                f"got {proj_size}."
            )
        if dropout and num_layers == 1:
            warnings.warn(
                f"{name}: dropout acts between layers, so dropout={dropout} does nothing with "
                "num_layers=1.",
                stacklevel=3,
            )
        self._emitted = self.proj_size or self.hidden_size
        self._passes = [
            (layer, direction, f"_l{layer}" + "_reverse" * direction)
            for layer in range(self.num_layers)
            for direction in range(1 + self.bidirectional)
        ]
        gates, shapes = len(self.cell.gates) * self.hidden_size, {}
        for layer, _, suffix in self._passes:
            wide = self.input_size if layer == 0 else self._emitted * (1 + self.bidirectional)
            shapes["weight_ih" + suffix] = (gates, wide)
            shapes["weight_hh" + suffix] = (gates, self._emitted)
            if self.bias:
                shapes["bias_ih" + suffix] = shapes["bias_hh" + suffix] = (gates,)
            if self.proj_size:
                shapes["weight_hr" + suffix] = (self.proj_size, self.hidden_size)
        init, dropout_seed = np.random.SeedSequence(seed).spawn(2)
        self._make(shapes, self.hidden_size**-0.5, init)
        self._sizes = [sizes_of(self.cell, weights_of(self, p[2])) for p in self._passes]
        self._shortcuts = Shortcuts()
        self._random, self._drawing = np.random.default_rng(dropout_seed), threading.Lock()

    def __getstate__(self):
        """Return what copies and pickles of the layer hold: all but a lock."""
        return {**self.__dict__, "_drawing": None}

    def __setstate__(self, state):
        self.__dict__.update(state, _drawing=threading.Lock())

    @property
    def dropout_generator(self) -> np.random.Generator:
        """What draws dropout's masks; to resume training bit for bit, its state has to be kept."""
        return self._random

    def __repr__(self) -> str:
        return self._described(
            self.input_size,
            self.hidden_size,
            proj_size=0,
            num_layers=1,
            nonlinearity="tanh",
            bias=True,
            batch_first=False,
            dropout=0.0,
            bidirectional=False,
            dtype=np.float32,
        )

    def __call__(self, x, state=None, lengths=None):
        """Run the layer for inference: no dropout, and nothing is kept for a gradient.

        Args:
            x: the input (see the module); integers in [0, input_size) stand for one-hot.
            state: the initial state, an array, for the LSTM a tuple (h_0, c_0); None, or None
                in the tuple, is zero.
            lengths: (B,) integers in [0, T], any order: row b ends after lengths[b] steps. The
                output behind a row's end is 0, its final state is that at its end, and the
                reverse direction begins there. The cost is that of the sum of the lengths.

        Returns:
            `output, state`.

        Raises:
            TypeError, ValueError: an argument of another type, dtype or shape.
            IndexError: an integer input outside [0, input_size).
        """
        if lengths is None and type(x) is np.ndarray and x.dtype == self.dtype and x.flags.carray:
            known = self._shortcuts.get((x.shape, get_num_threads()))
            result = known(x, state) if known else None
            if result is not None:
                return result
        result = StackCall(self, x, state, lengths).run(keep=False, training=False)
        if lengths is None:
            remember(self._shortcuts, self, x, of_layer)
        return result

    def vjp(
        self, x, state=None, lengths=None, training: bool = True, *, checkpoint=None, memory=None
    ):
        """Run the layer and return its gradient as a function.

        Args:
            x: as in a call.
            state: as in a call.
            lengths: as in a call.
            training: apply dropout between layers, with a new mask at every call.
            checkpoint: steps between two that are kept for the gradient; what lies between is
                computed again (Chen et al. 2016), so that long sequences need little memory. The
                gradient is the same, bit for bit. "auto": sqrt(T), or what `memory` allows. It is
                rounded up to the steps whose gradients are added up together, some thousands
                over B. None: keep everything.
            memory: with "auto": the bytes that may be kept, rows of one stretch between two
                checkpoints included, outputs of layers not.

        Returns:
            `(output, state), pullback`. `pullback(d_output, d_state=None, *, wrt_input=True)`
            returns the Gradients of sum(output * d_output) + sum(state * d_state); either may be
            None: zero. Without wrt_input their `input` is None, which saves its memory and time.
            It is pure: it may be called again, from any thread. `pullback.nbytes` are the bytes
            it keeps alive beyond the arrays passed in and got back. If those, or the parameters,
            are changed in place before it is called, its result is undefined.

        Raises:
            TypeError, ValueError, IndexError: as in a call; the pullback too, for its arguments.
        """
        call = StackCall(self, x, state, lengths)
        checks.boolean(self._owner, "training", training)
        every = call.every(checkpoint, memory)
        return call.run(keep=True, training=training, every=every), call

    def stream(self, batch_size: int = 1) -> Stream:
        """Return the layer as a function of one time step that keeps its state.

        Args:
            batch_size: B, fixed.

        Raises:
            ValueError: the layer is bidirectional: the reverse direction needs the future.
        """
        if self.bidirectional:
            raise ValueError(
                f"{self._owner}: a bidirectional layer cannot stream, its reverse direction "
                "begins at the end; use bidirectional=False, or call the layer on whole chunks."
            )
        batch_size = checks.integer(self._owner, "batch_size", batch_size)
        weights = [weights_of(self, suffix) for _, _, suffix in self._passes]
        return Stream(self._owner, self.cell, weights, batch_size)

    def _drop(self, output: np.ndarray) -> np.ndarray:
        """Return the factors of one dropout, 0 or 1 / (1 - p); the same for every dtype."""
        with self._drawing:
            keep = self._random.random(output.shape, np.float32) >= self.dropout
        return keep * self.dtype.type(1 / (1 - self.dropout) if self.dropout < 1 else 0)


class RNN(_Recurrent):
    """A simple recurrent network (Elman 1990); the function of torch.nn.RNN.

        h_t = tanh(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh), or relu

    Args:
        input_size: I, at least 1.
        hidden_size: H, at least 1.
        num_layers: layers, each reading the output of the one below.
        nonlinearity: "tanh" or "relu".
        bias: have b_ih and b_hh.
        batch_first: input and output are (B, T, ...); states are not affected.
        dropout: probability that an element between two layers becomes 0, in training.
        bidirectional: a second direction reads from the end; its output stands behind.
        dtype: np.float32 or np.float64.
        seed: of the initial parameters, U(-1/sqrt(H), 1/sqrt(H)), and of dropout; None: another
            at every call.

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
        self.nonlinearity, self.cell = nonlinearity, rnn_cell("RNN", nonlinearity)
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


class LSTM(_Recurrent):
    """Long short-term memory (Hochreiter & Schmidhuber 1997); the function of torch.nn.LSTM.

    Gates in the order i, f, g, o; the state is a tuple (h, c).

    Args:
        input_size: as in RNN; and so are the others.
        hidden_size: H, of c.
        num_layers: as in RNN.
        bias: as in RNN.
        batch_first: as in RNN.
        dropout: as in RNN.
        bidirectional: as in RNN.
        proj_size: P < H: h_t = W_hr (o tanh(c_t)) (Sak et al. 2014); 0: no projection.
        dtype: as in RNN.
        seed: as in RNN.

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


class GRU(_Recurrent):
    """Gated recurrent unit (Cho et al. 2014), reset after the product; as torch.nn.GRU.

    Gates in the order r, z, n.

    Args:
        input_size: as in RNN; and so are the others.
        hidden_size: as in RNN.
        num_layers: as in RNN.
        bias: as in RNN.
        batch_first: as in RNN.
        dropout: as in RNN.
        bidirectional: as in RNN.
        dtype: as in RNN.
        seed: as in RNN.

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
