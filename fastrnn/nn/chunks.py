"""A sequence that need not be in memory at once, read some steps at a time.

An array, which may be mapped from a file, or an iterable of arrays that follow each other in time.
What is done with the steps is truncated.py's.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from fastrnn import checks
from fastrnn.nn.arguments import read_sequence
from fastrnn.nn.layer import RecurrentLayer

NAME = "truncated_bptt"  # of the function whose argument this is, for errors


class Source:
    """The input, read some steps at a time."""

    def __init__(self, layer: RecurrentLayer, x):
        self._layer = layer
        whole = isinstance(x, np.ndarray) or hasattr(x, "__array__")
        if not whole and not isinstance(x, Iterable):
            raise TypeError(
                f"{NAME}: x is a {type(x).__name__}; expected an array, or an iterable of chunks."
            )
        self._chunks: Iterator = iter([x] if whole else x)
        self._at = 0  # in the chunk
        self._batch: Any = None
        self._chunk: Any = next(self._chunks, None)
        if self._chunk is None:
            raise ValueError(f"{NAME}: x has no chunks; expected at least one.")
        self._check()
        # The whole sequence is as long as this, if that is known.
        self.steps = self._chunk.shape[self.axis] if whole else None

    def _check(self) -> None:
        """Check a new chunk."""
        layer = self._layer
        self._chunk, call = read_sequence(
            NAME, layer.spec, self._chunk, batch_first=layer.batch_first
        )
        self._batched = call.batched
        if self._batch not in (None, call.batch):
            raise ValueError(
                f"{NAME}: a chunk of x has {call.batch} sequences, the one before "
                f"{self._batch}; expected chunks that differ in time only."
            )
        self._batch, self.axis = call.batch, int(call.batch_first)

    def has_gradient(self) -> bool:
        """Return whether the input has a gradient: is one array of floats."""
        return self.steps is not None and self._chunk.dtype.kind == "f"

    def lengths(self, value):
        """Check lengths, as far as the length of the whole is known."""
        time = 1 << 62 if self.steps is None else self.steps
        return checks.lengths(NAME, value, time, self._batch, self._batched)

    def is_at_end(self) -> bool:
        """Return whether nothing is left; loads the next chunk if need be."""
        while self._at == self._chunk.shape[self.axis]:
            chunk = next(self._chunks, None)
            if chunk is None:
                return True
            self._chunk, self._at = chunk, 0
            self._check()
        return False

    def take(self, steps: int) -> np.ndarray:
        """Return the next steps, or all that are left."""
        found = [cut(self._chunk, self.axis, self._at, self._at + steps)]
        self._at += found[0].shape[self.axis]
        while sum(part.shape[self.axis] for part in found) < steps and not self.is_at_end():
            rest = steps - sum(part.shape[self.axis] for part in found)
            found.append(cut(self._chunk, self.axis, 0, rest))
            self._at += found[-1].shape[self.axis]
        return found[0] if len(found) == 1 else np.concatenate(found, self.axis)


def cut(array: np.ndarray, axis: int, start: int, end: int) -> np.ndarray:
    """Return some steps of an array, as a view."""
    return array[:, start:end] if axis else array[start:end]
