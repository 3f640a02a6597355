"""How a call is run: what is decided from shapes alone, before any kernel runs.

A Plan says how work is cut among threads and in time, and where each region of the work space
lies. The same numbers come out whatever it says, but for the order of sums in `packed`, which
depends on shapes and never on threads. Memory is buffers.py's, the arithmetic the kernels'.
"""

from typing import NamedTuple

import numpy as np

from fastrnn.engine.batch import Batch
from fastrnn.engine.buffers import LINE, padded, pitch
from fastrnn.engine.cell import Cell
from fastrnn.engine.records import Sizes
from fastrnn.engine.work import BackwardRegions, ForwardRegions, plan_words
from fastrnn.kernels.tile import max_rows

_INPUT_BYTES = 1 << 18  # pre-activations made ahead of the time loop: they must stay in L2
_SHARED_OPERATIONS = 3e6  # of a call: below, waking a thread costs more than it saves
_LOCKSTEP_OPERATIONS = 2e5  # of a step: below, waiting for each other does
_CHUNK_OPERATIONS = 4e6  # of a step: smaller chunks would balance better but cost more
# Bytes of W_hh that each of several cores may read at every step, and the rows that each must have
# for it: a core's cache holds the first number, with more the cache that all share has to keep up.
_SHARED_WEIGHTS = (5 << 18, 8), (3 << 20, 16)
UNPACKED_STEPS, UNPACKED_ROWS = 8, 32  # for fewer, packing the weights costs more than it saves
_STEP_OPERATIONS, _STEP_ROWS = 11e6, 64  # of a single step: below, so do packing and waking
_BACKWARD_UNPACKED_ROWS = 64  # of BPTT: the same
_BLOCK_BYTES = 1 << 21  # gradients of pre-activations between two weight products
_BLOCK_ROWS = (256, 4096)
_PIECE_OPERATIONS = 4e9  # between two looks at Ctrl-C: a tenth of a second, at worst one second
_ROW_OPERATIONS = 2e4  # that one step of one row costs at least, however small it is


class Plan(NamedTuple):
    """How one direction of one layer is run, forward, backward or recomputed."""

    threads: int  # that may help
    packed: bool  # weights are packed; else kernels read the caller's arrays
    gather: bool  # one-hot input picks columns of the caller's w_ih
    chunks: int  # of hidden units that run in lockstep; 0: slices of the batch
    # Steps at a time. Forward and recomputed: whose pre-activations are made ahead of the time
    # loop; backward: between two weight products.
    block: int
    block_rows: int  # rows of a block at most
    cuts: np.ndarray  # slice p of the batch is cuts[p]..cuts[p + 1]
    regions: NamedTuple  # where each region of the work space starts, in elements
    size: int  # of the work space
    stride: int  # steps between two looks at Ctrl-C
    words: np.ndarray  # all that a kernel has to know of this (work.read_plan)

    def view(self, work: np.ndarray, region: str) -> np.ndarray:
        """Return a region of a work space, padding included."""
        number = self.regions._fields.index(region)
        ends = (*self.regions[1:], self.size)
        return work[self.regions[number] : ends[number]]


def _planned(
    sizes: Sizes, threads, packed, gather, chunks, block, block_rows, cuts, stride, regions
) -> Plan:
    """Lay out the regions, given their sizes, each on a cache line, and return the plan."""
    line = LINE // sizes.dtype.itemsize
    offsets = [0]
    for size in regions:
        offsets.append(offsets[-1] + -(-size // line) * line)
    fields = threads, packed, gather, chunks, block, block_rows
    starts, words = type(regions)(*offsets[:-1]), plan_words(fields, cuts, offsets)
    return Plan(*fields, cuts, starts, offsets[-1], stride, words)


def plan_forward(cell: Cell, sizes: Sizes, batch: Batch, one_hot: bool, threads: int) -> Plan:
    """Return the plan of a forward pass.

    Args:
        cell: what a step computes.
        sizes: of the weights.
        batch: the sequences, at least one.
        one_hot: the input is integers.
        threads: how many may be used.
    """
    count, steps, rows = len(batch.lengths), batch.steps, batch.rows
    packed = not is_unpacked(sizes, steps, rows, one_hot)
    return _forward(cell, sizes, batch, steps, rows, count, one_hot, threads, packed)


def plan_stream(cell: Cell, sizes: Sizes, batch: int, threads: int) -> Plan:
    """Return the plan of single steps without end, with weights that stay packed."""
    operations = 2 * sizes.columns * (sizes.emitted + sizes.input) * batch
    threads = threads if is_shared(operations) else 1
    steps = 1 << 40
    return _forward(cell, sizes, None, steps, steps * batch, batch, False, threads, True, 1)


def is_short(batch: Batch) -> bool:
    """Return whether a batch may be too short for packing the weights to pay."""
    return batch.rows <= (_STEP_ROWS if batch.steps == 1 else UNPACKED_ROWS)


def is_light(sizes: Sizes, steps: int, rows: int, one_hot: bool) -> bool:
    """Return whether a pass is a single step that one thread does soonest, as the weights are."""
    sums = sizes.emitted + (0 if one_hot else sizes.input)
    few = steps == 1 <= UNPACKED_STEPS and rows <= _STEP_ROWS
    return few and 2 * sizes.columns * sums * rows < _STEP_OPERATIONS


def is_unpacked(sizes: Sizes, steps: int, rows: int, one_hot: bool) -> bool:
    """Return whether a forward pass is too short for packing the weights to pay."""
    longest = sizes.emitted if one_hot else max(sizes.input, sizes.emitted)  # of the sums
    few = steps <= UNPACKED_STEPS and rows <= max(1, min(UNPACKED_ROWS, longest // 8))
    return few or is_light(sizes, steps, rows, one_hot)


def _forward(cell, sizes, batch, steps, rows, count, one_hot, threads, packed, block=None) -> Plan:
    item, columns = sizes.dtype.itemsize, sizes.columns
    per_row = 2 * columns * (sizes.emitted + (0 if one_hot else sizes.input))
    gather = one_hot and (not packed or sizes.input > 8 * rows)
    light = is_light(sizes, steps, rows, one_hot)
    threads = threads if is_shared(per_row * rows) and not light else 1
    panels = -(-columns // (cell.width * sizes.lanes))
    chunks = _chunks(sizes, per_row * count, columns, panels, count, threads)
    cuts = _cuts(1 if chunks else threads, count, batch)
    if len(cuts) == 2 and not chunks:
        threads = 1
    slices = len(cuts) - 1
    slice_rows = int(np.max(np.diff(cuts)))
    most = max(24, _INPUT_BYTES // (columns * item)) // max(1, slice_rows)
    block = block or max(1, min(steps, most))
    block_rows = block * slice_rows
    parts = threads if chunks else slices
    tile_rows = max_rows(cell.width)
    regions = ForwardRegions(
        w_ih=sizes.input * columns if packed and not gather else 0,
        w_hh=sizes.emitted * columns if packed else 0,
        w_hr=sizes.hidden * sizes.emitted_p if sizes.projects else 0,
        b_ih=columns,
        b_hh=columns,
        zeros=max(sizes.emitted_p, sizes.hidden_p),
        states=2 * sizes.states * count * pitch(sizes.hidden, sizes.dtype),
        emitted=count * sizes.emitted_p if sizes.projects else 0,
        x_rows=(
            0 if one_hot or count == 1 else parts * block_rows * pitch(sizes.input, sizes.dtype)
        ),
        a_x=slices * block_rows * columns,
        a_h=parts
        * (tile_rows if packed else max(tile_rows, slice_rows))
        * cell.width
        * sizes.lanes,
    )
    stride = _stride(per_row * count, count)
    return _planned(
        sizes, threads, packed, gather, chunks, block, block_rows, cuts, stride, regions
    )


def plan_backward(
    cell: Cell, sizes: Sizes, batch: Batch, one_hot: bool, wants_input: bool, threads: int
) -> Plan:
    """Return the plan of BPTT; wants_input: the gradient at the input is wanted."""
    steps, count, rows = batch.steps, len(batch.lengths), batch.rows
    dtype, k = sizes.dtype, sizes.gates * sizes.hidden
    per_row = 2 * k * sizes.emitted
    light = is_light(sizes, steps, rows, one_hot)
    threads = threads if is_shared(3 * per_row * rows) and not light else 1
    a_pitch = pitch(k, dtype)
    block = block_of_backward(k, dtype, steps, count)
    block_rows = block * count
    panels = -(-sizes.hidden_p // (4 * sizes.lanes))
    chunks = _chunks(sizes, per_row * count, k, panels, count, threads)
    cuts = _cuts(1 if chunks else threads, count, None if batch.equal else batch)
    packed = not is_unpacked_backward(sizes, rows, wants_input)
    input_p = padded(sizes.input, dtype)
    table = one_hot and sizes.input <= 8 * rows
    line = LINE // dtype.itemsize
    row = -(-block_rows * a_pitch // line) * line // block_rows  # of d_a, as its region is rounded
    regions = BackwardRegions(
        w_hh=k * sizes.emitted_p if packed else 0,
        w_hr=sizes.emitted * sizes.hidden_p if sizes.projects else 0,
        w_ih=k * input_p if wants_input and packed else 0,
        zeros=max(sizes.emitted_p, sizes.hidden_p, input_p),
        d_states=sizes.states * count * sizes.hidden_p,
        d_emitted=count * sizes.emitted_p,
        d_a_h=block_rows * a_pitch,
        d_a_x=0 if cell.shared else block_rows * a_pitch,
        h_rows=block_rows * pitch(max(sizes.emitted, sizes.hidden), dtype),
        d_h_rows=block_rows * pitch(sizes.emitted, dtype) if sizes.projects else 0,
        x_rows=0 if one_hot else block_rows * pitch(sizes.input, dtype),
        d_x_rows=(block_rows + threads) * input_p if wants_input else 0,
        table=sizes.input * row if table else 0,
    )
    stride = block * _stride(3 * per_row * block_rows, 3 * block_rows)
    return _planned(sizes, threads, packed, False, chunks, block, block_rows, cuts, stride, regions)


def is_unpacked_backward(sizes: Sizes, rows: int, wants_input: bool) -> bool:
    """Return whether BPTT reads the caller's weights: rows are few, and whole vectors."""
    whole = sizes.emitted % sizes.lanes == 0
    whole = whole and (not wants_input or sizes.input % sizes.lanes == 0)
    return whole and not sizes.projects and rows <= _BACKWARD_UNPACKED_ROWS


def is_shared(operations: float) -> bool:
    """Return whether this much work is worth waking a thread for."""
    return operations >= _SHARED_OPERATIONS


def block_of_backward(k: int, dtype: np.dtype, steps: int, count: int) -> int:
    """Return how many steps BPTT adds up at a time, of k pre-activations.

    It must not depend on the number of threads: it decides the order of summation.
    """
    fewest, most = _BLOCK_ROWS
    rows = min(most, max(fewest, _BLOCK_BYTES // (pitch(k, dtype) * dtype.itemsize)))
    return max(1, min(steps, rows // max(1, count)))


def plan_recompute(
    cell: Cell, sizes: Sizes, count: int, rows: int, one_hot: bool, threads: int
) -> Plan:
    """Return the plan of recomputing segments of at most `rows` rows, of `count` sequences."""
    columns, dtype = sizes.columns, sizes.dtype
    gather = one_hot and sizes.input > 8 * rows
    per_row = 2 * columns * (sizes.emitted + (0 if one_hot else sizes.input))
    threads = threads if is_shared(per_row * rows) else 1
    threads = min(threads, -(-columns // (cell.width * sizes.lanes)))  # each with hidden units
    block = max(1, _INPUT_BYTES // (columns * dtype.itemsize) // count)
    block_rows = block * count
    width = max(sizes.input, sizes.emitted)
    regions = ForwardRegions(
        w_ih=0 if gather else sizes.input * columns,
        w_hh=sizes.emitted * columns,
        w_hr=0,
        b_ih=columns,
        b_hh=columns,
        zeros=max(sizes.emitted_p, sizes.hidden_p),
        states=2 * sizes.states * count * pitch(sizes.hidden, dtype),
        emitted=count * sizes.emitted_p,
        x_rows=threads * block_rows * pitch(width, dtype),
        a_x=block_rows * columns,
        a_h=block_rows * columns,
    )
    stride = _stride(per_row * count, count)
    cuts = np.array([0, count])
    return _planned(sizes, threads, True, gather, 0, block, block_rows, cuts, stride, regions)


def _stride(operations: float, rows: int) -> int:
    """Return how many steps of this many operations and rows go between two looks at Ctrl-C."""
    return max(1, int(_PIECE_OPERATIONS / max(1, operations, _ROW_OPERATIONS * rows)))


def _chunks(sizes: Sizes, operations, columns: int, panels: int, count: int, threads: int) -> int:
    """Return in how many chunks hidden units run in lockstep; 0: not at all.

    Slices of the batch need not wait for each other, so they are better where they are tall
    enough for the tile and the weights small enough for every core's cache.
    """
    weights = columns * sizes.emitted * sizes.dtype.itemsize
    if threads == 1 or sizes.projects or operations < _LOCKSTEP_OPERATIONS:
        return 0
    if any(weights <= most and count >= rows * threads for most, rows in _SHARED_WEIGHTS):
        return 0
    each = max(1, min(4, int(operations / (threads * _CHUNK_OPERATIONS))))
    chunks = min(each * threads, panels, 64)
    return chunks if chunks > 1 else 0


def _cuts(parts: int, count: int, batch: Batch | None) -> np.ndarray:
    """Return where to cut the batch into at most `parts` slices of about the same work.

    batch: where lengths differ; None: slices of as many sequences each.
    """
    if batch is None or batch.equal:
        parts = max(1, min(parts, count))
        return np.arange(parts + 1) * count // parts
    return np.array([0] + [j1 for _, j1 in batch.slices(parts)])
