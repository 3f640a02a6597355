"""What a call keeps for its gradient, and how another owner keeps its arrays in the meantime.

A tape is a NamedTuple of arrays. Whoever has means of its own to keep memory (torch's autograd:
freed by backward, offloaded or recomputed by hooks) takes the arrays out with `split` and puts
them, or equal ones, back with `joined`. Programs make and read tapes; nothing is computed here.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Self

import numpy as np

from fastrnn.engine import buffers
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
        own = [self.batch.order, self.batch.lengths, *self.residuals, *self.outputs]
        if self.masks:
            own += [*self.masks, *self.inputs]
        return sum(array.nbytes for array in own)

    def split(self, handed_out: bool = True) -> tuple[list[np.ndarray], Self]:
        """Return the arrays of the tape, without those that `run` got, and the tape without any.

        Args:
            handed_out: the caller got `output` itself and may write to it: take a copy.
        """
        output = self.output.copy() if handed_out else self.output
        inputs = self.inputs if self.masks else ()  # else they are the outputs
        given: dict[str, Any] = {"weights": [], "x": (), "initial": (), "batch": ()}
        arrays: list[np.ndarray] = []
        rest = _without(self._replace(**given, output=output, inputs=inputs), arrays)
        return arrays, rest._replace(batch=self.batch)  # a few integers of each sequence

    def joined(self, arrays: Sequence[np.ndarray], weights: list[tuple], x, initial) -> Self:
        """Return the whole tape again.

        Args:
            arrays: as `split` gave them, or others of the same shapes and types.
            weights: as `run` got them.
            x: see weights.
            initial: the initial states, as `BaseProgram.states` returns them.
        """
        whole = _with(self, iter(arrays))._replace(weights=weights, x=x, initial=initial)
        return whole if whole.masks else whole._replace(inputs=whole.outputs)


class StepTape(NamedTuple):
    """What `SingleStep.pull` reads; the same interface."""

    weights: Sequence[tuple]
    x: np.ndarray  # (1, B, I), plain
    initial: tuple[np.ndarray, np.ndarray]
    saved: np.ndarray  # (layers, B, saved, Hp)
    h_n: np.ndarray  # (layers, B, H): what all layers but the first read

    @property
    def nbytes(self) -> int:
        """Bytes kept beyond what the caller passed in and got back."""
        return self.saved.nbytes

    def split(self, handed_out: bool = True) -> tuple[list[np.ndarray], Self]:
        """Return arrays and the tape without any; see Tape.split."""
        del handed_out  # h_n is
        given: dict[str, Any] = {"weights": [], "x": (), "initial": ()}
        h_n = self.h_n.copy() if len(self.saved) > 1 else self.h_n[:0].copy()
        arrays: list[np.ndarray] = []
        return arrays, _without(self._replace(**given, h_n=h_n), arrays)

    def joined(self, arrays: Sequence[np.ndarray], weights: Sequence[tuple], x, initial) -> Self:
        """Return the whole tape again; see Tape.joined."""
        whole = _with(self, iter(arrays))
        x = buffers.plain(x).reshape(1, whole.saved.shape[1], x.shape[-1])
        return whole._replace(weights=weights, x=x, initial=initial)


def _without(node: Any, arrays: list[np.ndarray]) -> Any:
    """Return nested tuples with None for each array that is not empty, which goes to `arrays`."""
    if isinstance(node, np.ndarray) and node.size:
        arrays.append(node)
        return None
    if isinstance(node, tuple):
        return _like(node, [_without(one, arrays) for one in node])
    return node


def _with(node: Any, arrays: Iterator[np.ndarray]) -> Any:
    """Undo `_without`."""
    if node is None:
        return buffers.plain(next(arrays))
    if isinstance(node, tuple):
        return _like(node, [_with(one, arrays) for one in node])
    return node


def _like(node: tuple, parts: list) -> tuple:
    return type(node)(*parts) if hasattr(node, "_fields") else tuple(parts)
