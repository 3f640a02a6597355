"""The sequences of a call: sorted by length for the time loop, cut by resets, and their rows.

Padding is never computed: step s runs for the sequences that are longer than s, which are the
first ones of the sorted batch. A reset makes no row: the sequence goes on in its own, and zeros
are written over its state.
"""

import functools
import itertools
from typing import NamedTuple

import numpy as np

from fastrnn.engine.buffers import writeable

NO_CUTS = np.empty((0, 0), np.int64)


class Batch(NamedTuple):
    """The sequences of a batch, by falling length."""

    order: np.ndarray  # (B,) int64: which sequence
    lengths: np.ndarray  # (B,) int64: how long it is
    steps: int  # of the longest
    rows: int  # steps of all of them together
    cuts: np.ndarray  # (T, B) int64: 1 where a reset cuts (t, b) off from t - 1; empty: nowhere

    @property
    def equal(self) -> bool:
        """Whether all sequences have one length."""
        return self.rows == self.steps * len(self.lengths)

    def row_at(self, s: int) -> int:
        """Return the number of the first row of step s."""
        if self.equal:
            return s * len(self.lengths)
        return int(np.minimum(self.lengths, s).sum())

    def slices(self, parts: int) -> list[tuple[int, int]]:
        """Return at most `parts` ranges of sequences with about the same number of steps."""
        if parts == 1:
            return [(0, len(self.lengths))]
        ends = np.cumsum(self.lengths)
        cuts = np.searchsorted(ends, np.arange(1, parts) * self.rows / parts, side="left") + 1
        bounds = [0, *cuts.tolist(), len(self.lengths)]
        return [(a, b) for a, b in itertools.pairwise(bounds) if a < b]


@functools.lru_cache(maxsize=64)
def equal_batch(time: int, batch: int) -> Batch:
    """Return a batch of sequences that are all `time` steps long."""
    order, lengths = np.arange(batch), np.full(batch, time)
    return Batch(order, lengths, time if batch else 0, time * batch, NO_CUTS)


def sort_by_length(lengths: np.ndarray) -> Batch:
    """Return the batch of sequences with these lengths, (B,) int64."""
    order = np.argsort(-lengths, kind="stable")
    ordered = lengths[order]
    return Batch(order, ordered, int(ordered[0]) if len(order) else 0, int(ordered.sum()), NO_CUTS)


def batch_of(
    time: int, batch: int, lengths: np.ndarray | None, reset: np.ndarray | None = None
) -> Batch:
    """Return the batch of a call.

    Args:
        time: T.
        batch: B.
        lengths: (B,) int64 in [0, T]; None: all are T.
        reset: (T, B) bool: the state is zero before the step; None: nowhere.
    """
    found = equal_batch(time, batch) if lengths is None else sort_by_length(lengths)
    if reset is None or not reset.any():
        return found
    return Batch(*found[:4], reset.astype(np.int64, order="C"))


class Rows(NamedTuple):
    """A (T, B, F) array as kernels see it: row (t, b) starts at element at + t * time + b * row.

    In Python `array` is C-contiguous, 3-D, or for indices 2-D; in kernels it is flat.
    """

    array: np.ndarray
    at: int
    time: int
    row: int


def rows_of(array: np.ndarray) -> Rows:
    """Return the rows of a (T, B, F) or, for indices, (T, B) array.

    Without a copy if its memory is time first or batch first and has no gaps, the only kinds that
    kernels are compiled for; else of a copy.
    """
    time, batch = array.shape[:2]
    width = array.shape[2] if array.ndim == 3 else 1
    if not array.flags.writeable:  # a file mapped for reading may be larger than memory
        array = writeable(array)
    if array.flags.carray:
        return Rows(array, 0, batch * width, width)
    batch_first = array.swapaxes(0, 1)
    if batch_first.flags.carray:
        return Rows(batch_first, 0, width, time * width)
    return Rows(np.array(array, order="C"), 0, batch * width, width)
