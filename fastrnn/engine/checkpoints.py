"""Checkpoints: the forward pass keeps the states of a few steps only; the rest is recomputed.

Here is where the checkpoints lie and what they cost; recompute.py recomputes, scan.py asks for it.
They are counted from the end, and lie where BPTT adds up the sums over time (plan.py): so the
gradient is the same, bit for bit, as without them. The h of each is in the output.

Source: Chen et al. 2016, arXiv:1604.06174; Gruslys et al. 2016, "Memory-efficient backpropagation
through time", arXiv:1606.03401: with sqrt(T) steps between two, memory grows with sqrt(T).
"""

import math

import numpy as np

from fastrnn import checks
from fastrnn.engine import buffers
from fastrnn.engine.batch import Batch
from fastrnn.engine.cell import Cell
from fastrnn.engine.plan import Plan, block_of_backward, is_short
from fastrnn.engine.records import Sizes


def segments(steps: int, every: int) -> list[tuple[int, int]]:
    """Return the steps between checkpoints as ranges, the first ones first."""
    ends = range(steps, 0, -every)
    return [(max(0, end - every), end) for end in reversed(ends)]


def new_checkpoints(sizes: Sizes, batch: Batch, every: int) -> np.ndarray:
    """Return room for the checkpoints of one direction (records.Residuals)."""
    shape = (-(-batch.steps // every), sizes.states - 1, len(batch.lengths), sizes.hidden)
    return buffers.new(shape, sizes.dtype)


def states_in(work: np.ndarray, plan: Plan, sizes: Sizes, count: int, s: int) -> np.ndarray:
    """Return the states besides h before step s, (states - 1, B, H), as `forward` left them."""
    states = plan.view(work, "states")
    row = states.size // (2 * sizes.states * count)
    used = states[: 2 * sizes.states * count * row]
    return used.reshape(2, sizes.states, count, row)[s % 2, 1:, :, : sizes.hidden]


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
        memory: bytes that all directions of all layers together may keep, or None.
        cell: of the layer.
        sizes: of each direction of each layer.
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
    if not isinstance(checkpoint, str):
        checkpoint = checks.integer(owner, "checkpoint", checkpoint)
    elif checkpoint != "auto":
        raise ValueError(
            f"{owner}: checkpoint is {checkpoint!r}; expected None, 'auto' or a number of steps."
        )
    if memory is not None:
        if checkpoint != "auto":
            raise ValueError(
                f"{owner}: memory={memory!r} beside checkpoint={checkpoint!r}; memory chooses the "
                "steps itself: pass checkpoint='auto' with it."
            )
        memory = checks.integer(owner, "memory", memory)
    steps, count = batch.steps, len(batch.lengths)
    k = len(cell.gates) * sizes[0].hidden
    block = block_of_backward(k, sizes[0].dtype, steps, count)
    if memory is not None:
        wanted = _affordable(owner, memory, cell, sizes, batch, block)
    else:
        wanted = math.isqrt(max(0, steps - 1)) + 1 if checkpoint == "auto" else checkpoint
    if is_short(batch):
        return 0  # products of another order of summation, and nothing to save
    return -(-min(wanted, steps) // block) * block


def _affordable(
    owner: str, memory: int, cell: Cell, sizes: list[Sizes], batch: Batch, block: int
) -> int:
    """Return the most steps between checkpoints whose cost is at most `memory`; 0: all fits."""
    rows, steps, count = batch.rows, batch.steps, len(batch.lengths)
    item = sizes[0].dtype.itemsize
    row = max(s.hidden_p * (len(cell.saved) + s.projects) for s in sizes) * item
    states = sum(s.hidden for s in sizes) * (len(cell.states) - 1) * count * item
    whole = rows * row * len(sizes)
    if whole <= memory:
        return 0

    # The rows of one segment, and the states at the start of each.
    every = np.arange(1, -(-steps // block) + 1) * block
    cost = np.minimum(rows, every * count) * row + -(-steps // every) * states
    least = whole if is_short(batch) else int(cost.min())
    if least > memory:
        raise ValueError(
            f"{owner}: memory={memory:,} bytes are too few; checkpoints of these {steps:,} steps "
            f"need at least {least:,}."
        )
    return int(every[np.flatnonzero(cost <= memory)[-1]])
