"""The one way from a call to the kernels: `prepare(spec, call)`, then `run` and `pull`.

A Program is everything that follows from what a layer is (spec.py) and from the shape of a call:
plans, layouts, which kernels. It holds no parameters and no state, so layers, cells, functions,
torch modules and the checker share it, from any thread. `run` computes; what a gradient needs it
returns as a tape, which belongs to the caller; `pull` takes the tape and gives the gradients.

Nothing is checked here: arguments.py does that, with the messages. Calls of a single step that
are too small for plans to pay are single_step.py's, by the same interface.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from fastrnn.engine import buffers, scan
from fastrnn.engine.batch import Batch, equal_batch, rows_of
from fastrnn.engine.plan import plan_backward, plan_forward
from fastrnn.nn.call import BaseProgram, Call
from fastrnn.nn.single_step import SingleStep, is_single
from fastrnn.nn.spec import Spec
from fastrnn.nn.tape import Tape


class _Layer(NamedTuple):
    """One layer of the stack, and how its output lies in memory."""

    shape: tuple[int, int, int]
    time: int  # (t, b) starts at t * time + b * row
    row: int


class Program(BaseProgram):
    """A call of any length of a stack of layers."""

    def __init__(self, spec: Spec, call: Call):
        super().__init__(spec, call)
        time, batch, swapped = call.time, call.batch, call.batch_first
        width = spec.directions * spec.emitted
        self._equal = equal_batch(time, batch)
        self._prepared: dict[str, list] = {}  # of `_equal`
        self._x_shape = (batch, time) if swapped else (time, batch)
        if not call.one_hot:
            self._x_shape = (*self._x_shape, spec.input_size)
        self._x_strides = _strides(self._x_shape, swapped)
        self._layers, self._slots = [], []
        for depth in range(spec.num_layers):
            last = swapped and depth == spec.num_layers - 1
            shape = (batch, time, width) if last else (time, batch, width)
            layer = _Layer(shape, *_strides(shape, last))
            self._layers.append(layer)
            for direction in range(spec.directions):
                slot, at = depth * spec.directions + direction, direction * spec.emitted
                rows = (at, layer.time * call.emit, layer.row)  # a cell's output is its state
                first = shape if call.emit and not direction else None
                self._slots.append((slot, depth, first, rows))

    def run(
        self,
        weights: list[tuple],
        x: np.ndarray,
        initial: Sequence[np.ndarray | None] | None = None,
        batch: Batch | None = None,
        masks: tuple[np.ndarray, ...] = (),
        checkpoint_every: int = 0,
    ) -> tuple[np.ndarray | None, tuple[np.ndarray, ...], Tape | None]:
        call, dtype = self.call, self._dtype
        if not call.batch:
            return self._run_nothing(weights, x)
        batch = self._equal if batch is None else batch
        prepared, keep = self._all_prepared(batch, "forward"), call.keep
        start, final = self.states(initial), self.new_states()
        states, output = (*start, *final), final[0]
        new = buffers.new if self._is_full(batch) else buffers.zeros  # past a row's end it is 0
        source, inputs, outputs, residuals = self._source(x), [], [], []
        for slot, depth, shape, rows in self._slots:
            if shape is not None:  # the first direction of a layer
                if depth:
                    outputs.append(output)
                    inputs.append(output * masks[depth - 1] if masks else output)
                    source = (inputs[-1], scan.NO_INDEX, *self._layers[depth - 1][1:])
                output = new(shape, dtype)
            kept = scan.forward(
                prepared[slot],
                source,
                weights[slot],
                states,
                (output, *rows),
                keep,
                checkpoint_every,
            )
            residuals.append(kept)
        if call.emit and not call.batched:
            output = output.reshape(self.output_shape)
        tape = None
        if call.keep:
            tape = Tape(
                weights,
                x,
                start,
                output,
                tuple(inputs),
                tuple(outputs),
                masks,
                batch,
                tuple(residuals),
            )
        return output if call.emit else None, self.members(final), tape

    def pull(
        self,
        tape: Tape,
        d_output: np.ndarray | None = None,
        d_final: Sequence[np.ndarray | None] | None = None,
        wrt_input: bool = True,
        watch: Callable[[int, np.ndarray | None, tuple], Any] | None = None,
    ) -> tuple[np.ndarray | None, tuple[np.ndarray, ...], list[tuple]]:
        spec, dtype, batch = self.spec, self._dtype, tape.batch
        wrt_input = wrt_input and not self.call.one_hot
        if not self.call.batch:
            d_weights = [scan.new_gradients(own, 0) for own in tape.weights]
            if watch is not None:
                for one in self._scans:
                    watch(one.slot, None, self.states(d_final))
            d_x = buffers.zeros(tape.x.shape, dtype) if wrt_input else None
            return d_x, self.members(self.new_states()), d_weights
        backward = self._all_prepared(batch, "backward" if wrt_input else "parameters")
        d_last, d_first = self.states(d_final), self.new_states()
        states, d_weights = (*d_last, *d_first), [()] * len(tape.weights)
        new = buffers.new if self._is_full(batch) else buffers.zeros
        d_output = None if d_output is None else self.time_major(d_output)
        for depth in reversed(range(spec.num_layers)):
            if depth:
                shape, *strides = self._layers[depth - 1]
                source = (tape.inputs[depth - 1], scan.NO_INDEX, *strides)
            else:
                shape, strides, source = self._x_shape, self._x_strides, self._source(tape.x)
            d_rows = None if d_output is None else rows_of(d_output)
            d_x = None
            for direction in range(spec.directions):
                slot, at = depth * spec.directions + direction, direction * spec.emitted
                d_part = new(shape, dtype) if depth or wrt_input else None
                d_weights[slot] = scan.backward(
                    backward[slot],
                    source,
                    tape.weights[slot],
                    states,
                    tape.initial,
                    tape.residuals[slot],
                    self.output_rows(tape, depth, at),
                    scan.NO_ROWS[dtype] if d_rows is None else (d_rows[0], at, *d_rows[2:]),
                    scan.NO_ROWS[dtype] if d_part is None else (d_part, 0, *strides),
                    watch and watch(slot, d_output, d_last),
                )
                if d_part is not None:
                    d_x = d_part if d_x is None else np.add(d_x, d_part, out=d_x)
            if depth and tape.masks:
                d_x *= tape.masks[depth - 1]
            d_output = d_x
        d_input = None if d_output is None else d_output.reshape(tape.x.shape)
        return d_input, self.members(d_first), d_weights

    def _run_nothing(self, weights, x) -> tuple:
        """Return what `run` does, of a batch without sequences."""
        output = buffers.zeros(self.output_shape, self._dtype)
        kept = [scan.new_residuals(one.cell, one.sizes, self._equal, 0) for one in self._scans]
        between = tuple(buffers.zeros(layer.shape, self._dtype) for layer in self._layers[1:])
        tape = Tape(weights, x, self._zeros, output, between, between, (), self._equal, tuple(kept))
        final = self.members(self.new_states())
        return output if self.call.emit else None, final, tape if self.call.keep else None

    def _all_prepared(self, batch: Batch, which: str) -> list:
        """Return how each direction of each layer runs over a batch.

        which: "forward", "backward", or "parameters": backward without the input's gradient.
        """
        plain = self._equal if self._is_full(batch) else batch  # resets change no plan
        result = self._prepared.get(which) if plain is self._equal else None
        if result is None:
            result = [self._plan(one, plain, which) for one in self._scans]
            if plain is self._equal:
                self._prepared[which] = result
        return result if batch is plain else [scan.cut(one, batch) for one in result]

    def _plan(self, one: scan.Scan, batch: Batch, which: str) -> scan.Prepared:
        """Return how a direction of a layer runs over a batch; see _all_prepared."""
        threads, lowest = self.call.threads, one.slot < self.spec.directions
        given = one.cell, one.sizes, batch, self.call.one_hot and lowest
        if which == "forward":
            plan = plan_forward(*given, threads)
        else:
            plan = plan_backward(*given, which == "backward" or not lowest, threads)
        return scan.prepared(one, batch, plan, threads)

    def _is_full(self, batch: Batch) -> bool:
        """Return whether all rows are as long as the input."""
        return batch.rows == self._equal.rows

    def time_major(self, array: np.ndarray) -> np.ndarray:
        """Return an input, an output or a gradient at one as (T, B, ...)."""
        call = self.call
        array = array if call.emit else array[None]
        if not call.batched:
            return array[:, None]
        return array.swapaxes(0, 1) if call.batch_first else array

    def caller_axes(self, array: np.ndarray) -> np.ndarray:
        """Return a (T, B, ...) array with the axes of the caller's input: undoes time_major."""
        call = self.call
        if not call.batched:
            return array[:, 0]
        return array.swapaxes(0, 1) if call.batch_first else array

    def _source(self, x: np.ndarray) -> tuple:
        """Return the input as scan.source_of does, without looking twice at the usual kind."""
        if self.call.one_hot or not x.flags.carray:
            return scan.source_of(self.time_major(x), self._dtype)
        if x.ndim != 3:
            x = x.reshape(self._x_shape)
        return (x, scan.NO_INDEX, *self._x_strides)

    def output_rows(self, tape: Tape, depth: int, at: int) -> tuple:
        """Return batch.Rows of the output of a layer."""
        layer = self._layers[depth]
        if not self.call.emit:
            return tape.output, at, 0, layer.row
        output = tape.outputs[depth] if depth < len(tape.outputs) else tape.output
        if not output.flags.carray:
            array, _, time, row = rows_of(self.time_major(output))
            return array, at, time, row
        return output.reshape(layer.shape), at, layer.time, layer.row


def _strides(shape: tuple, batch_first: bool) -> tuple[int, int]:
    """Return the distance between steps and between rows, in elements."""
    width = shape[2] if len(shape) == 3 else 1
    return (width, shape[1] * width) if batch_first else (shape[1] * width, width)


@functools.lru_cache(maxsize=512)
def prepare(spec: Spec, call: Call) -> BaseProgram:
    """Return the Program of a call, or one for a single step with the same interface."""
    return SingleStep(spec, call) if is_single(spec, call) else Program(spec, call)
