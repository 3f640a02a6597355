"""The shape of a call, and what every program of one is: `run`, `pull`, and the caller's shapes.

Shapes alone: no parameters. The programs are in program.py and single_step.py.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from fastrnn.engine import buffers, scan
from fastrnn.engine.batch import Batch, equal_batch
from fastrnn.engine.checkpoints import steps_between
from fastrnn.nn.spec import Spec


class Call(NamedTuple):
    """The shape of a call, and what is wanted of it.

    Attributes:
        time: T.
        batch: B; 1 without a batch axis.
        threads: how many may be used.
        one_hot: x is integers, without its last axis.
        batched: the input has a batch axis.
        batch_first: it comes before the time axis; states are not affected.
        reverse: of one direction: it reads every sequence from its own end.
        stacked: states have a leading axis of all directions of all layers.
        emit: return an output, and take a time axis; False: a cell, which returns its state alone.
        keep: a gradient will be wanted.
        wrt_input: of the input, too.
        plain: only x, a state and resets: no lengths, no dropout, nobody watches.
    """

    time: int
    batch: int
    threads: int
    one_hot: bool = False
    batched: bool = True
    batch_first: bool = False
    reverse: bool = False
    stacked: bool = True
    emit: bool = True
    keep: bool = False
    wrt_input: bool = True
    plain: bool = True


class BaseProgram:
    """What is prepared for a call, and shared by all that make it; abstract.

    Attributes:
        spec: what is called.
        call: how.
        state_shapes: of each state, as the caller passes and gets it.
        output_shape: of the output.
    """

    def __init__(self, spec: Spec, call: Call):
        self.spec, self.call = spec, call
        self._dtype = spec.dtype
        self._scans = spec.scans()
        if call.reverse:
            self._scans = tuple(one._replace(reverse=True) for one in self._scans)
        slots, others = spec.num_layers * spec.directions, len(spec.cell.states) - 1
        leading = (slots,) * call.stacked + (call.batch,) * call.batched
        widths = [spec.emitted, *[spec.hidden_size] * others]
        self.state_shapes = [(*leading, width) for width in widths]
        order = (call.batch, call.time) if call.batch_first else (call.time, call.batch)
        axes = order if call.batched else (call.time,)
        self.output_shape = (*axes, spec.directions * spec.emitted)
        self._h_shape = (slots, call.batch, spec.emitted)
        self._carried_shape = (others, slots, call.batch, spec.hidden_size)
        self._carried_out = (others, *self.state_shapes[0][:-1], spec.hidden_size)
        self._same_shape = self.state_shapes[0] == self._h_shape
        self._others, (h, carried) = others, scan.ZERO_STATES[spec.dtype]
        self._zeros = h, carried

    def run(
        self,
        weights: list[tuple],
        x: np.ndarray,
        initial: Sequence[np.ndarray | None] | None = None,
        batch: Batch | None = None,
        masks: tuple[np.ndarray, ...] = (),
        checkpoint_every: int = 0,
    ) -> tuple[Any, tuple[np.ndarray, ...], Any]:
        """Compute the output and the final states.

        Args:
            weights: for each direction of each layer a tuple in the order of records.Weights.
            x: the input, in the caller's axes.
            initial: an array of state_shapes, or None, for each state; None: all zero.
            batch: the sequences, of batch.batch_of; None: whole rows, without resets.
            masks: for each layer but the first, what dropout multiplies its input by,
                (T, B, directions * E); empty: no dropout.
            checkpoint_every: of `checkpoint_every()`.

        Returns:
            `output, states, tape`: the output, None of a cell; an array for each state; and,
            if call.keep, what `pull` takes.
        """
        raise NotImplementedError

    def pull(
        self,
        tape: Any,
        d_output: np.ndarray | None = None,
        d_final: Sequence[np.ndarray | None] | None = None,
        wrt_input: bool = True,
        watch: Callable[[int, np.ndarray | None, tuple], Any] | None = None,
    ) -> tuple[Any, tuple[np.ndarray, ...], list[tuple]]:
        """Return gradients by backpropagation through time; the tape is not changed.

        Args:
            tape: of `run`.
            d_output: the gradient at the output; None: zero.
            d_final: the gradients at the final states, as `initial` of `run`.
            wrt_input: return the gradient at x; one-hot x has none.
            watch: takes a slot and the gradients at its layer's output, time first, and at the
                final states, and returns what scan.backward calls at each step.

        Returns:
            `d_x, d_initial, d_weights`, like `run`'s arguments.
        """
        raise NotImplementedError

    def states(self, members: Sequence[np.ndarray | None] | None) -> tuple[np.ndarray, np.ndarray]:
        """Return states, or gradients at them, as records.States; None: zero."""
        if members is None:
            return self._zeros
        h, carried = self._zeros
        first, others = members[0], members[1:]
        if first is not None:
            h = first if first.flags.carray else buffers.plain(first)
            h = h if self._same_shape else h.reshape(self._h_shape)
        if not self._others:
            return h, carried
        if self._others == 1:
            [m] = others
            if m is not None:
                m = m if m.flags.carray else buffers.plain(m)
                carried = m.reshape(self._carried_shape)
            return h, carried
        given = [m for m in others if m is not None]
        if given:
            zero = np.zeros_like(given[0])
            carried = np.stack([zero if m is None else m for m in others])
            carried = carried.reshape(self._carried_shape)
        return h, carried

    def new_states(self) -> tuple[np.ndarray, np.ndarray]:
        """Return room for states."""
        h = buffers.new(self._h_shape, self._dtype)
        if not self._others:
            return h, self._zeros[1]
        return h, buffers.new(self._carried_shape, self._dtype)

    def members(self, states: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, ...]:
        """Return states as the caller wants them, an array each."""
        h, carried = states
        if not self._same_shape:
            h = h.reshape(self.state_shapes[0])
        if not self._others:
            return (h,)
        if not self._same_shape:
            carried = carried.reshape(self._carried_out)
        return (h, carried[0]) if self._others == 1 else (h, *carried)

    def checkpoint_every(self, owner: str, checkpoint, memory, batch: Batch | None = None) -> int:
        """Return the steps between checkpoints that these arguments of `vjp` mean; 0: none.

        Raises:
            TypeError, ValueError: an argument out of range; `owner` names the call.
        """
        if checkpoint is None and memory is None:
            return 0
        call = self.call
        batch = equal_batch(call.time, call.batch) if batch is None else batch
        sizes = [one.sizes for one in self._scans]
        return steps_between(owner, checkpoint, memory, self.spec.cell, sizes, batch)
