"""One call of a layer: a stack of passes in one or two directions, and its gradient.

What the layer is, its parameters and their documentation, is in layers.py; what a pass does, in
scan.py. Here is the order in which passes are run, and the axes the caller sees.
"""

from typing import NamedTuple

import numpy as np

from fastrnn import checks
from fastrnn.engine import scan, workspace
from fastrnn.engine.checkpoints import steps_between
from fastrnn.engine.weights import TORCH_NAMES, weights_of
from fastrnn.engine.workspace import Batch, Rows
from fastrnn.functional import bare
from fastrnn.nn.gradients import Gradients


class _Stage(NamedTuple):
    """What a pullback needs to know of one layer of a stack."""

    traces: list[scan.Trace]  # of each direction
    mask: np.ndarray | None  # dropout on the layer's input
    output: tuple[int, ...]  # its shape, (T, B, D * E)


class StackCall:
    """One checked call of a layer; after `run(keep=True)`, also its pullback."""

    def __init__(self, layer, x, state, lengths):
        name = layer._owner
        self.layer, self.cell = layer, layer.cell
        self.weights = [weights_of(layer, suffix) for _, _, suffix in layer._passes]
        self.x, self.batched = checks.sequence(
            name, x, layer.input_size, layer.dtype, batch_first=layer.batch_first, unbatched=True
        )
        time, batch = self.x.shape[:2]
        self.lengths = checks.lengths(name, lengths, time, batch, self.batched)
        self.batch: Batch = workspace.sort_by_length(time, batch, self.lengths)
        self.state = self._states("state", "{}_0", state)

    def _states(self, name, pattern, value):
        """Check a state, or the gradient at one, and return a batched array or None for each."""
        if value is None:
            return scan.zero_states(self.layer.dtype)
        layer, count = self.layer, len(self.weights)
        rows = (self.x.shape[1],) if self.batched else ()
        widths = [layer._emitted] + [layer.hidden_size] * (len(self.cell.states) - 1)
        symbols = "num_layers * num_directions, " + "batch, " * self.batched
        given = checks.states(
            layer._owner,
            name,
            value,
            [pattern.format(state) for state in self.cell.states],
            [(count, *rows, width) for width in widths],
            [
                symbols + ("proj_size" if layer.proj_size and i == 0 else "hidden_size")
                for i in range(len(widths))
            ],
            layer.dtype,
        )
        return scan.as_states(
            tuple(s if s is None or self.batched else s[:, None] for s in given), layer.dtype
        )

    def _new_states(self) -> scan.States:
        size = self.layer._sizes[0]
        return scan.new_states(self.cell, len(self.weights), self.x.shape[1], size)

    def _bare(self, states: scan.States):
        """Return states as the user wants them."""
        return bare(tuple(s if self.batched else s[:, 0] for s in states.members()))

    def _like_input(self, width: int, fill) -> np.ndarray:
        """Return a (T, B, width) array that lies in memory as the caller's input does."""
        time, batch = self.x.shape[:2]
        if self.layer.batch_first and self.batched:
            return fill((batch, time, width), self.layer.dtype).swapaxes(0, 1)
        return fill((time, batch, width), self.layer.dtype)

    def _outside(self, array: np.ndarray) -> np.ndarray:
        """Return a (T, B, F) array with the caller's axes."""
        if not self.batched:
            return array[:, 0]
        return array.swapaxes(0, 1) if self.layer.batch_first else array

    def every(self, checkpoint, memory) -> int:
        """Return the steps between checkpoints that these arguments of `vjp` mean."""
        return steps_between(
            self.layer._owner, checkpoint, memory, self.cell, self.layer._sizes, self.batch
        )

    def run(self, keep: bool, training: bool, every: int = 0):
        """Run the stack and return `output, state`; every: steps between checkpoints."""
        layer, directions = self.layer, 1 + self.layer.bidirectional
        # What no step writes is 0: the output behind the end of a row.
        fill = np.empty if self.lengths is None else np.zeros
        x, final = self.x, self._new_states()
        self.stages = []
        for depth in range(layer.num_layers):
            mask = None
            if depth and training and layer.dropout:
                mask = layer._drop(x)
                x = x * mask
            wide = directions * layer._emitted
            output = (
                self._like_input(wide, fill)
                if depth == layer.num_layers - 1
                else fill((*x.shape[:2], wide), layer.dtype)
            )
            rows, traces = workspace.rows_of(output), []
            for direction in range(directions):
                index = depth * directions + direction
                traces.append(
                    scan.forward(
                        self.cell,
                        layer._sizes[index],
                        self.weights[index],
                        x,
                        self.state,
                        self.batch,
                        index,
                        reverse=bool(direction),
                        keep=keep,
                        every=every,
                        final=final,
                        output=Rows(rows.array, direction * layer._emitted, rows.time, rows.row),
                    )
                )
            if keep:
                self.stages.append(_Stage(traces, mask, output.shape))
            x = output
        self.output_shape = self._outside(x).shape
        return self._outside(x), self._bare(final)

    def moved_to(self, layer, x, state, output, masks) -> "StackCall":
        """Return the call, after `run(keep=True)`, as if made with other arrays of equal contents.

        Args:
            layer: with other parameters.
            x: the input.
            state: the state.
            output: what `run` returned.
            masks: of dropout, for each layer but the first; empty: there were none.
        """
        call = StackCall(layer, x, state, self.lengths)
        inside = output if self.batched else output[:, None]
        inside = inside.swapaxes(0, 1) if layer.batch_first and self.batched else inside
        rows, call.output_shape = workspace.rows_of(inside), self.output_shape
        call.stages = []
        for depth, stage in enumerate(self.stages):
            changes = {
                "h_0": call.state.first,
                "others_0": call.state.others,
                **({} if depth else {"x": call.x}),
            }
            moved = [trace._replace(**changes) for trace in stage.traces]
            if depth == len(self.stages) - 1:
                moved = [
                    trace._replace(output=rows._replace(at=trace.output.at)) for trace in moved
                ]
            mask = masks[depth - 1] if depth and masks else stage.mask
            call.stages.append(stage._replace(traces=moved, mask=mask))
        return call

    @property
    def nbytes(self) -> int:
        """Bytes kept alive beyond the arrays the caller passed in and got back."""
        size = self.layer.dtype.itemsize
        batch = self.batch.order.nbytes + self.batch.lengths.nbytes  # one for all traces
        own = batch + (0 if self.lengths is None else self.lengths.nbytes)
        own += sum(trace.nbytes - batch for stage in self.stages for trace in stage.traces)
        # Between layers, the output of each stays, and with dropout its mask and product.
        for below, stage in zip(self.stages, self.stages[1:], strict=False):
            own += int(np.prod(below.output)) * size * (1 if stage.mask is None else 3)
        return own

    def __call__(self, d_output, d_state=None, *, wrt_input: bool = True, watch=None) -> Gradients:
        """Return the gradients of sum(output * d_output) + sum(state * d_state).

        watch: takes the number of a pass and the gradients at its layer's output and final states,
        and returns what scan.backward calls at each of its steps.
        """
        checks.boolean(self.layer._owner, "wrt_input", wrt_input)
        layer, directions = self.layer, 1 + self.layer.bidirectional
        d_output = checks.cotangent(layer._owner, d_output, self.output_shape, layer.dtype)
        d_final = self._states("d_state", "d_{}_n", d_state)
        if d_output is not None:
            d_output = d_output if self.batched else d_output[:, None]
            d_output = d_output.swapaxes(0, 1) if layer.batch_first and self.batched else d_output
        initial = self._new_states()
        params: dict[str, np.ndarray] = {}
        for depth in reversed(range(layer.num_layers)):
            stage = self.stages[depth]
            rows = None if d_output is None else workspace.rows_of(d_output)
            d_x = None
            for direction, trace in enumerate(stage.traces):
                index = depth * directions + direction
                d_x_part = self._d_input(depth, trace) if depth or wrt_input else None
                d_weights = scan.backward(
                    self.cell,
                    layer._sizes[index],
                    self.weights[index],
                    trace,
                    rows and Rows(rows.array, direction * layer._emitted, rows.time, rows.row),
                    d_final,
                    d_x_part,
                    initial,
                    watch and watch(index, d_output, d_final),
                )
                suffix = layer._passes[index][2]
                for name, d_weight in zip(TORCH_NAMES, d_weights, strict=True):
                    if d_weight is not None:
                        params[name + suffix] = d_weight
                if d_x_part is not None:
                    d_x = d_x_part if d_x is None else np.add(d_x, d_x_part, out=d_x)
            if stage.mask is not None:
                d_x *= stage.mask
            d_output = d_x
        d_input = None if d_output is None else self._outside(d_output)
        in_order = {name: params[name] for name in layer._shapes}
        return Gradients(d_input, self._bare(initial), in_order)

    def _d_input(self, depth, trace):
        if trace.x.ndim == 2:
            return None
        fill = np.empty if self.lengths is None else np.zeros
        if depth == 0:
            return self._like_input(trace.x.shape[2], fill)
        return fill(trace.x.shape, self.layer.dtype)
