"""The records of the engine: what kernels take, and what they make of it.

From Python a kernel takes plain tuples, in the order of the fields written here: a NamedTuple
costs each call 0.4 microseconds more, for Numba encodes its names every time. Inside, `read_*`
turns them into these records, whose arrays are flat. Nothing is computed here.
"""

from typing import NamedTuple

import numpy as np

from fastrnn.engine import buffers
from fastrnn.engine.batch import Rows
from fastrnn.kernels.jit import jit
from fastrnn.kernels.memory import flat, part_of


class Sizes(NamedTuple):
    """The sizes of one direction of one layer; a `_p` suffix means padded to whole vectors."""

    dtype: np.dtype
    lanes: int
    gates: int  # G
    states: int  # of the cell
    input: int  # I
    hidden: int  # H
    hidden_p: int
    emitted: int  # E: H, or the projection's size
    emitted_p: int
    columns: int  # G*Hp: blocked pre-activations of a row
    projects: bool


def sizes_of(dtype, gates: int, states: int, input: int, hidden: int, projection: int) -> Sizes:
    """Return the sizes of one direction of one layer; projection: its size, or 0."""
    hidden_p, emitted = buffers.padded(hidden, dtype), projection or hidden
    return Sizes(
        dtype,
        buffers.lanes(dtype),
        gates,
        states,
        input,
        hidden,
        hidden_p,
        emitted,
        buffers.padded(emitted, dtype),
        gates * hidden_p,
        projection > 0,
    )


class Weights(NamedTuple):
    """The parameters of one direction of one layer, in torch's layout; missing: of size 0."""

    w_ih: np.ndarray  # (G*H, I)
    w_hh: np.ndarray  # (G*H, E)
    b_ih: np.ndarray  # (G*H,)
    b_hh: np.ndarray  # (G*H,)
    w_hr: np.ndarray  # (E, H)


class States(NamedTuple):
    """The states of all directions of all layers, or gradients at them; of size 0: zeros."""

    h: np.ndarray  # (directions of all layers, B, E): the emitted state
    carried: np.ndarray  # (states - 1, directions of all layers, B, H): the others


class Residuals(NamedTuple):
    """What the forward pass of one direction keeps for its gradient; of size 0: not kept."""

    saved: np.ndarray  # (rows, Hp / lanes, saved, lanes): see Cell.saved
    unprojected: np.ndarray  # (1, rows, Hp): h before the projection
    # (segments, states - 1, B, H), in the order of the batch: the states besides h at the start
    # of each segment, from which the rest is recomputed.
    checkpoints: np.ndarray
    checkpoint_every: int  # steps between two; 0: no checkpoints

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays."""
        return self.saved.nbytes + self.unprojected.nbytes + self.checkpoints.nbytes


# Inside kernels.


class BatchedInput(NamedTuple):
    """The sequences of a batch: what is read, and in which order."""

    x: np.ndarray  # (t, b) starts at t * time + b * row. Empty for one-hot input:
    index: np.ndarray  # the same places; then this holds the classes
    time: int
    row: int
    order: np.ndarray  # (B,) by falling length: which sequence
    lengths: np.ndarray  # (B,) how long it is
    reverse: bool
    cuts: np.ndarray  # (T, B) int64: not 0: a reset cuts (t, b) off from t - 1. Empty: none
    blanks: np.ndarray  # (T, B) int64: not 0: zeros are read in place of x. Empty: nowhere


@jit
def read_input(given):
    """Return the BatchedInput of a kernel's argument."""
    x, index, time, row, order, lengths, reverse, cuts = given
    lengths, cuts = flat(lengths), flat(cuts)
    none = part_of(cuts, 0, 0)
    return BatchedInput(flat(x), flat(index), time, row, flat(order), lengths, reverse, cuts, none)


@jit
def read_rows(given):
    """Return the Rows of a kernel's argument."""
    array, at, time, row = given
    return Rows(flat(array), at, time, row)


class Operands(NamedTuple):
    """What the input and h are multiplied by."""

    packed: bool  # else w_ih and w_hh are the caller's own arrays
    gather: bool  # one-hot input picks columns of the caller's w_ih
    w_ih: np.ndarray
    w_hh: np.ndarray
    w_hr: np.ndarray  # packed (H, E); empty: no projection
    b_ih: np.ndarray  # with blocked columns (kernels/gemm.py), as b_hh
    b_hh: np.ndarray
    zeros: np.ndarray


class StateBuffers(NamedTuple):
    """The states before and after a step, in two buffers that swap roles at every step."""

    buffers: np.ndarray  # (2, states, B, row)
    stride: int  # distance between the two
    row: int  # at least Hp
    emitted: np.ndarray  # the h that W_hh multiplies; without projection, `buffers`
    emitted_stride: int  # 0: a projected h has one buffer
    emitted_row: int


class Kept(NamedTuple):
    """Where training keeps residuals, row by row; empty: it does not."""

    saved: np.ndarray  # (rows, Hp / lanes, saved, lanes)
    unprojected: np.ndarray  # (rows, Hp)
