"""Lengths for torch's own layers, which take packed input and refuse a length of zero.

What the kernels do with lengths, by torch's operations alone, so under any mode and of any dtype.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import rnn as packing

from fastrnn.nn.arguments import bare, members
from fastrnn.torch import operations


def forward(run: Callable, module: nn.RNNBase, x: Tensor, hx: Any, lengths: np.ndarray) -> tuple:
    """Run a layer on padded input; rows of length 0 are left out, their state is the one given.

    Args:
        run: takes packed input and a state, returns packed output and a state.
        module: whose layer it is.
        x: (T, B, I), or (B, T, I) with batch_first.
        hx: the initial state or None.
        lengths: (B,) integers in [0, T].
    """
    batch, time = (0, 1) if module.batch_first else (1, 0)
    rows = np.flatnonzero(lengths)
    if len(rows) == len(lengths):
        return _packed(run, module, x, hx, lengths, x.shape[time])
    index = torch.from_numpy(rows).to(x.device)
    given = () if hx is None else members(hx)
    if len(rows):
        some = bare(tuple(h.index_select(1, index) for h in given)) if given else None
        x = x.index_select(batch, index)
        output, after = _packed(run, module, x, some, lengths[rows], x.shape[time])
        after = members(after)
    else:  # a step of zeros, of which nothing is kept but the kind of tensors that come out
        one = x[:1, :1].masked_fill(x.new_ones((), dtype=torch.bool), 0)
        output, *after = operations.native_layer(module, one, (), module._flat_weights)
        output = output.index_select(batch, index).repeat_interleave(x.shape[time], time)
        after = [h.index_select(1, index) for h in after]
    shape = list(output.shape)
    shape[batch] = len(lengths)
    output = output.new_zeros(shape).index_copy(batch, index, output)
    if not given:
        given = [h.new_zeros((len(h), len(lengths), h.shape[2])) for h in after]
    pairs = zip(given, after, strict=True)
    return output, bare(tuple(h.to(new.dtype).index_copy(1, index, new) for h, new in pairs))


def _packed(run: Callable, module: nn.RNNBase, x: Tensor, hx: Any, lengths, time: int) -> tuple:
    """Run a layer on input packed by lengths of at least 1."""
    ends = torch.from_numpy(np.ascontiguousarray(lengths))
    packed = packing.pack_padded_sequence(x, ends, module.batch_first, enforce_sorted=False)
    output, hidden = run(packed, hx)
    padded, _ = packing.pad_packed_sequence(output, module.batch_first, total_length=time)
    return padded, hidden
