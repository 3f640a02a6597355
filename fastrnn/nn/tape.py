"""What a call keeps for its gradient, and how another owner keeps its arrays in the meantime.

A tape is a NamedTuple of arrays. Whoever has means of its own to keep memory (torch's autograd:
freed by backward, offloaded or recomputed by hooks) takes the arrays out with `split` and puts
them, or equal ones, back with `joined`. Programs make and read tapes; nothing is computed here.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import numpy as np

from fastrnn.engine import buffers, scan
from fastrnn.engine.batch import Batch
from fastrnn.engine.records import Residuals


class Tape(NamedTuple):
    """What `Program.pull` reads.

    Attributes:
        weights: as `run` got them.
        x: as `run` got it.
        initial: the initial states, in the order of records.States.
        output: as `run` returned it.
        inputs: of each layer but the first: what it read, (T, B, directions * E).
        outputs: of each layer but the last, the same shape.
        masks: of dropout, as `run` got them.
        batch: the sequences.
        residuals: of each direction of each layer.
    """

    weights: list[tuple]
    x: np.ndarray
    initial: tuple[np.ndarray, np.ndarray]
    output: np.ndarray
    inputs: tuple[np.ndarray, ...]
    outputs: tuple[np.ndarray, ...]
    masks: tuple[np.ndarray, ...]
    batch: Batch
    residuals: tuple[Residuals, ...]

    @property
    def nbytes(self) -> int:
        """Bytes kept beyond what the caller passed in and got back."""
        own = [
            self.batch.order,
            self.batch.lengths,
            self.batch.cuts,
            *self.residuals,
            *self.outputs,
        ]
        if self.masks:
            own += [*self.masks, *self.inputs]
        return sum(array.nbytes for array in own)

    def split(self, handed_out: bool = True) -> tuple[list[np.ndarray], Self]:
        """Return the arrays of the tape, without those that `run` got, and the tape without any.

        Args:
            handed_out: the caller got `output` itself and may write to it: take a copy.
        """
        arrays = [self.output.copy() if handed_out else self.output, *self.outputs, *self.masks]
        if self.masks:  # else the inputs are the outputs
            arrays += self.inputs
        residuals = []
        for saved, unprojected, checkpoints, every in self.residuals:
            kept = [saved, unprojected, checkpoints]
            arrays += [array for array in kept if array.size]
            left: list[Any] = [None if array.size else array for array in kept]
            residuals.append(Residuals(left[0], left[1], left[2], every))
        gone: Any = None
        between, masks = (gone,) * len(self.outputs), (gone,) * len(self.masks)
        rest = type(self)([], gone, gone, gone, (), between, masks, self.batch, tuple(residuals))
        return arrays, rest

    def joined(self, arrays: Sequence[np.ndarray], weights: list[tuple], x, initial) -> Self:
        """Return the whole tape again.

        Args:
            arrays: as `split` gave them, or others of the same shapes and types.
            weights: as `run` got them.
            x: see weights.
            initial: the initial states, as `BaseProgram.states` returns them.
        """
        rest = map(buffers.plain, arrays)
        output = next(rest)
        outputs = tuple([next(rest) for _ in self.outputs])
        masks = tuple([next(rest) for _ in self.masks])
        inputs = tuple([next(rest) for _ in masks]) or outputs
        residuals = []
        for kept in self.residuals:
            found = [next(rest) if one is None else one for one in kept[:3]]
            residuals.append(Residuals(found[0], found[1], found[2], kept.checkpoint_every))
        whole = weights, x, initial, output, inputs, outputs, masks, self.batch, tuple(residuals)
        return type(self)(*whole)


class StepTape(NamedTuple):
    """What `SingleStep.pull` reads; the same interface."""

    weights: Sequence[tuple]
    x: np.ndarray  # (1, B, I), plain
    initial: tuple[np.ndarray, np.ndarray]
    saved: np.ndarray  # (layers, B, saved, Hp)
    h_n: np.ndarray  # (layers, B, H): what all layers but the first read
    cut: Sequence[int]  # rows whose initial state a reset has cut off

    @property
    def nbytes(self) -> int:
        """Bytes kept beyond what the caller passed in and got back."""
        return self.saved.nbytes

    def split(self, handed_out: bool = True) -> tuple[list[np.ndarray], Self]:
        """Return arrays and the tape without any; see Tape.split."""
        del handed_out  # h_n is
        gone: Any = None
        rest = self._replace(weights=(), x=gone, initial=gone, h_n=scan.NOTHING[self.h_n.dtype])
        arrays = []
        if self.saved.size:
            arrays, rest = [self.saved], rest._replace(saved=gone)
        if len(self.h_n) > 1:
            arrays, rest = [*arrays, self.h_n.copy()], rest._replace(h_n=gone)
        return arrays, rest

    def joined(self, arrays: Sequence[np.ndarray], weights: Sequence[tuple], x, initial) -> Self:
        """Return the whole tape again; see Tape.joined."""
        rest = map(buffers.plain, arrays)
        saved = next(rest) if self.saved is None else self.saved
        h_n = next(rest) if self.h_n is None else self.h_n
        x = buffers.plain(x).reshape(1, saved.shape[1], x.shape[-1])
        return type(self)(weights, x, initial, saved, h_n, self.cut)
