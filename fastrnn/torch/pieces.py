"""A layer's input split where resets cut it, for where torch's own operations compute.

Every piece is a row of its own, with a length; so what is computed is what lengths are (native.py),
and nothing crosses a cut, for there is nothing to cross. The kernels need none of this: they write
zeros over a state. Nothing of this package's kernels runs here.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import rnn as packing
from torch.nn.utils.rnn import PackedSequence

from fastrnn.nn.arguments import bare, members
from fastrnn.torch import native


class Pieces(NamedTuple):
    """P pieces of B rows, row by row; all int64."""

    row: np.ndarray  # (P,)
    start: np.ndarray  # (P,) the time of its first step
    length: np.ndarray  # (P,)
    opens: np.ndarray  # (P,) bool: the row's initial state is that of the piece, read forward
    first: np.ndarray  # (B,) the number of each row's first piece
    last: np.ndarray  # (B,)
    of_step: np.ndarray  # (T, B) which piece reads it; past a row's end its last one


def split(lengths: np.ndarray | None, reset: np.ndarray) -> Pieces:
    """Return the pieces of a batch.

    Args:
        lengths: (B,) integers in [0, T]; None: all are T.
        reset: (T, B) bool, T at least 1.
    """
    time, batch = reset.shape
    ends = np.full(batch, time) if lengths is None else lengths
    begins = reset & (np.arange(time)[:, None] < ends)
    cut_off = begins[0].copy()
    begins[0] = True
    row, start = np.nonzero(begins.T)
    first = np.searchsorted(row, np.arange(batch))
    last = np.append(first[1:], len(row)) - 1
    after = np.append(start[1:], 0)
    after[last] = ends
    opens = (start == 0) & ~cut_off[row]
    of_step = first + np.cumsum(begins, axis=0) - 1
    return Pieces(row, start, after - start, opens, first, last, of_step)


def by_pieces(
    run: Callable,
    module: nn.RNNBase,
    x: Tensor | PackedSequence,
    hx: Any,
    lengths: np.ndarray | None,
    reset: np.ndarray,
    weights: Any = None,
) -> tuple:
    """Run a layer on input cut by resets.

    Args:
        run: takes packed input and a state, returns packed output and a state.
        module: whose layer it is.
        x: (T, B, I), with batch_first (B, T, I), (T, I) unbatched, or packed.
        hx: the initial state or None.
        lengths: (B,) integers in [0, T], or None.
        reset: (T, B) bool, of packed input in the order of its rows before they were sorted.
        weights: in place of the module's; None (default): its own.
    """
    if isinstance(x, PackedSequence):
        padded, ends = packing.pad_packed_sequence(x, module.batch_first)
        output, after = by_pieces(run, module, padded, hx, ends.numpy(), reset, weights)
        if x.sorted_indices is not None:
            output = output.index_select(1 - module.batch_first, x.sorted_indices)
            ends = ends[x.sorted_indices.cpu()]
        packed = packing.pack_padded_sequence(output, ends, module.batch_first)
        return PackedSequence(packed.data, *x[1:]), after
    batch = 1 - module.batch_first
    given = () if hx is None else members(hx)
    unbatched = x.dim() == 2
    if unbatched:
        x, given = x.unsqueeze(batch), tuple(h.unsqueeze(1) for h in given)
    pieces = split(lengths, reset)
    longest = max(1, int(pieces.length.max()))
    places = np.minimum(pieces.start[:, None] + np.arange(longest), len(reset) - 1)
    cut = _taken(module, x, places.T, pieces.row[None])
    slots, directions = module.num_layers * (1 + module.bidirectional), 1 + module.bidirectional
    reverse = np.arange(slots) % directions == 1
    last = np.isin(np.arange(len(pieces.row)), pieces.last)
    enters = torch.from_numpy(np.where(reverse[:, None], last, pieces.opens)).to(x.device)
    rows = torch.from_numpy(pieces.row).to(x.device)
    some = [h.index_select(1, rows).masked_fill(~enters[:, :, None], 0) for h in given]
    state = bare(tuple(some)) if some else None
    output, after = native.by_lengths(run, module, cut, state, pieces.length, weights)
    past = np.arange(len(reset))[:, None] - pieces.start[pieces.of_step]
    output = _taken(module, output, np.minimum(past, longest - 1), pieces.of_step)
    if lengths is not None:
        ended = np.arange(len(reset))[:, None] >= lengths
        ended = torch.from_numpy(ended.T if module.batch_first else ended).to(x.device)
        output = output.masked_fill(ended[:, :, None], 0)
    leaves = np.where(reverse[:, None], pieces.first, pieces.last)
    index = torch.arange(slots, device=x.device)[:, None], torch.from_numpy(leaves).to(x.device)
    after = [h[index] for h in members(after)]
    if unbatched:
        output, after = output.squeeze(batch), [h.squeeze(1) for h in after]
    return output, bare(tuple(after))


def without(hx: Any, rows: np.ndarray) -> Any:
    """Return a state that is zero in some rows, (B,) bool; what is none is returned as it is."""
    if isinstance(hx, tuple | list):
        return tuple(without(h, rows) for h in hx)
    if not isinstance(hx, Tensor):
        return hx
    mask = torch.from_numpy(rows).to(hx.device)
    if hx.dim() == 3 and hx.shape[1] == len(rows):
        return hx.masked_fill(mask[:, None], 0)
    if hx.dim() == 2 and len(rows) == 1:  # no batch axis
        return hx.masked_fill(mask, 0)
    return hx  # of which torch will say what is wrong


def _taken(module: nn.RNNBase, x: Tensor, time: np.ndarray, row: np.ndarray) -> Tensor:
    """Return x at times and rows, two arrays (T', B') that broadcast, in the module's axes."""
    if module.batch_first:
        return x[torch.from_numpy(row.T).to(x.device), torch.from_numpy(time.T).to(x.device)]
    return x[torch.from_numpy(time).to(x.device), torch.from_numpy(row).to(x.device)]


def layer(module: nn.RNNBase, x, states, weights, lengths=None, reset=None):
    """Compute what a layer's call does by torch's operations."""
    if reset is None:
        return native.layer(module, x, states, weights, lengths)
    run = functools.partial(native.run_packed, module, weights=weights)
    hx = bare(tuple(states)) if states else None
    output, after = by_pieces(run, module, x, hx, lengths, reset, weights)
    return [output, *members(after)]
