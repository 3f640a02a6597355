"""Checkpoints: a pass keeps the states of a few steps only; what lies between is computed again.

How it is computed again is recompute.py's business, who asks for it scan.py's. Here is where the
checkpoints lie, and what they cost.

They are counted from the end, and lie where BPTT adds up the sums over time (workspace.BackPlan):
so the gradient is the same, bit for bit, as without them.

Source: Chen et al. 2016, arXiv:1604.06174; Gruslys et al. 2016, "Memory-efficient backpropagation
through time", arXiv:1606.03401: with sqrt(T) steps between two, memory grows with sqrt(T).
"""

import math
from typing import NamedTuple

import numpy as np

from fastrnn import checks
from fastrnn.cells import Cell
from fastrnn.engine import forward, workspace
from fastrnn.engine.weights import Sizes
from fastrnn.engine.workspace import Batch
from fastrnn.kernels import threads


class Checkpoints(NamedTuple):
    """The checkpoints of one pass; the h of each is in the output."""

    every: int  # steps between two
    others: np.ndarray  # (stretches, states - 1, B, H) at their begin, in the order of the batch

    def stretches(self, steps: int) -> list[tuple[int, int]]:
        """Return the steps between checkpoints as ranges, the first ones first."""
        ends = range(steps, 0, -self.every)
        return [(max(0, end - self.every), end) for end in reversed(ends)]


def new_checkpoints(cell: Cell, size: Sizes, batch: Batch, every: int) -> Checkpoints:
    """Return room for the checkpoints of a pass."""
    shape = (-(-batch.steps // every), len(cell.states) - 1, len(batch.lengths), size.hidden)
    return Checkpoints(every, np.empty(shape, size.dtype))


def states_in(work: np.ndarray, plan: workspace.Plan, cell: Cell, size: Sizes, count: int, s: int):
    """Return the states besides h before step s, (states - 1, B, H), as `forward` left them."""
    states, end = plan.offsets[forward.STATES : forward.STATES + 2]
    row = (end - states) // (2 * len(cell.states) * count)
    used = work[states : states + 2 * len(cell.states) * count * row]
    return used.reshape(2, len(cell.states), count, row)[s % 2, 1:, :, : size.hidden]


def steps_between(
    owner: str,
    checkpoint: int | str | None,
    memory: int | None,
    cell: Cell,
    sizes: list[Sizes],
    batch: Batch,
) -> int:
    """Return how many steps lie between checkpoints; 0: keep everything.

    Args:
        owner: of the call, for errors.
        checkpoint: None, a number of steps, or "auto".
        memory: bytes that all passes together may keep, or None.
        cell: of the passes.
        sizes: of each pass.
        batch: the sequences.

    Raises:
        TypeError, ValueError: an argument out of range, or too little memory.
    """
    if checkpoint is None:
        if memory is not None:
            raise ValueError(
                f"{owner}: memory={memory!r} without checkpoints; expected checkpoint='auto'."
            )
        return 0
    if isinstance(checkpoint, str) and checkpoint != "auto":
        raise ValueError(
            f"{owner}: checkpoint is {checkpoint!r}; expected None, 'auto' or a number of steps."
        )
    if checkpoint != "auto" and memory is not None:
        raise ValueError(
            f"{owner}: memory={memory!r} beside checkpoint={checkpoint!r}; memory chooses the "
            "steps itself: pass checkpoint='auto' with it."
        )
    steps, count = batch.steps, len(batch.lengths)
    if batch.rows <= workspace.THIN_ROWS:
        return 0  # products of another order of summation, and nothing to save
    k = len(cell.gates) * sizes[0].hidden
    piece = workspace.piece_of(k, sizes[0].dtype, steps, count)
    if checkpoint != "auto":
        wanted = checks.integer(owner, "checkpoint", checkpoint)
    elif memory is None:
        wanted = math.isqrt(steps - 1) + 1
    else:
        wanted = _affordable(owner, checks.integer(owner, "memory", memory), cell, sizes, batch,
                             piece)  # fmt: skip
    return -(-wanted // piece) * piece if wanted else 0


def _affordable(
    owner: str, memory: int, cell: Cell, sizes: list[Sizes], batch: Batch, piece: int
) -> int:
    """Return the most steps between checkpoints whose cost is at most `memory`; 0: all fits."""
    rows, steps, count = batch.rows, batch.steps, len(batch.lengths)
    item = sizes[0].dtype.itemsize
    row = max(s.hidden_p * (len(cell.saved) + s.projects) for s in sizes) * item
    states = sum(s.hidden for s in sizes) * (len(cell.states) - 1) * count * item
    if rows * row * len(sizes) <= memory:
        return 0

    # The rows of one stretch, and the states at the begin of each.
    every = np.arange(1, -(-steps // piece) + 1) * piece
    cost = np.minimum(rows, every * count) * row + -(-steps // every) * states
    if cost.min() > memory:
        raise ValueError(
            f"{owner}: memory={memory:,} bytes are too few; checkpoints of these {steps:,} steps "
            f"need at least {cost.min():,}."
        )
    return int(every[np.flatnonzero(cost <= memory)[-1]])


class Replay:
    """What a pass keeps for its gradient, computed again, a stretch of steps at a time.

    Args:
        cell: as in `passes.forward`; and so are size and batch.
        size: of the weights.
        batch: the sequences.
        checkpoints: of the pass.
        one_hot: the input is.
    """

    def __init__(
        self, cell: Cell, size: Sizes, batch: Batch, checkpoints: Checkpoints, one_hot: bool
    ):
        self._cell, self._batch, self._checkpoints, self._packed = cell, batch, checkpoints, False
        self._stretches = checkpoints.stretches(batch.steps)
        most = max(batch.row_at(s1) - batch.row_at(s0) for s0, s1 in self._stretches)
        count = len(batch.lengths)
        self._plan = workspace.plan_replay(size, cell, count, most, one_hot,
                                           threads.get_num_threads())  # fmt: skip
        self._work = workspace.scratch(size.dtype, self._plan.size)
        self._less = batch.lengths - 1
        self.saved = np.empty((most, len(cell.saved), size.hidden_p), size.dtype)
        kept = most if size.projects else 0
        self.unprojected = np.empty((1, kept, size.hidden_p), size.dtype)

    def run(self, sequences: tuple, weights: tuple, initial: tuple, output: tuple):
        """Yield `s0, s1`, the last stretch first, when `saved` and `unprojected` are those of it.

        Args:
            sequences: arguments of the kernel, as are all others.
            weights: W_ih, W_hh, b_ih, b_hh.
            initial: number of the pass, and states.
            output: what the pass has written.
        """
        n, plan, batch = self._plan.threads, self._plan, self._batch
        for index in reversed(range(len(self._stretches))):
            first, last = self._stretches[index]
            for s0 in range(first, last, plan.stride):
                self._cell.replay(
                    threads.call(n), n, *sequences, self._less, *weights, *initial,
                    self._checkpoints.others[index], *output, self.saved, self.unprojected,
                    plan.gather, plan.chunk, plan.offsets, self._work,
                    not self._packed, batch.row_at(s0) - batch.row_at(first), s0,
                    min(last, s0 + plan.stride),
                )  # fmt: skip
                self._packed = True
            yield first, last
