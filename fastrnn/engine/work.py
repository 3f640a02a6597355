"""The work space of a kernel: its regions by name, and what a kernel reads of its Plan.

plan.py says how large each region is; a kernel finds it by the number its name has here.
"""

from typing import NamedTuple

import numpy as np

from fastrnn.kernels.jit import jit
from fastrnn.kernels.memory import flat, part_of


class ForwardRegions(NamedTuple):
    """Of forward passes and recomputed segments; rows are (.., row length)."""

    w_ih: int  # packed; empty: the caller's, as w_hh
    w_hh: int
    w_hr: int  # packed; empty: no projection
    b_ih: int  # blocked columns, as b_hh
    b_hh: int
    zeros: int
    states: int  # (2, states, B, row)
    emitted: int  # (B, row) h under a projection
    x_rows: int  # rows of x gathered, of each part
    a_x: int  # pre-activations of the input of a block, of each slice
    a_h: int  # pre-activations of h of a tile, of each part; recomputed: of a block


class BackwardRegions(NamedTuple):
    """Of BPTT."""

    w_hh: int  # packed; empty: the caller's, as w_ih
    w_hr: int  # packed; empty: no projection
    w_ih: int
    zeros: int
    d_states: int  # (states, B, Hp)
    d_emitted: int  # (B, Ep)
    d_a_h: int  # (rows of a block, pitch) gradients of pre-activations
    d_a_x: int  # the same; empty where a cell shares them
    h_rows: int  # (rows of a block, pitch) h before each step
    d_h_rows: int  # (rows of a block, pitch) gradients at each projected h
    x_rows: int  # (rows of a block, pitch)
    d_x_rows: int  # (.., Ip) of each thread
    table: int  # (I, pitch) gradient of W_ih for one-hot input, transposed


FORWARD = ForwardRegions(*range(len(ForwardRegions._fields)))
BACKWARD = BackwardRegions(*range(len(BackwardRegions._fields)))


class KernelPlan(NamedTuple):
    """The part of a Plan that kernels read; see there."""

    threads: int
    packed: bool
    gather: bool
    chunks: int
    block: int
    block_rows: int
    cuts: object  # flat int64, as offsets: of the regions, and their end
    offsets: object


def plan_words(fields: tuple, cuts, offsets) -> np.ndarray:
    """Return a KernelPlan as the one array that kernels take, for read_plan.

    fields: all but cuts and offsets, in their order.
    """
    return np.array([*fields, len(cuts) - 1, *cuts, *offsets], np.int64)


@jit
def read_plan(words):
    """Return the KernelPlan in what plan_words has made."""
    words = flat(words)
    slices = words[6]
    return KernelPlan(
        words[0],
        words[1] != 0,
        words[2] != 0,
        words[3],
        words[4],
        words[5],
        part_of(words, 7, slices + 1),
        part_of(words, 8 + slices, words.size - 8 - slices),
    )


@jit
def region(work, offsets, number, part, parts):
    """Return one part of a region, by its number in FORWARD or BACKWARD."""
    size = (offsets[number + 1] - offsets[number]) // parts
    return part_of(work, offsets[number] + part * size, size)
