"""The weights of a pass: what they are, the sizes they imply, and how kernels read them.

Between torch's layout, which users see, and the packed one (kernels/gemm.py). Nothing is kept:
parameters are live, and packed anew for every call.
"""

from typing import NamedTuple

import numpy as np

from fastrnn import workspace
from fastrnn.cells import Cell
from fastrnn.kernels import gemm
from fastrnn.kernels.tile import WIDEST
from fastrnn.parameters import Parameters


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
    )


class Packed(NamedTuple):
    """Weights as the forward kernels read them (kernels/gemm.py)."""

    w_ih: np.ndarray
    b_ih: np.ndarray
    w_hh: np.ndarray
    b_hh: np.ndarray
    w_hr: np.ndarray  # empty: no projection
    zeros: np.ndarray


def plain(array: np.ndarray) -> np.ndarray:
    """Return the array, or a copy, as kernels are compiled for it: C-contiguous and writeable."""
    flags = array.flags
    return array if flags.c_contiguous and flags.writeable else np.array(array, order="C")


def pack(cell: Cell, weights: Weights, size: Sizes) -> Packed:
    """Pack the weights for the forward pass."""
    gates, projects = len(cell.gates), weights.w_hr is not None
    w_ih, w_hh, w_hr, b_ih, b_hh, zeros = workspace.empty(
        size.dtype,
        (size.input * size.columns,),
        (size.emitted * size.columns,),
        (size.hidden * size.emitted_p if projects else 0,),
        (size.columns,),
        (size.columns,),
        (max(size.emitted_p, size.hidden_p),),
    )
    gemm.pack_gates(plain(weights.w_ih), gates, cell.width, w_ih)
    gemm.pack_gates(plain(weights.w_hh), gates, cell.width, w_hh)
    if weights.w_hr is not None:
        gemm.pack_gates(plain(weights.w_hr), 1, WIDEST, w_hr)
    for blocked, bias in ((b_ih, weights.b_ih), (b_hh, weights.b_hh)):
        if bias is None:
            blocked.fill(0)
        else:
            gemm.block_bias(plain(bias), gates, blocked)
    zeros.fill(0)
    return Packed(w_ih, b_ih, w_hh, b_hh, w_hr, zeros)


def pack_transposed(weight: np.ndarray, gates: int, rows: int) -> np.ndarray:
    """Pack a weight for the backward pass: `rows` is the blocked size of its rows."""
    dtype = weight.dtype
    [packed] = workspace.empty(dtype, (rows * workspace.padded(weight.shape[1], dtype),))
    gemm.pack_gates_transposed(plain(weight), gates, packed)
    return packed


def in_torch_order(blocked: np.ndarray, like: np.ndarray, gates: int) -> np.ndarray:
    """Return the gradient of the parameter `like` from its sum with blocked rows."""
    result = np.empty(like.shape, like.dtype)
    pitch = blocked.size // len(blocked)
    gemm.unblock_rows(blocked.reshape(-1), pitch, gates, result.reshape(len(result), -1))
    return result
