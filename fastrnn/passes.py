"""One direction of one layer, forward and back: takes the buffers and runs the kernels.

The arguments have been checked (checks.py) and are arrays; what the loops do is recurrence.py's,
what they need for it workspace.py's. Stacking, directions and layouts belong to layers.py.
"""

from typing import NamedTuple

import numpy as np

from fastrnn import unrolled, workspace
from fastrnn.cells import Cell
from fastrnn.kernels import threads
from fastrnn.kernels.tile import most_rows
from fastrnn.weights import Weights, in_torch_order, pack, pack_transposed, sizes_of
from fastrnn.workspace import Batch, Rows


class Trace(NamedTuple):
    """What a forward pass keeps for its gradient."""

    batch: Batch
    reverse: bool
    x: np.ndarray  # the caller's
    output: Rows  # the caller got it
    h_0: np.ndarray  # (B, Ep)
    saved: np.ndarray  # (rows, Hp / lanes, saved, lanes)
    unprojected: np.ndarray  # (rows, Hp), empty without projection

    @property
    def nbytes(self) -> int:
        """Bytes kept beyond the arrays the caller passed in and got back."""
        own = (self.batch.order, self.batch.lengths, self.h_0, self.saved, self.unprojected)
        return sum(array.nbytes for array in own)


def _input_of(x: np.ndarray, dtype: np.dtype) -> tuple[Rows, np.ndarray]:
    """Return the rows of x and its indices: one of the two arrays is empty."""
    if x.ndim == 3:
        return workspace.rows_of(x), np.empty(0, np.int64)
    rows = workspace.rows_of(x.astype(np.int64, copy=False))
    return rows._replace(flat=np.empty(0, dtype)), rows.flat


def forward(
    cell: Cell,
    weights: Weights,
    x: np.ndarray,
    state: tuple[np.ndarray | None, ...],
    batch: Batch,
    *,
    reverse: bool,
    output: Rows,
    keep: bool,
) -> tuple[tuple[np.ndarray, ...], Trace]:
    """Run a layer in one direction over all steps.

    Args:
        cell: what a step computes.
        weights: the parameters.
        x: (T, B, I), or (T, B) integers.
        state: one of (B, E), then of (B, H), for each of cell.states; None is zero.
        batch: the sequences.
        reverse: read every sequence from its own end.
        output: where h goes: E values for every real step; nothing is written past an end.
        keep: have the trace hold what `backward` needs.

    Returns:
        The state behind the last step of each sequence, and the trace.
    """
    size = sizes_of(cell, weights)
    dtype = size.dtype
    packed = pack(cell, weights, size)
    states, emitted = _sorted_states(size, batch, state)
    if weights.w_hr is None:
        states[0] = emitted
    kept = batch.rows if keep else 0
    shape = (kept, size.hidden_p // size.lanes, len(cell.saved), size.lanes)
    projects = keep and weights.w_hr is not None
    saved, unprojected = workspace.empty(
        dtype, shape, (batch.rows if projects else 0, size.hidden_p))
    h_0 = emitted.copy() if keep else emitted
    if batch.rows:
        _run_forward(cell, size, packed, x, batch, reverse, states, emitted, saved, unprojected,
                     output)
    trace = Trace(batch, reverse, x, output, h_0, saved, unprojected)
    return _unsorted_states(size, batch, states, emitted), trace


def _sorted_states(size, batch, given):
    """Return a state, or the gradient at one, as kernels keep it: states and the emitted one."""
    count = len(batch.lengths)
    states, emitted = workspace.zeros(
        size.dtype, (len(given), count, size.hidden_p), (count, size.emitted_p))
    for target, array in zip((emitted, *states[1:]), given, strict=True):
        if array is not None:
            target[:, : array.shape[1]] = array[batch.order]
    return states, emitted


def _unsorted_states(size, batch, states, emitted):
    """Return what _sorted_states was given the like of, in the caller's order."""
    result = []
    for kept, width in ((emitted, size.emitted), *((state, size.hidden) for state in states[1:])):
        result.append(np.empty((len(batch.lengths), width), size.dtype))
        result[-1][batch.order] = kept[:, :width]
    return tuple(result)


def _run_forward(
    cell, size, packed, x, batch, reverse, states, emitted, saved, unprojected, output
):
    dtype = size.dtype
    rows, index = _input_of(x, dtype)
    per_row = 2 * size.columns * (size.emitted + (size.input if x.ndim == 3 else 0))
    slices = batch.slices(workspace.parts(per_row * batch.rows, threads.get_num_threads()))
    tall = most_rows(cell.width)
    scratch = []
    for j0, j1 in slices:
        chunk = min(batch.steps, workspace.input_steps(j1 - j0, size.columns * dtype.itemsize))
        most = chunk * (j1 - j0)
        x_rows, a_x, a_h = workspace.empty(
            dtype, (most * size.input if x.ndim == 3 else 0,), (most * size.columns,),
            (tall * cell.width * size.lanes,))
        scratch.append((x_rows, a_x, chunk, a_h))
    stride = workspace.interruptible_steps(per_row * len(batch.lengths))
    for s0 in range(0, batch.steps, stride):
        s1 = min(batch.steps, s0 + stride)
        threads.run(cell.forward, [
            (rows.flat, index, rows.time, rows.row, size.input,
             batch.order, batch.lengths, reverse,
             packed.w_ih, packed.b_ih, packed.w_hh, packed.b_hh, packed.w_hr, packed.zeros,
             size.hidden, size.emitted, states, emitted, saved, unprojected,
             *output, batch.row_at(s0), s0, s1, j0, j1, *own)
            for (j0, j1), own in zip(slices, scratch, strict=True)
        ])


def backward(
    cell: Cell,
    weights: Weights,
    trace: Trace,
    d_output: Rows | None,
    d_state: tuple[np.ndarray | None, ...],
    d_x: np.ndarray | None,
) -> tuple[tuple[np.ndarray, ...], Weights]:
    """Return the gradients of a pass; `trace` is not changed.

    Args:
        cell: as in `forward`.
        weights: as they were in `forward`.
        trace: what `forward` kept.
        d_output: gradient at the output; None is zero.
        d_state: gradient at the final states; None is zero.
        d_x: (T, B, I) zeros, contiguous in that order or batch first, or None for integer x: the
            gradient at the input is written to it.

    Returns:
        Gradients of the initial states and of the weights.
    """
    size, batch, x = sizes_of(cell, weights), trace.batch, trace.x
    dtype, gates = size.dtype, len(cell.gates)
    d_states, d_emitted = _sorted_states(size, batch, d_state)
    sums = _Sums(*workspace.zeros(
        dtype,
        (size.columns, workspace.pitch(size.input, dtype)) if x.ndim == 3
        else (size.input, size.columns),
        (size.columns, workspace.pitch(size.emitted, dtype)),
        (size.columns,),
        (size.columns,),
        (0 if weights.w_hr is None else size.emitted, workspace.pitch(size.hidden, dtype)),
    ))
    if batch.rows:
        _run_backward(cell, size, weights, trace, d_output, d_states, d_emitted, sums, d_x)

    d_w_ih = sums.w_ih if x.ndim == 3 else np.ascontiguousarray(sums.w_ih.T)
    return _unsorted_states(size, batch, d_states, d_emitted), Weights(
        in_torch_order(d_w_ih, weights.w_ih, gates),
        in_torch_order(sums.w_hh, weights.w_hh, gates),
        None if weights.b_ih is None else in_torch_order(sums.b_ih, weights.b_ih, gates),
        None if weights.b_hh is None else in_torch_order(sums.b_hh, weights.b_hh, gates),
        None if weights.w_hr is None else np.ascontiguousarray(sums.w_hr[:, : size.hidden]),
    )


class _Sums(NamedTuple):
    """The gradients of the weights while they are summed, with blocked, padded rows."""

    w_ih: np.ndarray  # (G*Hp, pitch); of one-hot input (I, G*Hp)
    w_hh: np.ndarray  # (G*Hp, pitch)
    b_ih: np.ndarray  # (G*Hp,)
    b_hh: np.ndarray  # (G*Hp,)
    w_hr: np.ndarray  # (E, pitch), or no rows


def _run_backward(cell, size, weights, trace, d_output, d_states, d_emitted, sums, d_x):
    dtype, batch, x = size.dtype, trace.batch, trace.x
    gates, count, projects = len(cell.gates), len(batch.lengths), weights.w_hr is not None
    nothing = np.empty(0, dtype)

    w_hh = pack_transposed(weights.w_hh, gates, size.columns)
    w_hr = pack_transposed(weights.w_hr, 1, size.emitted_p) if projects else nothing
    w_ih = nothing if d_x is None else pack_transposed(weights.w_ih, gates, size.columns)
    rows, index = _input_of(x, dtype)
    width = size.input if d_x is not None else 0

    a_pitch = workspace.pitch(size.columns, dtype)
    stride = min(batch.steps, workspace.piece_steps(count, a_pitch * dtype.itemsize))
    most = stride * count
    # As wide as H too: a cell may look at h, which under a projection has fewer elements.
    h_width = workspace.pitch(max(size.emitted, size.hidden), dtype)
    d_a_h, d_a_x, h_rows, d_h_rows, zeros = workspace.empty(
        dtype, (most, a_pitch), (0 if cell.shared else most, a_pitch), (most, h_width),
        (most if projects else 0, workspace.pitch(size.emitted, dtype)),
        (max(size.emitted_p, size.hidden_p, workspace.padded(size.input, dtype)),))
    d_a_x = d_a_h if cell.shared else d_a_x
    zeros.fill(0)
    place = np.empty(most, np.int64)

    operations = 2 * size.columns * size.emitted * batch.rows
    slices = batch.slices(workspace.parts(operations, threads.get_num_threads()))
    parts = workspace.parts(3 * operations, threads.get_num_threads())
    blocks = size.hidden_p // size.lanes
    cuts = [blocks * i // parts * gates * size.lanes for i in range(parts + 1)]
    own = [
        workspace.empty(
            dtype, (most if width else 0, workspace.pitch(width, dtype)),
            (-(-most // parts) if width else 0, workspace.padded(width, dtype)))
        for _ in range(parts)
    ]
    d_x_rows = workspace.rows_of(d_x) if d_x is not None else Rows(nothing, 0, 0, 0)
    d_out = d_output or Rows(nothing, 0, 0, 0)

    for s0 in reversed(range(0, batch.steps, stride)):
        s1 = min(batch.steps, s0 + stride)
        row0, row1 = batch.row_at(s0), batch.row_at(s1)
        threads.run(cell.backward, [
            (batch.order, batch.lengths, trace.reverse, trace.saved, *trace.output, trace.h_0,
             *d_out, w_hh, w_hr, zeros, size.hidden, size.emitted, d_states, d_emitted,
             d_a_x, d_a_h, cell.shared, h_rows, d_h_rows, place, row0, s0, s1, j0, j1, row1)
            for j0, j1 in slices
        ])
        n = row1 - row0
        threads.run(unrolled.backward_products, [
            (n, place, count, rows.flat, index, rows.time, rows.row, d_a_x, d_a_h, h_rows,
             cuts[i], cuts[i + 1], sums.w_ih, sums.w_hh, sums.b_ih, sums.b_hh,
             own[i][0], n * i // parts, n * (i + 1) // parts, w_ih, size.input, zeros, own[i][1],
             d_x_rows.flat, d_x_rows.time, d_x_rows.row, size.emitted)
            for i in range(parts)
        ])
        if projects:
            unrolled.projection_product(n, size.emitted, size.hidden, d_h_rows,
                                        trace.unprojected, row0 * size.hidden_p, sums.w_hr)
