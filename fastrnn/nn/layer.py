"""A layer that reads sequences, whatever its cell: calls, vjp, lengths, dropout, streams.

It holds parameters; how a call of it runs is in program.py, what a step computes in a cell's file
(cells/). There is no autograd: `vjp` returns the gradient as a function. The public classes, with
their arguments, are in layers.py.

Shapes: input (T, B, I), (B, T, I) with batch_first, (T, I) unbatched; the last axis missing for
integers, which stand for one-hot vectors. Output (..., D * E), D directions, E = proj_size or
hidden_size. States (num_layers * D, B, E), and (num_layers * D, B, H) for c; row
layer * D + direction.
"""

import warnings

import numpy as np

from fastrnn import checks
from fastrnn.cells import Cell
from fastrnn.kernels.threads import get_num_threads
from fastrnn.nn.arguments import Pullback, bare, read_batch, read_call, read_state
from fastrnn.nn.module import Recurrent
from fastrnn.nn.program import prepare
from fastrnn.nn.spec import Spec
from fastrnn.nn.stream import Stream


class RecurrentLayer(Recurrent):
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
        dtype = checks.float_dtype(name, dtype)
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
        spec = Spec(
            self.cell,
            dtype,
            self.input_size,
            self.hidden_size,
            self.proj_size,
            self.num_layers,
            1 + self.bidirectional,
            self.bias,
        )
        init, dropout_seed = np.random.SeedSequence(seed).spawn(2)
        super().__init__(spec, init)
        self._random = np.random.default_rng(dropout_seed)  # it has a lock of its own

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

    def __call__(self, x, state=None, lengths=None, *, reset=None):
        """Run the layer for inference: no dropout, and nothing is kept for a gradient.

        Args:
            x: the input, (T, B, I), with batch_first (B, T, I), or (T, I) unbatched; or integers in
                [0, input_size) without the last axis, which stand for one-hot vectors.
            state: the initial state, an array, for the LSTM a tuple (h_0, c_0); None, or None
                in the tuple, is zero.
            lengths: (B,) integers in [0, T], any order: row b ends after lengths[b] steps. What
                is past it in x is not read. The output past a row's end is 0, its final state is
                that at its end, and the reverse direction starts there. The cost is that of the
                sum of the lengths.
            reset: bool, like x without its last axis: True where the state is zero before that
                step, as in an episode's first. The sequence is cut there, between t - 1 and t, in
                both directions, as if it were split: the reverse one, whose initial state enters
                at the end, reads no further than t. Resets past a row's end are ignored.
                None (default): nowhere.

        Returns:
            `output, state`.

        Raises:
            TypeError, ValueError: an argument of another type, dtype or shape.
            IndexError: an integer input outside [0, input_size), before its row's end.
        """
        x, batch, program = self._prepared(x, lengths, reset, "call")
        initial = None if state is None else self._read_state(state, program)
        output, final, _ = program.run(self.weights(), x, initial, batch)
        return output, bare(final)

    def vjp(
        self,
        x,
        state=None,
        lengths=None,
        training: bool = True,
        *,
        reset=None,
        checkpoint=None,
        memory=None,
    ):
        """Run the layer and return its gradient as a function.

        Args:
            x: the input, (T, B, I), with batch_first (B, T, I), or (T, I) unbatched; or integers in
                [0, input_size) without the last axis, which stand for one-hot vectors.
            state: the initial state, an array, for the LSTM a tuple (h_0, c_0); None, or None
                in the tuple, is zero.
            lengths: (B,) integers in [0, T], any order: row b ends after lengths[b] steps.
            training: apply dropout between layers, with a new mask at every call; default True.
            reset: bool, like x without its last axis: True where the state is zero before that
                step, see a call. No gradient crosses a reset, nor does an infinity or a NaN. None
                (default): nowhere.
            checkpoint: steps between two that are kept for the gradient; those in between are
                recomputed (Chen et al. 2016), so that long sequences need little memory. The
                gradient is the same, bit for bit. "auto": sqrt(T), or what `memory` allows. It is
                rounded up to the steps whose gradients are added up together, some thousands
                over B. None: keep everything.
            memory: with "auto": the bytes that may be kept, rows of one segment between two
                checkpoints included, outputs of layers not.

        Returns:
            `(output, state), pullback`. `pullback(d_output, d_state=None, *, wrt_input=True)`
            returns the Gradients of sum(output * d_output) + sum(state * d_state); either may be
            None: zero. Without wrt_input their `input` is None, which saves its memory and time.
            It is pure: it may be called again, from any thread. `pullback.nbytes` are the bytes
            it keeps alive beyond the arrays passed in and got back. If those, or the parameters,
            are changed in place before it is called, its result is undefined.

        Raises:
            TypeError, ValueError: an argument of another type, dtype, shape or range; of the
                pullback, too.
            IndexError: an integer input outside [0, input_size), before its row's end.
        """
        drops = checks.boolean(self._owner, "training", training) and self._drops()
        x, batch, program = self._prepared(x, lengths, reset, "dropout" if drops else "vjp")
        initial = None if state is None else self._read_state(state, program)
        every = program.checkpoint_every(self._owner, checkpoint, memory, batch)
        masks = ()
        if drops:
            masks = self.dropout_masks(program.call.time, program.call.batch)
        output, final, tape = program.run(self.weights(), x, initial, batch, masks, every)
        return (output, bare(final)), Pullback(self._owner, program, tape, self.names)

    def _become(self, spec: Spec) -> None:
        super()._become(spec)
        self.num_layers = spec.num_layers

    def seed_dropout(self, seed) -> None:
        """Have dropout draw from a generator of its own, which starts from this seed."""
        self._random = np.random.default_rng(seed)

    def stream(self, batch_size: int = 1) -> Stream:
        """Return the layer as a function of one time step that keeps its state.

        Args:
            batch_size: B, sequences side by side, fixed; default 1.

        Returns:
            A Stream: `y_t = stream(x_t, reset=None)`, and `stream.reset()`.

        Raises:
            TypeError, ValueError: batch_size is no integer of at least 1; or the layer is
                bidirectional: the reverse direction needs the future.
        """
        if self.bidirectional:
            raise ValueError(
                f"{self._owner}: a bidirectional layer cannot stream, its reverse direction "
                "begins at the end; use bidirectional=False, or call the layer on whole chunks."
            )
        batch_size = checks.integer(self._owner, "batch_size", batch_size)
        return Stream(self._owner, self.spec, self.weights(), batch_size)

    def dropout_masks(self, time: int, batch: int) -> tuple[np.ndarray, ...]:
        """Draw what dropout multiplies the input of each layer but the first by.

        Returns:
            arrays (T, B, directions * E) of 0 and 1 / (1 - p), drawn alike for every dtype; none
            without dropout.
        """
        if not self._drops():
            return ()
        shape = time, batch, self.spec.directions * self.spec.emitted
        factor = self.dtype.type(1 / (1 - self.dropout) if self.dropout < 1 else 0)
        masks = []
        for _ in range(1, self.num_layers):
            keep = self._random.random(shape, np.float32) >= self.dropout
            masks.append(keep * factor)
        return tuple(masks)

    def _drops(self) -> bool:
        return self.dropout > 0 and self.num_layers > 1

    def _prepared(self, x, lengths, reset, way: str):
        """Return `x, batch, program`, checked; way: "call", "vjp", or "dropout", a vjp with it.

        What is known of a shape is not looked at again.
        """
        if lengths is None and type(x) is np.ndarray and x.dtype == self.dtype:
            key = x.shape, self.batch_first, get_num_threads(), way
            program = self._programs.get(key)
            if program is not None:
                batch = None if reset is None else read_batch(self._owner, program.call, reset)
                return x, batch, program
        x, call, batch = read_call(
            self._owner, self.spec, x, lengths, reset, batch_first=self.batch_first
        )
        call = call._replace(keep=way != "call", plain=call.plain and way != "dropout")
        program = prepare(self.spec, call)
        if lengths is None and not call.one_hot:
            self._remember((x.shape, self.batch_first, call.threads, way), program)
        return x, batch, program

    def _read_state(self, state, program):
        return read_state(self._owner, "state", "{}_0", state, program)
