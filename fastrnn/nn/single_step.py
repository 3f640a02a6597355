"""Programs of a single step: what a policy, a server or a loop calls, without plans.

The same interface as program.Program, and the same bits, by kernels that take fewer arguments
(engine/single_step.py). Where a step has so much to do that weights should be packed or threads
help, or does what those kernels do not, `is_single` is False.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastrnn.engine import buffers, scan
from fastrnn.engine.plan import is_light, is_unpacked_backward
from fastrnn.engine.single_step import backward_work, forward_work
from fastrnn.nn.call import BaseProgram, Call
from fastrnn.nn.spec import Spec
from fastrnn.nn.tape import StepTape


def is_single(spec: Spec, call: Call) -> bool:
    """Return whether a call is a step that the kernels of single steps take, on any machine."""
    if call.time != 1 or not call.batch or call.one_hot or not call.plain:
        return False
    if spec.directions > 1 or spec.proj_size:
        return False
    for one in spec.scans():
        wrt_input = call.wrt_input or one.slot > 0
        if not is_light(one.sizes, 1, call.batch, False):
            return False
        if call.keep and not is_unpacked_backward(one.sizes, call.batch, wrt_input):
            return False
    return True


class SingleStep(BaseProgram):
    """A call of one step of a stack of layers in one direction, for a few rows.

    Attributes:
        x_shape: of the input, as kernels take it.
        saved_shape: of what `forward` saves.
        pre_shape: of gradients at pre-activations.
    """

    def __init__(self, spec: Spec, call: Call):
        super().__init__(spec, call)
        cell, rows, scans = spec.cell, call.batch, self._scans
        first, states = scans[0].sizes, len(cell.states)
        hidden, hidden_p = first.hidden, first.hidden_p
        # What kernels take first, for each layer.
        self._sizes = [
            (len(scans), one.slot, rows, one.sizes.input, one.sizes.hidden) for one in scans
        ]
        self._last = self._sizes[-1]
        self.x_shape, self._h_row = (1, rows, first.input), (1, rows, hidden)
        self.saved_shape = (len(scans), rows, len(cell.saved), hidden_p)
        self.pre_shape = (rows, first.gates * hidden)
        width = max(buffers.padded(one.sizes.input, spec.dtype) for one in scans)
        self._work = forward_work(rows, first.columns, hidden_p, states, first.lanes)
        self._back_work = backward_work(rows, first.gates * hidden, hidden_p, width, states)
        self._nothing = self._zeros[0]
        self._not_saved = buffers.zeros((0, 0, 0, 0), spec.dtype)

    def run(
        self, weights, x, initial=None, batch=None, masks=(), checkpoint_every=0
    ) -> tuple[np.ndarray | None, tuple[np.ndarray, ...], StepTape | None]:
        dtype, call = self._dtype, self.call
        start, final, cut = self.states(initial), self.new_states(), ()
        if batch is not None and batch.cuts.size and not call.reverse:
            cut = np.flatnonzero(batch.cuts).tolist()
            start = _cut_off(start, cut)
        x = x if x.flags.carray else buffers.plain(x)
        x = x if x.shape == self.x_shape else x.reshape(self.x_shape)
        output, saved = self._nothing, self._not_saved
        if call.emit:
            output = buffers.new(self._h_row, dtype)
        if call.keep:
            saved = buffers.new(self.saved_shape, dtype)
        self.forward(weights, x, start, final, output, saved, self._nothing)
        tape = StepTape(weights, x, start, saved, final[0], cut) if call.keep else None
        if not call.emit:
            return None, self.members(final), tape
        if not call.batched or call.batch_first:
            output = output.reshape(self.output_shape)
        return output, self.members(final), tape

    def forward(self, weights, x, initial: tuple, final: tuple, output, saved, missing) -> None:
        """Run the layers one after the other; all but `weights` are arrays, or all addresses.

        Args:
            weights: of each layer, in the order of records.Weights.
            x: x_shape.
            initial: records.States, as a tuple.
            final: the same, written.
            output: (1, rows, H), written, or `missing`.
            saved: saved_shape, written; or an empty array of as many axes, or 0.
            missing: in place of an array: an empty one, or 0.
        """
        kernel, work = self.spec.cell.single_forward, buffers.scratch(self._dtype, self._work)
        for sizes, own in zip(self._sizes, weights, strict=True):
            target = output if sizes is self._last else missing
            kernel(sizes, own[:4], x, initial, final, target, saved, work)
            x = final[0]

    def pull(
        self, tape: StepTape, d_output=None, d_final=None, wrt_input: bool = True, watch=None
    ) -> tuple[np.ndarray | None, tuple[np.ndarray, ...], list[tuple]]:
        dtype, nothing, layers = self._dtype, self._nothing, len(self._sizes)
        d_last, d_first = self.states(d_final), self.new_states()
        d_weights = [scan.new_gradients(own, 1) for own in tape.weights]
        d_x = buffers.new(self.x_shape, dtype) if wrt_input else nothing
        d_inputs = [d_x, *[buffers.new(self._h_row, dtype) for _ in range(1, layers)]]
        d_rows = nothing
        if d_output is not None:
            d_rows = buffers.plain(d_output).reshape(self._h_row)
        self.backward(
            tape.weights,
            (tape.x, tape.h_n),
            (_cut_off(tape.initial, tape.cut)[0], tape.saved),
            d_last,
            d_rows,
            d_inputs,
            d_first,
            d_weights,
            [(nothing, nothing)] * layers,
        )
        d_first = _cut_off(d_first, tape.cut)
        d_input = None
        if wrt_input:
            axes = self.output_shape[:-1] if self.call.emit else self.state_shapes[0][:-1]
            d_input = d_x.reshape(*axes, self.spec.input_size)
        return d_input, self.members(d_first), d_weights

    def backward(
        self,
        weights,
        inputs: tuple,
        kept: tuple,
        d_final: tuple,
        d_output: Any,
        d_inputs: list,
        d_initial: tuple,
        d_weights: list,
        d_pre: list[tuple],
    ) -> None:
        """Run the layers from the last; all but `weights` are arrays, or all addresses.

        Args:
            weights: as in `forward`.
            inputs: (x, h_n).
            kept: (h_0, saved).
            d_final: the gradients at the final states, as a tuple.
            d_output: and at the output.
            d_inputs: of each layer, written: at its input; of the first it may be missing.
            d_initial: the gradients at the initial states, written.
            d_weights: of each layer, in the order of records.Weights, written; may be missing.
            d_pre: of each layer (d_a_x, d_a_h), pre_shape, written; may be missing.
        """
        kernel = self.spec.cell.single_backward
        work = buffers.scratch(self._dtype, self._back_work)
        for layer in range(len(self._sizes) - 1, -1, -1):
            kernel(
                self._sizes[layer],
                weights[layer][:2],
                inputs[1] if layer else inputs[0],
                kept,
                d_final,
                d_output,
                d_inputs[layer],
                d_initial,
                d_weights[layer][:4],
                d_pre[layer],
                work,
            )
            d_output = d_inputs[layer]


def _cut_off(states: tuple, rows: Sequence[int]) -> tuple:
    """Return records.States with zeros for some rows, if any."""
    if not len(rows):
        return states
    states = tuple(s.copy() for s in states)
    for s in states:
        if s.size:
            s[..., rows, :] = 0
    return states
