"""The plainest calls of layers and cells, without overhead: prepared once for each shape of input.

A general call (stack.py) checks its arguments and plans its passes in some twenty microseconds,
more than a step of a small layer takes. What follows from shapes alone is kept here; what may
change from call to call, parameters and states, is looked at again. Whatever is unusual is left
to the general call, and with it every error message.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from fastrnn.engine import scan, workspace
from fastrnn.engine.weights import TORCH_NAMES, is_plain, weights_of
from fastrnn.kernels import threads
from fastrnn.kernels.tile import most_rows
from fastrnn.nn.single import OneStep

MOST = 32  # shapes that a layer remembers


def remember(known: "Shortcuts", layer, x: np.ndarray, prepare: Callable) -> None:
    """Prepare a shortcut for a call that was without error, once its shape recurs.

    Args:
        known: the shortcuts there are.
        layer: whose call it was.
        x: its input.
        prepare: (layer, shape of x) -> shortcut, or None where a call has to be general.
    """
    if type(x) is np.ndarray and x.dtype == layer.dtype:
        key = (x.shape, threads.get_num_threads())
        if key not in known:
            if len(known) >= MOST:
                known.clear()
            known[key] = None
        elif known[key] is None:
            known[key] = prepare(layer, x.shape) or False


def of_layer(layer, shape: tuple[int, ...]):
    """Return the shortcut of a layer for input of this shape, or None."""
    batched = len(shape) == 3
    time, rows = shape[:2] if batched else (shape[0], 1)
    if batched and layer.batch_first:
        time, rows = rows, time
    if time == 1 and rows:
        one = OneStep(layer, rows)
        if one.possible:
            state = (layer.num_layers, *shape[1:-1], layer.hidden_size)
            if batched:
                state = (layer.num_layers, rows, layer.hidden_size)
            return _One(one, layer, state, (*shape[:-1], layer.hidden_size))
    shortcut = Shortcut(layer, shape)
    return shortcut if shortcut.possible else None


def of_cell(cell, shape: tuple[int, ...]):
    """Return the shortcut of a cell for input of this shape, (B, I) or (I,), or None."""
    rows = shape[0] if len(shape) == 2 else 1
    one = OneStep(cell, rows) if rows else None
    if one is None or not one.possible:
        return None
    return _One(one, cell, (*shape[:-1], cell.hidden_size), None)


def _plain_members(state, shapes: list, dtype: np.dtype) -> tuple[np.ndarray, ...] | None:
    """Return the members of a state of these shapes, or None where the call has to be general."""
    members = (state,) if len(shapes) == 1 else state
    if type(members) is not tuple or len(members) != len(shapes):
        return None
    for member, shape in zip(members, shapes, strict=True):
        if not is_plain(member, shape, dtype):
            return None
    return members


class Shortcut:
    """A layer's call for float input of one shape, without lengths.

    Attributes:
        possible: False where a call has to be general: nothing to do, or so much that it must be
            interrupted for Ctrl-C.
    """

    def __init__(self, layer, shape: tuple[int, ...]):
        self._dtype, self._params, self._batched = layer.dtype, layer.params, len(shape) == 3
        batch_first = layer.batch_first and self._batched
        time, batch = (*shape, 1)[:2] if self._batched else (shape[0], 1)
        if batch_first:
            time, batch = batch, time
        cell, directions, passes_count = layer.cell, 1 + layer.bidirectional, len(layer._passes)
        sorted_batch = workspace.sort_by_length(time, batch, None)
        order, lengths = sorted_batch.order, sorted_batch.lengths
        self._zeros = scan.zero_states(self._dtype)
        nothing = self._zeros.first

        def layout(width, swapped):  # the shape in memory, and where (t, b) begins
            if swapped:
                return (batch, time, width), (width, time * width)
            return (time, batch, width), (batch * width, width)

        self._kernel, self._passes, self.possible = cell.forward, [], time > 0 and batch > 0
        for number, (depth, direction, suffix) in enumerate(layer._passes):
            weights, size = weights_of(layer, suffix), layer._sizes[number]
            plan = workspace.plan_forward(
                size, cell, most_rows(cell.width), sorted_batch, False, threads.get_num_threads()
            )
            self.possible = self.possible and plan.stride >= time
            names = [
                (name + suffix, weight.shape)
                for name, weight in zip(TORCH_NAMES, weights, strict=True)
                if weight is not None
            ]
            blank = [
                array
                for array, weight in zip(scan.arrays(weights, self._dtype), weights, strict=True)
                if weight is None
            ]
            there = [weight is not None for weight in weights]
            hole = there.index(False) if blank else 0  # what is missing is side by side
            _, (x_time, x_row) = layout(size.input, batch_first and depth == 0)
            last = depth == layer.num_layers - 1
            wide = directions * layer._emitted
            output_shape, (out_time, out_row) = layout(wide, batch_first and last)
            self._passes.append(
                (
                    plan.threads,
                    names,
                    blank,
                    hole,
                    None if direction else output_shape,
                    (scan.NO_INDEX, x_time, x_row, order, lengths, bool(direction)),
                    number,
                    (
                        direction * layer._emitted,
                        out_time,
                        out_row,
                        nothing,
                        nothing,
                        plan.thin,
                        plan.gather,
                        plan.chunks,
                        plan.chunk,
                        plan.cuts,
                        plan.offsets,
                    ),
                    plan.size,
                    time,
                )
            )
        self._first = (passes_count, batch, layer._emitted)
        self._others = (len(cell.states) - 1, passes_count, batch, layer.hidden_size)
        states = (self._first, *[self._others[1:]] * self._others[0])
        self._given = [s if self._batched else (s[0], s[2]) for s in states]

    def __call__(self, x: np.ndarray, state):
        """Return `output, state`, or None where the call has to be general."""
        dtype, params, batched = self._dtype, self._params, self._batched
        initial = self._zeros if state is None else self._initial(state)
        if initial is None:
            return None
        first = np.empty(self._first, dtype)
        others = np.empty(self._others, dtype) if self._others[0] else self._zeros[1]
        if not batched:
            x = x[:, None]
        output = below = x
        for n, names, blank, hole, output_shape, before, number, behind, size, time in self._passes:
            weights = []
            for name, shape in names:
                weight = params.get(name)
                if not (
                    type(weight) is np.ndarray
                    and weight.shape == shape
                    and weight.dtype == dtype
                    and weight.flags.carray
                ):
                    return None
                weights.append(weight)
            weights[hole:hole] = blank
            if output_shape is not None:
                below, output = output, np.empty(output_shape, dtype)
            self._kernel(
                threads.call(n),
                n,
                below,
                *before,
                *weights,
                number,
                *initial,
                first,
                others,
                output,
                *behind,
                workspace.scratch(dtype, size),
                0,
                0,
                time,
            )
        if not batched:
            output, first = output[:, 0], first[:, 0]
            others = others[:, :, 0] if self._others[0] else others
        return output, (first, *others) if self._others[0] else first

    def _initial(self, state):
        """Return the given initial states as kernels take them, or None."""
        given, dtype = self._given, self._dtype
        members = _plain_members(state, given, dtype) if len(given) <= 2 else None
        if members is None:
            return None
        if not self._batched:
            members = [member[:, None] for member in members]
        return members[0], members[1][None] if len(members) == 2 else self._zeros[1]


class _One:
    """The call of a layer for a single step, or of a cell: single.py, for NumPy's callers."""

    def __init__(self, one: OneStep, layer, state: tuple, output: tuple | None):
        self._one, self._dtype, self._states = one, layer.dtype, len(layer.cell.states)
        self._state, self._output = state, output  # shapes; None: a cell, which has no output

    def __call__(self, x: np.ndarray, state):
        """Return `output, state`, a cell its state alone; None where the call has to be general."""
        one, shape, dtype = self._one, self._state, self._dtype
        h_0, others_0 = one.nothing, one.no_others
        if state is not None:
            members = _plain_members(state, [shape] * self._states, dtype)
            if members is None:
                return None
            h_0, others_0 = one.states(members)
        result = one.run(x.reshape(one.input), h_0, others_0, self._output is not None)
        if result is None:
            return None
        new = result[0].reshape(shape)
        if self._states > 1:
            new = (new, *(member.reshape(shape) for member in result[1]))
        return new if self._output is None else (result[2].reshape(self._output), new)


class Shortcuts(dict[tuple, Any]):
    """Shortcuts by the shape of x and the number of threads; None: seen once, False: not possible.

    Copies and pickles are empty: a copy of a layer has parameters of its own.
    """

    def __reduce__(self):
        return Shortcuts, ()
