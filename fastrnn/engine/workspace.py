"""Every buffer a pass needs: its shape, how long it lives, how rows of a user's array are found.

Nothing is computed here. All memory a kernel writes comes from `memory`, so the tests fill it with
NaN there and see whatever is read before it is written.
"""

import functools
import itertools
import math
from typing import NamedTuple

import numpy as np

from fastrnn.kernels.simd import bytes_of_register

_LINE = 64  # bytes of a cache line
_SMALL = 1 << 14  # elements of memory that need not begin on one
_INPUT_BYTES = 1 << 18  # pre-activations made ahead of the time loop: they must stay in L2
_SHARED_OPERATIONS = 3e6  # of a call: below, waking a thread costs more than it saves
_MARCH_OPERATIONS = 2e5  # of a step: below, waiting for each other does
_CHUNK_OPERATIONS = 5e5  # of a step: smaller chunks would balance better but cost more
_SHARED_WEIGHTS = 1 << 19  # bytes of W_hh that each of several cores may read at every step
THIN_STEPS, THIN_ROWS = 8, 32  # for fewer, packing the weights would cost more than it saves
_FEW_ROWS = 64  # of BPTT: the same
_PIECE_BYTES = 1 << 21  # pre-activation gradients between two weight products
_PIECE_ROWS = (256, 4096)
_PIECE_OPERATIONS = 4e9  # between two looks at Ctrl-C: a tenth of a second, at worst one second
_LEAST_OPERATIONS = 2e4  # that one step of one row costs at least, however small it is


def lanes(dtype: np.dtype) -> int:
    """Return how many elements of this type make a vector."""
    return bytes_of_register() // dtype.itemsize


def padded(n: int, dtype: np.dtype) -> int:
    """Return n rounded up to whole vectors."""
    width = lanes(dtype)
    return -(-n // width) * width


def pitch(n: int, dtype: np.dtype) -> int:
    """Return a row length of at least n, of whole vectors, whose rows do not share cache sets.

    Products walk such rows column-wise; rows a multiple of 1 KiB apart would evict each other.
    """
    row = padded(n, dtype)
    return row + _LINE // dtype.itemsize if row * dtype.itemsize % 1024 == 0 else row


def memory(size: int) -> np.ndarray:
    """Return so many bytes, uninitialised."""
    return np.empty(size, np.uint8)


def empty(dtype: np.dtype, *shapes: tuple[int, ...]) -> list[np.ndarray]:
    """Return uninitialised C-contiguous arrays that live and die together.

    Each begins on a cache line; they are cut from one piece, which is faster than asking often.
    """
    sizes = [-(-math.prod(shape) * dtype.itemsize // _LINE) * _LINE for shape in shapes]
    piece = memory(sum(sizes) + _LINE)
    at, arrays = -piece.ctypes.data % _LINE, []
    for shape, size in zip(shapes, sizes, strict=True):
        arrays.append(np.ndarray(shape, dtype, piece, at))
        at += size
    return arrays


def scratch(dtype: np.dtype, size: int) -> np.ndarray:
    """Return one such array; a small one begins anywhere, which is quicker."""
    return np.empty(size, dtype) if size < _SMALL else empty(dtype, (size,))[0]


def zeros(dtype: np.dtype, *shapes: tuple[int, ...]) -> list[np.ndarray]:
    """Return such arrays full of zeros."""
    arrays = empty(dtype, *shapes)
    for array in arrays:
        array.fill(0)
    return arrays


class _Memory:
    """Memory of another array, said to be writeable: kernels are compiled for such."""

    def __init__(self, array: np.ndarray):
        self._array = array  # keeps it alive
        known = array.__array_interface__
        self.__array_interface__ = {**known, "data": (known["data"][0], False)}


def _writeable(array: np.ndarray) -> np.ndarray:
    """Return a view of a read-only array that kernels take. None writes to what it only reads."""
    return np.asarray(_Memory(array)) if array.size else array.copy()


class Rows(NamedTuple):
    """A (T, B, F) array as kernels see it: row (t, b) begins at element at + t * time + b * row."""

    array: np.ndarray  # C-contiguous, 3-D, or for indices 2-D
    at: int
    time: int
    row: int


def rows_of(array: np.ndarray) -> Rows:
    """Return the rows of a (T, B, F) or, for indices, (T, B) array.

    Without a copy if its memory is in that order or batch first and has no gaps: kernels are
    compiled for one kind of array. Else of a copy.
    """
    time, batch = array.shape[:2]
    width = array.shape[2] if array.ndim == 3 else 1
    if not array.flags.writeable:  # a file mapped for reading may be larger than memory
        array = _writeable(array)
    if array.flags.carray:
        return Rows(array, 0, batch * width, width)
    batch_first = array.swapaxes(0, 1)
    if batch_first.flags.carray:
        return Rows(batch_first, 0, width, time * width)
    return Rows(np.array(array, order="C"), 0, batch * width, width)


class Batch(NamedTuple):
    """The sequences of a batch, sorted by falling length, as the time loop wants them."""

    order: np.ndarray  # (B,) int64: which sequence
    lengths: np.ndarray  # (B,) int64: how long
    steps: int  # of the longest
    rows: int  # steps of all together

    def row_at(self, s: int) -> int:
        """Return the number of the first row of step s."""
        if self.rows == self.steps * len(self.lengths):
            return s * len(self.lengths)
        return int(np.minimum(self.lengths, s).sum())

    def slices(self, parts: int) -> list[tuple[int, int]]:
        """Return at most `parts` ranges of sequences with about the same number of steps."""
        if parts == 1:
            return [(0, len(self.lengths))]
        ends = np.cumsum(self.lengths)
        cuts = np.searchsorted(ends, np.arange(1, parts) * self.rows / parts, side="left") + 1
        bounds = [0, *cuts.tolist(), len(self.lengths)]
        return [(a, b) for a, b in itertools.pairwise(bounds) if a < b]


@functools.lru_cache(maxsize=64)
def _equal_batch(time: int, batch: int) -> "Batch":
    order, lengths = np.arange(batch), np.full(batch, time)
    return Batch(order, lengths, time if batch else 0, time * batch)


def sort_by_length(time: int, batch: int, lengths: np.ndarray | None) -> Batch:
    """Return the batch of sequences with these lengths, all `time` long if there are none."""
    if lengths is None:
        return _equal_batch(time, batch)
    order = np.argsort(-lengths, kind="stable")
    ordered = lengths[order]
    return Batch(order, ordered, int(ordered[0]) if batch else 0, int(ordered.sum()))


class Plan(NamedTuple):
    """How a forward pass is run: all that is decided before it, and where its memory lies."""

    threads: int  # that may help
    thin: bool  # weights are read as they lie
    gather: bool  # columns of w_ih are picked as they lie
    chunks: int  # of hidden units that march; 0: slices of the batch
    chunk: int  # steps for which the input part is computed ahead
    cuts: np.ndarray  # slice p of the batch is cuts[p]..cuts[p + 1]
    offsets: np.ndarray  # of the regions of the work space, in elements (forward.py)
    size: int  # of the work space
    stride: int  # steps between two looks at Ctrl-C


def plan_forward(sizes, cell, tallest, batch: "Batch", one_hot: bool, threads: int) -> Plan:
    """Return the plan for a batch."""
    count = len(batch.lengths)
    known = (sizes, len(cell.gates), len(cell.states), cell.width, tallest, batch.steps, count,
             one_hot, threads)  # fmt: skip
    if batch.rows == batch.steps * count:
        return plan_equal(*known)
    return _plan(*known, batch)


def plan_stream(sizes, cell, tallest, batch: int, threads: int) -> Plan:
    """Return the plan for one step after another, without end, of packed weights."""
    if 2 * sizes.columns * (sizes.emitted + sizes.input) * batch < _SHARED_OPERATIONS:
        threads = 1
    return _plan(sizes, len(cell.gates), len(cell.states), cell.width, tallest, 1 << 40, batch,
                 False, threads)._replace(chunk=1)  # fmt: skip


def _plan(sizes, gates, states, width, tallest, steps, count, one_hot, threads, batch=None) -> Plan:
    rows = steps * count if batch is None else batch.rows
    item, columns = sizes.dtype.itemsize, sizes.columns
    per_row = 2 * columns * (sizes.emitted + (0 if one_hot else sizes.input))
    longest = sizes.emitted if one_hot else max(sizes.input, sizes.emitted)  # of the sums
    thin = steps <= THIN_STEPS and rows <= max(1, min(THIN_ROWS, longest // 8))
    gather = one_hot and (thin or sizes.input > 8 * rows)
    if per_row * rows < _SHARED_OPERATIONS:
        threads = 1
    panels = -(-columns // (width * sizes.lanes))
    chunks = _chunks(sizes, per_row * count, columns, panels, count, threads)
    cuts = _cuts(1 if chunks else threads, count, batch)
    if len(cuts) == 2 and not chunks:
        threads = 1
    slices = len(cuts) - 1
    widest = int(np.max(np.diff(cuts)))
    chunk = max(1, min(steps, max(24, _INPUT_BYTES // (columns * item)) // max(1, widest)))
    most = chunk * widest
    parts = threads if chunks else slices
    offsets, size = _regions(sizes.dtype, [
        0 if thin or gather else sizes.input * columns,
        0 if thin else sizes.emitted * columns,
        sizes.hidden * sizes.emitted_p if sizes.projects else 0,
        columns,
        columns,
        max(sizes.emitted_p, sizes.hidden_p),
        2 * states * count * pitch(sizes.hidden, sizes.dtype),
        count * sizes.emitted_p if sizes.projects else 0,
        0 if one_hot or count == 1 else parts * most * pitch(sizes.input, sizes.dtype),
        slices * most * columns,
        parts * (max(tallest, widest) if thin else tallest) * width * sizes.lanes,
    ])  # fmt: skip
    stride = _stride(per_row * count, count)
    return Plan(threads, thin, gather, chunks, chunk, cuts, offsets, size, stride)


plan_equal = functools.lru_cache(maxsize=256)(_plan)  # of sequences of one length


class BackPlan(NamedTuple):
    """How a backward pass is run, like Plan."""

    threads: int
    chunks: int
    cuts: np.ndarray
    parts: int  # in which the products over many steps are shared
    piece: int  # steps between two such products
    most: int  # rows of a piece
    packed: bool  # weights are; else they are read as they lie
    offsets: np.ndarray  # of the regions of the work space (backward.py)
    size: int
    stride: int


def plan_backward(
    sizes, cell, batch: "Batch", one_hot: bool, wanted: bool, threads: int
) -> BackPlan:
    """Return the plan of BPTT for a batch; `wanted`: the gradient at the input is."""
    count = len(batch.lengths)
    known = (sizes, len(cell.gates), len(cell.states), cell.shared, batch.steps, count, one_hot,
             wanted, threads)  # fmt: skip
    if batch.rows == batch.steps * count:
        return back_plan_equal(*known)
    return _back_plan(*known, batch)


def _back_plan(sizes, gates, states, shared, steps, count, one_hot, wanted, threads, batch=None):
    rows = steps * count if batch is None else batch.rows
    dtype, item = sizes.dtype, sizes.dtype.itemsize
    k = gates * sizes.hidden
    per_row = 2 * k * sizes.emitted
    if 3 * per_row * rows < _SHARED_OPERATIONS:
        threads = 1
    a_pitch = pitch(k, dtype)
    piece = piece_of(k, dtype, steps, count)
    most = piece * count
    panels = -(-sizes.hidden_p // (4 * sizes.lanes))
    chunks = _chunks(sizes, per_row * count, k, panels, count, threads)
    cuts = _cuts(1 if chunks else threads, count, batch)
    h_pitch = pitch(max(sizes.emitted, sizes.hidden), dtype)
    input_p = padded(sizes.input, dtype)
    table = one_hot and sizes.input <= 8 * rows
    whole = sizes.emitted % sizes.lanes == 0 and (not wanted or sizes.input % sizes.lanes == 0)
    packed = sizes.projects or not whole or rows > _FEW_ROWS
    line = _LINE // item
    row = -(-most * a_pitch // line) * line // most  # of d_a: its region is whole cache lines
    offsets, size = _regions(dtype, [
        k * sizes.emitted_p if packed else 0,
        sizes.emitted * sizes.hidden_p if sizes.projects else 0,
        k * input_p if wanted and packed else 0,
        max(sizes.emitted_p, sizes.hidden_p, input_p),
        states * count * sizes.hidden_p,
        count * sizes.emitted_p,
        most * a_pitch,
        0 if shared else most * a_pitch,
        most * h_pitch,
        most * pitch(sizes.emitted, dtype) if sizes.projects else 0,
        0 if one_hot else most * pitch(sizes.input, dtype),
        (most + threads) * input_p if wanted else 0,
        sizes.input * row if table else 0,
    ])  # fmt: skip
    stride = piece * _stride(3 * per_row * most, 3 * most)
    return BackPlan(threads, chunks, cuts, threads, piece, most, packed, offsets, size,
                    stride)  # fmt: skip


back_plan_equal = functools.lru_cache(maxsize=256)(_back_plan)  # of sequences of one length


def piece_of(k: int, dtype: np.dtype, steps: int, count: int) -> int:
    """Return how many steps BPTT adds up at a time, of k pre-activations.

    It must not depend on the number of threads: it decides the order of summation.
    """
    least, most = _PIECE_ROWS
    rows = min(most, max(least, _PIECE_BYTES // (pitch(k, dtype) * dtype.itemsize)))
    return max(1, min(steps, rows // max(1, count)))


class ReplayPlan(NamedTuple):
    """How a stretch of steps is computed again, like Plan."""

    threads: int  # each with a part of the hidden units
    gather: bool
    chunk: int  # steps whose pre-activations are computed at once
    offsets: np.ndarray  # of the regions of the work space (those of forward.py)
    size: int
    stride: int  # steps between two looks at Ctrl-C


def plan_replay(sizes, cell, count: int, rows: int, one_hot: bool, threads: int) -> ReplayPlan:
    """Return the plan for stretches of `rows` rows, of `count` sequences."""
    columns = sizes.columns
    gather = one_hot and sizes.input > 8 * rows
    per_row = 2 * columns * (sizes.emitted + (0 if one_hot else sizes.input))
    n = min(parts(per_row * rows, threads), -(-columns // (cell.width * sizes.lanes)))
    chunk = max(1, _INPUT_BYTES // (columns * sizes.dtype.itemsize) // count)
    most = chunk * count
    offsets, size = _regions(sizes.dtype, [
        0 if gather else sizes.input * columns,
        sizes.emitted * columns,
        0,
        columns,
        columns,
        max(sizes.emitted_p, sizes.hidden_p),
        2 * len(cell.states) * count * pitch(sizes.hidden, sizes.dtype),
        count * sizes.emitted_p,
        0 if count == 1 else n * most * pitch(max(sizes.input, sizes.emitted), sizes.dtype),
        most * columns,
        most * columns,
    ])  # fmt: skip
    return ReplayPlan(n, gather, chunk, offsets, size, _stride(per_row * count, count))


def _stride(operations: float, rows: int) -> int:
    """Return how many steps of so many operations and rows go between two looks at Ctrl-C."""
    return max(1, int(_PIECE_OPERATIONS / max(1, operations, _LEAST_OPERATIONS * rows)))


def _chunks(sizes, operations: float, columns: int, panels: int, count: int, threads: int) -> int:
    """Return in how many chunks of hidden units to march; 0: not.

    Slices of the batch need not wait for each other, so they are better where they are tall
    enough for the tile and the weights small enough for every core's cache.
    """
    small = columns * sizes.emitted * sizes.dtype.itemsize <= _SHARED_WEIGHTS
    if threads == 1 or sizes.projects or operations < _MARCH_OPERATIONS:
        return 0
    if small and count >= 8 * threads:
        return 0
    wanted = max(threads, min(4 * threads, int(operations / _CHUNK_OPERATIONS)))
    chunks = min(wanted, panels, 64)
    return chunks if chunks > 1 else 0


def _cuts(parts, count, batch):
    """Return where to cut the batch into at most so many slices of about the same work."""
    if batch is None:
        parts = max(1, min(parts, count))
        return np.arange(parts + 1) * count // parts
    return np.array([0] + [j1 for _, j1 in batch.slices(parts)])


def _regions(dtype, sizes):
    """Return where regions of these sizes begin, each on a cache line, and where they end."""
    line = _LINE // dtype.itemsize
    offsets = np.zeros(len(sizes) + 1, np.int64)
    np.cumsum([-(-size // line) * line for size in sizes], out=offsets[1:])
    return offsets, int(offsets[-1])


def parts(operations: float, threads: int) -> int:
    """Return among how many threads this much work is worth sharing."""
    return threads if operations >= _SHARED_OPERATIONS else 1
