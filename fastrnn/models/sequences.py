"""Sequences of any lengths in one flat array, found by where each starts and how long it is.

Batches, pieces of batches and sequences shifted by a step are other numbers over the same memory;
only what a network is about to read is copied. How users' X and y become this is in reading.py.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Sequences(NamedTuple):
    """N sequences.

    Attributes:
        values: (S, I) floats, or (S,) symbols or their indices.
        starts: (N,) int64: where each starts in values.
        lengths: (N,) int64.
    """

    values: NDArray
    starts: NDArray
    lengths: NDArray

    def select(self, rows: NDArray) -> "Sequences":
        """Return some of the sequences."""
        return self._replace(starts=self.starts[rows], lengths=self.lengths[rows])

    def cut(self, start: int, end: int) -> "Sequences":
        """Return steps start..end of each; fewer, or none, of a sequence that ends earlier."""
        lengths = np.clip(self.lengths - start, 0, end - start)
        return self._replace(starts=self.starts + start * (lengths > 0), lengths=lengths)

    def before(self, steps: int) -> "Sequences":
        """Return each without its last `steps` steps."""
        return self._replace(lengths=np.maximum(self.lengths - int(steps), 0))

    def last(self, steps: int) -> "Sequences":
        """Return the last `steps` steps of each."""
        skipped = np.maximum(self.lengths - int(steps), 0)
        return self._replace(starts=self.starts + skipped, lengths=self.lengths - skipped)

    def next(self) -> "Sequences":
        """Return each shifted by one step: what a network that reads it has to predict."""
        return self._replace(starts=self.starts + 1)

    def pieces(self, steps: int | None) -> list["Sequences"]:
        """Return the sequences cut into pieces of `steps` steps, to be read one after another."""
        longest = int(self.lengths.max())
        if steps is None or steps >= longest:
            return [self]
        return [self.cut(t, t + int(steps)) for t in range(0, longest, int(steps))]

    def with_boundaries(self, symbol: int) -> "Sequences":
        """Return the sequences, which must be all of `values`, with a symbol before and after each.

        Two neighbours share the symbol between them. `lengths` counts the leading one only, so
        that reading a sequence to predict `next()` starts and ends with the symbol.
        """
        count, total = len(self.lengths), len(self.values)
        largest = max(symbol, int(self.values.max(initial=0)))  # more than symbol: unknown
        values = np.full(total + count + 1, symbol, np.min_scalar_type(largest))
        moved = np.arange(total) + np.repeat(np.arange(1, count + 1), self.lengths)
        values[moved] = self.values
        return Sequences(values, self.starts + np.arange(count), self.lengths + 1)

    def padded(self) -> tuple[NDArray, NDArray | None]:
        """Return what a layer takes: x (T, B, I) or (T, B), and lengths, None if all are T.

        Past its end a sequence repeats its last step; no layer reads that.
        """
        steps = np.arange(self.lengths.max())[:, None]
        x = self.values[self.starts + np.minimum(steps, np.maximum(self.lengths - 1, 0))]
        return x, None if (self.lengths == len(steps)).all() else self.lengths

    def real(self) -> NDArray | None:
        """Return which of the T * B rows of `padded` are not padding; None: all of them."""
        inside = np.arange(self.lengths.max())[:, None] < self.lengths
        return None if inside.all() else np.flatnonzero(inside)

    def places(self) -> NDArray:
        """Return where in values the rows of `real` are, in their order."""
        places = (self.starts + np.arange(self.lengths.max())[:, None]).reshape(-1)
        real = self.real()
        return places if real is None else places[real]

    def steps(self) -> NDArray:
        """Return the values of the rows of `real`, in their order: by time, then by sequence."""
        return self.values[self.places()]
