"""The weights of a pass: what they are, the sizes they imply, and how kernels read them.

Between torch's layout, which users see, and the packed one (kernels/gemm.py). Nothing is kept:
parameters are live, and packed anew for every call.
"""

from typing import NamedTuple

import numpy as np

from fastrnn.cells import Cell
from fastrnn.engine import workspace
from fastrnn.nn.module import Parameters


class Weights(NamedTuple):
    """The parameters of one layer in one direction, as in torch; None: not there."""

    w_ih: np.ndarray  # (G*H, I)
    w_hh: np.ndarray  # (G*H, E)
    b_ih: np.ndarray | None  # (G*H,)
    b_hh: np.ndarray | None  # (G*H,)
    w_hr: np.ndarray | None  # (E, H)


TORCH_NAMES = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")  # of its fields


def weights_of(layer: Parameters, suffix: str = "") -> Weights:
    """Return the live parameters of one layer in one direction, checked."""
    w_ih, w_hh, *others = (name + suffix for name in TORCH_NAMES)
    b_ih, b_hh, w_hr = map(layer._optional, others)
    return Weights(layer._param(w_ih), layer._param(w_hh), b_ih, b_hh, w_hr)


class Sizes(NamedTuple):
    """The sizes of a pass; with a `p` behind it, rounded up to whole vectors."""

    dtype: np.dtype
    lanes: int
    input: int  # I
    hidden: int  # H
    hidden_p: int
    emitted: int  # E: H, or the projection's size
    emitted_p: int
    columns: int  # G*Hp: blocked pre-activations of a row
    projects: bool


def sizes_of(cell: Cell, weights: Weights) -> Sizes:
    """Return the sizes these weights imply."""
    dtype = weights.w_ih.dtype
    hidden, emitted = weights.w_ih.shape[0] // len(cell.gates), weights.w_hh.shape[1]
    hidden_p = workspace.padded(hidden, dtype)
    return Sizes(
        dtype,
        workspace.lanes(dtype),
        weights.w_ih.shape[1],
        hidden,
        hidden_p,
        emitted,
        workspace.padded(emitted, dtype),
        len(cell.gates) * hidden_p,
        weights.w_hr is not None,
    )


def plain(array: np.ndarray) -> np.ndarray:
    """Return the array, or a copy, as kernels are compiled for it: C-contiguous and writeable."""
    return array if array.flags.carray else np.array(array, order="C")


def is_plain(value, shape: tuple[int, ...], dtype: np.dtype) -> bool:
    """Return whether this is an array of that shape and type that kernels can take as it is."""
    return (
        type(value) is np.ndarray
        and value.shape == shape
        and value.dtype == dtype
        and value.flags.carray  # contiguous, aligned, writeable
    )
