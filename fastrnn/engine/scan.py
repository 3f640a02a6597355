"""One direction of one layer, forward and back: takes the buffers and runs the kernels.

The arguments have been checked (checks.py) and are arrays; what the loops do is forward.py's,
what they need for it workspace.py's. Stacking, directions and layouts belong to layers.py.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from fastrnn import checks
from fastrnn.cells import Cell
from fastrnn.engine import workspace
from fastrnn.engine.checkpoints import Checkpoints, Replay, new_checkpoints, states_in
from fastrnn.engine.forward import STATES
from fastrnn.engine.weights import Sizes, Weights, plain, sizes_of
from fastrnn.engine.workspace import Batch, Rows
from fastrnn.kernels import threads
from fastrnn.kernels.tile import most_rows


class States(NamedTuple):
    """The states of all passes of a call, or gradients at them; of size 0: all zero."""

    first: np.ndarray  # (passes, B, E): the emitted one
    others: np.ndarray  # (states - 1, passes, B, H)

    def members(self) -> tuple[np.ndarray, ...]:
        """Return an array for each state."""
        return (self.first, *self.others)


def new_states(cell: Cell, passes: int, batch: int, size: Sizes) -> States:
    """Return room for states."""
    first = np.empty((passes, batch, size.emitted), size.dtype)
    others = len(cell.states) - 1
    if not others:
        return States(first, _NO_STATES[size.dtype])
    return States(first, np.empty((others, passes, batch, size.hidden), size.dtype))


def zero_states(dtype: np.dtype) -> States:
    """Return states that are all zero."""
    return States(_NOTHING[dtype], _NO_STATES[dtype])


def as_states(members: tuple[np.ndarray | None, ...], dtype: np.dtype) -> States:
    """Return the states with these members, (passes, B, ..) each; None is zero."""
    first, *others = members
    first = _NOTHING[dtype] if first is None else plain(first)
    some = next((other for other in others if other is not None), None)
    if some is None:
        return States(first, _NO_STATES[dtype])
    if len(others) == 1:
        return States(first, plain(some)[None])
    return States(first, np.stack([np.zeros_like(some) if o is None else o for o in others]))


class Trace(NamedTuple):
    """What a forward pass keeps for its gradient."""

    batch: Batch
    reverse: bool
    number: int  # of the pass
    x: np.ndarray  # the caller's
    output: Rows  # the caller got it
    h_0: np.ndarray  # (passes, B, E), the caller's; of size 0: zeros
    others_0: np.ndarray  # (states - 1, passes, B, H)
    saved: np.ndarray  # (rows, Hp / lanes, saved, lanes); of size 0: computed again, from
    unprojected: np.ndarray  # (rows, Hp), empty without projection
    checkpoints: Checkpoints | None

    @property
    def nbytes(self) -> int:
        """Bytes kept beyond the arrays the caller passed in and got back."""
        own = [self.batch.order, self.batch.lengths, self.saved, self.unprojected]
        own += [self.checkpoints.others] if self.checkpoints else []
        return sum(array.nbytes for array in own)


NO_INDEX = np.empty((0, 0), np.int64)
_NO_BIAS = {dtype: np.empty(0, dtype) for dtype in checks.FLOATS}
_NO_MATRIX = {dtype: np.empty((0, 0), dtype) for dtype in checks.FLOATS}
_NOTHING = {dtype: np.empty((0, 0, 0), dtype) for dtype in checks.FLOATS}
_NO_STATES = {dtype: np.empty((0, 1, 0, 0), dtype) for dtype in checks.FLOATS}


def _input_of(x: np.ndarray, dtype: np.dtype) -> tuple[Rows, np.ndarray]:
    """Return the rows of x and its indices: one of the two arrays is empty."""
    if x.ndim == 3:
        return workspace.rows_of(x), NO_INDEX
    rows = workspace.rows_of(x.astype(np.int64, copy=False))
    return rows._replace(array=_NOTHING[dtype]), rows.array


def arrays(weights: Weights, dtype: np.dtype) -> tuple[np.ndarray, ...]:
    """Return weights as kernels are compiled for them; what is not there, of size 0."""
    w_ih, w_hh, b_ih, b_hh, w_hr = weights
    return (
        plain(w_ih),
        plain(w_hh),
        _NO_BIAS[dtype] if b_ih is None else plain(b_ih),
        _NO_BIAS[dtype] if b_hh is None else plain(b_hh),
        _NO_MATRIX[dtype] if w_hr is None else plain(w_hr),
    )


def forward(
    cell: Cell,
    size: Sizes,
    weights: Weights,
    x: np.ndarray,
    state: States,
    batch: Batch,
    number: int,
    *,
    reverse: bool,
    output: Rows,
    final: States,
    keep: bool,
    every: int = 0,
) -> Trace | None:
    """Run a layer in one direction over all steps.

    Args:
        cell: what a step computes.
        size: the sizes of the weights.
        weights: the parameters.
        x: (T, B, I), or (T, B) integers.
        state: the initial states.
        batch: the sequences.
        number: of the pass, in the states.
        reverse: read every sequence from its own end.
        output: where h goes: E values for every real step; nothing is written past an end.
        final: where the states behind the last step of each sequence go.
        keep: return what `backward` needs.
        every: steps between checkpoints, the rest is computed again; 0: keep it all.
    """
    dtype = size.dtype
    saved = unprojected = _NOTHING[dtype]
    checkpoints, stops = None, [batch.steps]
    if keep and every:
        checkpoints = new_checkpoints(cell, size, batch, every)
        if len(cell.states) > 1:
            stops = [s1 for _, s1 in checkpoints.stretches(batch.steps)]
    elif keep:
        saved = np.empty((batch.rows, len(cell.saved), size.hidden_p), dtype)
        if size.projects:
            unprojected = np.empty((1, batch.rows, size.hidden_p), dtype)
    if len(batch.lengths):
        rows, index = _input_of(x, dtype)
        plan = workspace.plan_forward(
            size, cell, most_rows(cell.width), batch, x.ndim == 2, threads.get_num_threads()
        )
        work = workspace.scratch(dtype, plan.size)
        s0, stop = 0, 0
        while True:
            s1 = min(stops[stop], s0 + plan.stride)
            cell.forward(
                threads.call(plan.threads),
                plan.threads,
                rows.array,
                index,
                rows.time,
                rows.row,
                batch.order,
                batch.lengths,
                reverse,
                *arrays(weights, dtype),
                number,
                *state,
                *final,
                *output,
                saved,
                unprojected,
                plan.thin,
                plan.gather,
                plan.chunks,
                plan.chunk,
                plan.cuts,
                plan.offsets,
                work,
                batch.row_at(s0),
                s0,
                s1,
            )
            s0 = s1
            if s0 == batch.steps:
                break
            if s0 == stops[stop]:
                stop += 1
                assert checkpoints
                checkpoints.others[stop] = states_in(work, plan, cell, size, len(batch.lengths), s0)
    if not keep:
        return None
    return Trace(batch, reverse, number, x, output, *state, saved, unprojected, checkpoints)


def backward(
    cell: Cell,
    size: Sizes,
    weights: Weights,
    trace: Trace,
    d_output: Rows | None,
    d_state: States,
    d_x: np.ndarray | None,
    d_initial: States,
    watch: Callable[[int, workspace.BackPlan, np.ndarray], None] | None = None,
) -> Weights:
    """Return the gradients of the weights; `trace` is not changed.

    Args:
        cell: as in `forward`.
        size: as in `forward`.
        weights: as they were in `forward`.
        trace: what `forward` kept.
        d_output: gradient at the output; None is zero.
        d_state: gradients at the final states.
        d_x: (T, B, I), contiguous in that order or batch first, or None for integer x: the
            gradient at the input is written to it, where the steps are real.
        d_initial: the gradients at the initial states are written to it.
        watch: is called after every step s with s, the plan and the work space, whose regions
            backward.py numbers: gradients as they are while this runs (tracing/ looks at them).
    """
    batch, x, dtype = trace.batch, trace.x, size.dtype
    no_rows = Rows(_NOTHING[dtype], 0, 0, 0)
    new = np.empty if batch.rows else np.zeros
    d_weights = Weights(
        new(weights.w_ih.shape, dtype),
        new(weights.w_hh.shape, dtype),
        *(None if w is None else new(w.shape, dtype) for w in weights[2:]),
    )
    if len(batch.lengths):
        rows, index = _input_of(x, dtype)
        plan = workspace.plan_backward(
            size, cell, batch, x.ndim == 2, d_x is not None, threads.get_num_threads()
        )
        work = workspace.scratch(dtype, plan.size)
        place = np.empty(plan.most, np.int64)
        w_ih, w_hh, _, _, w_hr = arrays(weights, dtype)
        d_rows = no_rows if d_x is None else workspace.rows_of(d_x)
        sequences = (
            rows.array,
            index,
            rows.time,
            rows.row,
            batch.order,
            batch.lengths,
            trace.reverse,
        )
        stretches, saved, unprojected = [(0, batch.steps)], trace.saved, trace.unprojected
        if trace.checkpoints:
            replay = Replay(cell, size, batch, trace.checkpoints, x.ndim == 2)
            saved, unprojected = replay.saved, replay.unprojected
            initial = trace.number, trace.h_0, trace.others_0
            stretches = replay.run(sequences, arrays(weights, dtype)[:4], initial, trace.output)
        for first, last in stretches:
            s1 = last
            while True:
                s0 = max(first, s1 - (1 if watch else plan.stride))
                cell.backward(
                    threads.call(plan.threads),
                    plan.threads,
                    *sequences,
                    w_ih,
                    w_hh,
                    w_hr,
                    trace.number,
                    trace.h_0,
                    saved,
                    unprojected,
                    *trace.output,
                    *(d_output or no_rows),
                    *d_state,
                    *d_initial,
                    d_rows.array,
                    d_rows.time,
                    d_rows.row,
                    *arrays(d_weights, dtype),
                    cell.shared,
                    plan.chunks,
                    plan.cuts,
                    plan.parts,
                    plan.piece,
                    plan.offsets,
                    place,
                    work,
                    batch.row_at(s1) - batch.row_at(first),
                    s0,
                    s1,
                )
                if watch and s0 < s1:
                    watch(s0, plan, work)
                s1 = s0
                if s1 == first:
                    break
    return d_weights


class StreamPass:
    """A pass that is run step by step: keeps the packed weights and the state.

    Attributes:
        output: (B, E) overwritten at every step.
    """

    def __init__(self, cell: Cell, weights: Weights, x: np.ndarray, rows: np.ndarray):
        size, count = sizes_of(cell, weights), len(x)
        dtype = size.dtype
        nothing, zeros = _NOTHING[dtype], zero_states(dtype)
        self.output = np.zeros((count, size.emitted), dtype)
        plan = workspace.plan_stream(
            size, cell, most_rows(cell.width), count, threads.get_num_threads()
        )
        work = workspace.scratch(dtype, plan.size)
        regions = plan.offsets[STATES : STATES + 3]
        self._states = work[regions[0] : regions[2]]  # and the emitted ones behind them
        # A sequence without end: only whether a step is even matters to the kernel.
        rows[1], rows[2] = np.arange(count), 1 << 62
        cell.forward(  # packs, and sets the state to zero
            threads.call(1),
            1,
            x[None],
            NO_INDEX,
            0,
            size.input,
            rows[1],
            rows[2],
            False,
            *arrays(weights, dtype),
            0,
            *zeros,
            *zeros,
            self.output[None],
            0,
            0,
            size.emitted,
            nothing,
            nothing,
            plan.thin,
            plan.gather,
            plan.chunks,
            plan.chunk,
            plan.cuts,
            plan.offsets,
            work,
            0,
            0,
            0,
        )
        self._kernel, self._threads, self._turn = cell.stream, plan.threads, 0
        self._arguments = (
            size.hidden,
            size.projects,
            rows,
            x,
            self.output,
            plan.chunks,
            plan.cuts,
            plan.offsets,
            work,
        )

    def step(self, one_hot: bool) -> None:
        """Read what is in x or, one_hot, in rows[0]."""
        n = self._threads
        self._turn ^= 1
        self._kernel(threads.call(n), n, one_hot, 3 - self._turn, *self._arguments)

    def reset(self) -> None:
        """Set the state to zero."""
        self._states.fill(0)
