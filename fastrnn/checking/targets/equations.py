"""A layer, a cell or Linear in plain NumPy on complex numbers, for the complex step.

The loop over time that reference.py has for three cells, here for any: the step is the cell's own
specification (`Cell.equations`). Forward only.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from fastrnn.checking.problem import Arrays


def run(
    target: Any,
    x: Any,
    state: Any,
    params: dict[str, np.ndarray],
    lengths: Any,
    reset: Any,
    masks: Callable,
) -> Arrays:
    """Return what the target computes, all outputs as a list.

    Args:
        target: of which the sizes and the cell are read.
        x: as it takes it.
        state: an array, or a tuple of them; None for Linear.
        params: by the target's names, of any dtype.
        lengths: of the rows, or None.
        reset: as it takes it, or None.
        masks: (time, batch) -> what dropout multiplies the input of each layer but the first by.
    """
    if state is None:
        return [_affine(x, params["weight"], params.get("bias"))]
    members = list(state) if isinstance(state, tuple) else [state]
    x = np.eye(target.input_size)[x] if x.dtype.kind in "iu" else x
    one_step = not hasattr(target, "num_layers")
    if one_step:
        x, members = x[None], [s[None] for s in members]
    batched = x.ndim == 3
    if not batched:
        x, members = x[:, None], [s[:, None] for s in members]
    batch_first = batched and getattr(target, "batch_first", False)
    x = x.swapaxes(0, 1) if batch_first else x
    cuts = np.zeros(x.shape[:2], bool)
    if reset is not None:
        cuts |= reset.T if batch_first else reset.reshape(cuts.shape)
    final, directions = [np.array(s, complex) for s in members], target.spec.directions
    drawn = masks(*x.shape[:2])
    for first in range(0, len(target.names), directions):
        outputs = []
        if first and drawn:
            x = x * drawn[first // directions - 1]
        for index in range(first, first + directions):
            weights = [params.get(name) for name in target.names[index]]
            output, last = _pass(
                target.cell.equations,
                x,
                [s[index] for s in final],
                weights,
                lengths,
                cuts,
                reverse=index > first,
            )
            for whole, member in zip(final, last, strict=True):
                whole[index] = member
            outputs.append(output)
        x = np.concatenate(outputs, axis=2)
    if not batched:
        x, final = x[:, 0], [s[:, 0] for s in final]
    if one_step:
        return [s[0] for s in final]
    return [x.swapaxes(0, 1) if batch_first else x, *final]


def _pass(equations: Callable, x, states, weights, lengths, cuts, *, reverse):
    """Return output and final states of one direction of one layer."""
    w_ih, w_hh, b_ih, b_hh, w_hr = weights
    time, batch = x.shape[:2]
    ends = np.full(batch, time) if lengths is None else np.asarray(lengths)
    states = [s.copy() for s in states]
    output = np.zeros((time, batch, states[0].shape[1]), complex)
    for step in range(time):
        rows = np.flatnonzero(step < ends)
        t = ends[rows] - 1 - step if reverse else np.full_like(rows, step)
        if step or not reverse:
            cut = rows[cuts[t + reverse, rows]]  # of a reverse direction, the reset after t
            for whole in states:
                whole[cut] = 0
        before = [s[rows] for s in states]
        after = list(
            equations(_affine(x[t, rows], w_ih, b_ih), _affine(before[0], w_hh, b_hh), *before)
        )
        if w_hr is not None:
            after[0] = _affine(after[0], w_hr, None)
        for whole, member in zip(states, after, strict=True):
            whole[rows] = member
        output[t, rows] = after[0]
    return output, states


def _affine(x, weight, bias):
    return x @ weight.T if bias is None else x @ weight.T + bias
