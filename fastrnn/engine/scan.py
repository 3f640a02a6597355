"""One direction of one layer on arrays: takes the buffers and runs the kernels.

Every way into the time loops of whole sequences, forward, backward and recomputed, is one of the
functions here, and the order of each kernel's arguments is written here once; for one step see
streaming.py and nn/single_step.py. Arguments have been checked (checks.py).
Stacking, directions and what users see are nn/program.py's.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from fastrnn.checks import FLOATS
from fastrnn.engine import buffers
from fastrnn.engine.batch import Batch, rows_of
from fastrnn.engine.cell import Cell
from fastrnn.engine.checkpoints import new_checkpoints, segments, states_in
from fastrnn.engine.plan import Plan, plan_recompute
from fastrnn.engine.records import Residuals, Sizes, States, Weights
from fastrnn.kernels import threads

NO_INDEX = np.empty((0, 0), np.int64)
NO_WEIGHTS = {  # of the types that kernels are compiled for
    dtype: Weights(*(np.empty((0,) * axes, dtype) for axes in (2, 2, 1, 1, 2))) for dtype in FLOATS
}
NOTHING = {dtype: np.empty((0, 0, 0), dtype) for dtype in FLOATS}
ZERO_STATES = {dtype: States(NOTHING[dtype], np.empty((0, 1, 0, 0), dtype)) for dtype in FLOATS}
NO_ROWS = {dtype: (NOTHING[dtype], 0, 0, 0) for dtype in FLOATS}
NOT_KEPT = {
    dtype: Residuals(NOTHING[dtype], NOTHING[dtype], ZERO_STATES[dtype].carried, 0)
    for dtype in FLOATS
}


class Scan(NamedTuple):
    """One direction of one layer: what is run, whatever it is run on."""

    cell: Cell
    sizes: Sizes
    slot: int  # where its states are among those of all directions of all layers
    reverse: bool  # every sequence is read from its own end


def source_of(x: np.ndarray, dtype: np.dtype) -> tuple:
    """Return the input (T, B, I), or integers (T, B), as the first four of records.BatchedInput."""
    if x.ndim == 3:
        array, _, time, row = rows_of(x)
        return array, NO_INDEX, time, row
    index, _, time, row = rows_of(x.astype(np.int64, copy=False))
    return NOTHING[dtype], index, time, row


class Prepared(NamedTuple):
    """A scan of a batch: all that follows from both."""

    scan: Scan
    batch: Batch
    plan: Plan
    ends: tuple  # (order, lengths, reverse, cuts): the last that records.read_input takes
    spans: list[tuple[int, int, int]]  # (row0, s0, s1) of pieces between two looks at Ctrl-C
    threads: int  # that may be used
    nothing: Residuals  # where no gradient is wanted
    nowhere: tuple[np.ndarray, np.ndarray]  # its first two


def prepared(scan: Scan, batch: Batch, plan: Plan, threads: int) -> Prepared:
    """Return how a scan runs over a batch, by plan.plan_forward or plan_backward."""
    spans, nothing = _spans(batch, plan.stride, [(0, batch.steps)]), NOT_KEPT[scan.sizes.dtype]
    return Prepared(scan, batch, plan, _ends(scan, batch), spans, threads, nothing, nothing[:2])


def cut(this: Prepared, batch: Batch) -> Prepared:
    """Return how the same runs over the same sequences, cut by the resets of `batch`."""
    return this._replace(batch=batch, ends=_ends(this.scan, batch))


def _ends(scan: Scan, batch: Batch) -> tuple:
    return batch.order, batch.lengths, scan.reverse, batch.cuts


def _spans(batch: Batch, stride: int, parts: list[tuple[int, int]]) -> list[tuple[int, int, int]]:
    """Cut ranges of steps into pieces of at most `stride`; at least one each."""
    pieces = [
        (s0, min(last, s0 + stride))
        for first, last in parts
        for s0 in range(first, max(last, first + 1), stride)
    ]
    return [(batch.row_at(s0), s0, s1) for s0, s1 in pieces]


def forward(
    this: Prepared,
    source: tuple,
    weights: tuple,
    states: tuple,
    output: tuple,
    keep: bool,
    checkpoint_every: int = 0,
) -> Residuals:
    """Run all steps and return what `backward` needs; without keep, nothing.

    Args:
        this: what runs, over which batch of at least one sequence.
        source: see source_of.
        weights: the parameters, in the order of records.Weights.
        states: initial and final ones: (h_0, carried_0, h_n, carried_n), the last two written.
        output: batch.Rows: where h goes, E values for every real step; nothing is written past
            the end of a sequence.
        keep: a gradient will be wanted.
        checkpoint_every: steps between checkpoints, the rest is recomputed; 0: keep everything.
    """
    scan, batch, plan, ends, spans, _, kept, residuals = this
    starts = None
    if keep:
        kept = new_residuals(scan.cell, scan.sizes, batch, checkpoint_every)
        residuals = kept[:2]
        if checkpoint_every and scan.sizes.states > 1:
            parts = segments(batch.steps, checkpoint_every)
            starts = {s0: number for number, (s0, _) in enumerate(parts) if number}
            spans = _spans(batch, plan.stride, parts)
    kernel, sizes, slot = scan.cell.forward, scan.sizes, scan.slot
    work = buffers.scratch(sizes.dtype, plan.size)
    sequences, states = (*source, *ends), (slot, *states)
    for span in spans:
        if starts and span[1] in starts:
            checkpoint = states_in(work, plan, sizes, len(batch.lengths), span[1])
            kept.checkpoints[starts[span[1]]] = checkpoint
        kernel(
            threads.call(plan.threads),
            plan.words,
            span,
            sequences,
            weights,
            states,
            output,
            residuals,
            work,
        )
    return kept


def new_residuals(cell: Cell, sizes: Sizes, batch: Batch, checkpoint_every: int) -> Residuals:
    """Return room for what a forward pass keeps."""
    nothing, dtype = NOT_KEPT[sizes.dtype], sizes.dtype
    if checkpoint_every:
        checkpoints = new_checkpoints(sizes, batch, checkpoint_every)
        return nothing._replace(checkpoints=checkpoints, checkpoint_every=checkpoint_every)
    saved, unprojected = (
        buffers.new((batch.rows, len(cell.saved), sizes.hidden_p), dtype),
        nothing[1],
    )
    if sizes.projects:
        unprojected = buffers.new((1, batch.rows, sizes.hidden_p), dtype)
    return Residuals(saved, unprojected, nothing.checkpoints, 0)


def new_gradients(weights: tuple, rows: int) -> tuple:
    """Return arrays for the gradients of weights; zeros where no row will be written."""
    new = buffers.new if rows else buffers.zeros
    return tuple([new(w.shape, w.dtype) if w.size else w for w in weights])


Watch = Callable[[int, Plan, np.ndarray], None]


def backward(
    this: Prepared,
    source: tuple,
    weights: tuple,
    states: tuple,
    initial: tuple,
    residuals: Residuals,
    output: tuple,
    d_output: tuple,
    d_x: tuple,
    watch: Watch | None = None,
) -> tuple:
    """Run BPTT and return the gradients of the weights; what forward kept is not changed.

    Args:
        this: as in `forward`, by plan.plan_backward, as are source and weights.
        source: the input.
        weights: the parameters.
        states: gradients at the final states, and room for those at the initial ones:
            (d_h_n, d_carried_n, d_h_0, d_carried_0), the last two written.
        initial: the states that `forward` started from, (h_0, carried_0).
        residuals: what `forward` returned.
        output: what `forward` wrote.
        d_output: batch.Rows of the gradient at the output; NO_ROWS: zero.
        d_x: batch.Rows, written where steps are real; NO_ROWS: not wanted.
        watch: is called after every step s with s, the plan and the work space, which hold the
            gradients as they are while this runs (tracing/ looks at them).
    """
    scan, batch, plan, ends, *_ = this
    cell, dtype = scan.cell, scan.sizes.dtype
    d_weights = new_gradients(weights, batch.rows)
    work = buffers.scratch(dtype, plan.size), buffers.new(plan.block_rows, np.int64)
    sequences = (*source, *ends)
    w_ih, w_hh, _, _, w_hr = weights
    whole, kept = [(0, batch.steps)], residuals[:2]
    if residuals.checkpoint_every:
        again = Recomputed(this, sequences, weights, initial, residuals, output)
        whole, kept = again.segments(), again.residuals
    states = (scan.slot, initial[0], *states)
    for first, last in whole:
        s1 = last
        while True:
            s0 = max(first, s1 - (1 if watch else plan.stride))
            cell.backward(
                threads.call(plan.threads),
                plan.words,
                (batch.row_at(s1) - batch.row_at(first), s0, s1),
                sequences,
                (w_ih, w_hh, w_hr),
                states,
                kept,
                output,
                d_output,
                d_x,
                d_weights,
                work,
            )
            if watch and s0 < s1:
                watch(s0, plan, work[0])
            s1 = s0
            if s1 == first:
                break
    return d_weights


class Recomputed:
    """What a forward pass with checkpoints would have kept, recomputed segment by segment.

    Attributes:
        residuals: (saved, unprojected) of one segment at a time.
    """

    def __init__(self, this: Prepared, sequences, weights, initial, residuals, output):
        scan, batch = this.scan, this.batch
        self._scan, self._batch, self._kept = scan, batch, residuals
        self._sequences, self._output = sequences, output
        self._weights, self._initial = weights[:4], (scan.slot, *initial)
        self._segments = segments(batch.steps, residuals.checkpoint_every)
        cell, sizes, count = scan.cell, scan.sizes, len(batch.lengths)
        max_rows = max(batch.row_at(s1) - batch.row_at(s0) for s0, s1 in self._segments)
        self._plan = plan_recompute(
            cell, sizes, count, max_rows, sequences[1].size > 0, this.threads
        )
        self._work = buffers.scratch(sizes.dtype, self._plan.size)
        self.residuals = (
            buffers.new((max_rows, len(cell.saved), sizes.hidden_p), sizes.dtype),
            buffers.new((1, max_rows * sizes.projects, sizes.hidden_p), sizes.dtype),
        )

    def segments(self):
        """Yield (s0, s1) of each segment, the last one first, once `residuals` are its."""
        plan, batch, pack = self._plan, self._batch, True
        shorter = batch.lengths - 1
        for number in reversed(range(len(self._segments))):
            first, last = self._segments[number]
            for s0 in range(first, last, plan.stride):
                self._scan.cell.recompute(
                    threads.call(plan.threads),
                    plan.words,
                    (batch.row_at(s0) - batch.row_at(first), s0, min(last, s0 + plan.stride)),
                    self._sequences,
                    shorter,
                    self._weights,
                    self._initial,
                    self._kept.checkpoints[number],
                    self._output,
                    self.residuals,
                    pack,
                    self._work,
                )
                pack = False
            yield first, last
