"""A sequence that need not be in memory at once, read some steps at a time.

An array, which may be mapped from a file, or an iterable of arrays that follow each other in time.
What is done with the steps is truncated.py's.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from fastrnn import checks
from fastrnn.nn.arguments import read_shape
from fastrnn.nn.call import Call
from fastrnn.nn.layer import RecurrentLayer

NAME = "truncated_bptt"  # of the function whose argument this is, for errors


class Source:
    """The input, read some steps at a time.

    Attributes:
        axis: of time.
        steps: how long the whole sequence is, if that is known; else None.
        leading: the axes of the whole but its last, if that is known; else None.
        lengths: (B,) int64, of whole sequences, or None.
    """

    def __init__(self, layer: RecurrentLayer, x, lengths=None, reset=None):
        self._layer = layer
        whole = isinstance(x, np.ndarray) or hasattr(x, "__array__")
        if not whole and not isinstance(x, Iterable):
            raise TypeError(
                f"{NAME}: x is a {type(x).__name__}; expected an array, or an iterable of chunks."
            )
        self._chunks: Iterator = iter([x] if whole else x)
        self._at = self._before = 0  # in the chunk; steps of the chunks before it
        self._chunk: Any = next(self._chunks, None)
        if self._chunk is None:
            raise ValueError(f"{NAME}: x has no chunks; expected at least one.")
        call = self._check()
        self._batch, self.axis = call.batch, int(call.batch_first)
        self.steps = call.time if whole else None
        self.leading = self._chunk.shape[: 1 + call.batched] if whole else None
        self.lengths = checks.lengths(
            NAME, lengths, call.time if whole else 1 << 62, call.batch, call.batched
        )
        self._reset = self._check_reset(reset, call)
        self._check_classes()

    def _check_reset(self, reset, call: Call) -> np.ndarray | None:
        """Return the mask of resets in the axes of x; of chunks its length is not known yet."""
        if reset is None:
            return None
        mask = checks.array(NAME, "reset", reset, usual="bool")
        time = call.time
        if self.steps is None and mask.ndim > self.axis:
            time = mask.shape[self.axis]
        checks.reset(NAME, mask, time, call.batch, call.batched, call.batch_first)
        return mask

    def resets(self, start: int, end: int) -> np.ndarray | None:
        """Return the mask of resets of some steps."""
        if self._reset is None:
            return None
        if self._reset.shape[self.axis] < end:
            raise _other_length(self._reset, self.axis, f"at least {end}")
        return cut(self._reset, self.axis, start, end)

    def _check(self) -> Call:
        """Check a new chunk but for the values of integers."""
        layer = self._layer
        self._chunk, call = read_shape(NAME, layer.spec, self._chunk, batch_first=layer.batch_first)
        return call

    def _check_classes(self) -> None:
        """Check the integers of a chunk."""
        if self._chunk.dtype.kind in "iu":
            left = None if self.lengths is None else self.lengths - self._before
            checks.classes(NAME, self._chunk, self._layer.input_size, left, bool(self.axis))

    def has_gradient(self) -> bool:
        """Return whether the input has a gradient: is one array of floats."""
        return self.steps is not None and self._chunk.dtype.kind == "f"

    def is_at_end(self) -> bool:
        """Return whether nothing is left; loads the next chunk if need be."""
        while self._at == self._chunk.shape[self.axis]:
            chunk = next(self._chunks, None)
            if chunk is None:
                end = self._before + self._at
                if self._reset is not None and self._reset.shape[self.axis] > end:
                    raise _other_length(self._reset, self.axis, str(end))
                return True
            self._before += self._chunk.shape[self.axis]
            self._chunk, self._at = chunk, 0
            call = self._check()
            if call.batch != self._batch:
                raise ValueError(
                    f"{NAME}: a chunk of x has {call.batch} sequences, the one before "
                    f"{self._batch}; expected chunks that differ in time only."
                )
            self._check_classes()
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


def _other_length(reset: np.ndarray, axis: int, expected: str) -> ValueError:
    return ValueError(
        f"{NAME}: reset has {reset.shape[axis]} steps on axis {axis}; expected as many as all "
        f"chunks of x together, {expected}."
    )
