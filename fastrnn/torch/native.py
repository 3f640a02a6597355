"""Torch's own recurrent operations as functions, for where the kernels do not compute.

A layer, with lengths too, and a cell, under any mode and of any dtype. Torch takes packed input and
refuses a length of zero; here rows of length zero are left out. Nothing of this package runs here.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import rnn as packing
from torch.nn.utils.rnn import PackedSequence

from fastrnn.nn.arguments import bare, members

_VF = torch._VF
_LAYERS = {"RNN_TANH": _VF.rnn_tanh, "RNN_RELU": _VF.rnn_relu, "LSTM": _VF.lstm, "GRU": _VF.gru}
_CELLS = {nn.LSTMCell: _VF.lstm_cell, nn.GRUCell: _VF.gru_cell}


def batch_of(module: nn.RNNBase, x: Tensor) -> tuple[int, ...]:
    """Return the size of the batch of an input as a tuple, which is empty if it has none."""
    return () if x.dim() == 2 else (x.shape[0 if module.batch_first else 1],)


def state_shapes(module: nn.RNNBase, batch: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Return the shape of each member of a state for a batch of this size, or for none."""
    rows = module.num_layers * (1 + module.bidirectional)
    shapes = [(rows, *batch, module.proj_size or module.hidden_size)]
    return shapes + [(rows, *batch, module.hidden_size)] * (module.mode == "LSTM")


def layer(module: nn.RNNBase, x, states, weights, lengths=None):
    """Compute what a layer's call without resets does by torch's operations."""
    if lengths is not None:
        run = functools.partial(run_packed, module, weights=weights)
        hx = bare(tuple(states)) if states else None
        output, after = by_lengths(run, module, x, hx, lengths, weights)
        return [output, *members(after)]
    if not states:
        states = [x.new_zeros(shape) for shape in state_shapes(module, batch_of(module, x))]
    time = 0 if module.batch_first else 1
    unbatched = x.dim() == 2
    if unbatched:
        x, states = x.unsqueeze(time), [s.unsqueeze(1) for s in states]
    result = _operation(module, x, states, weights, module.batch_first)
    if unbatched:
        result = [result[0].squeeze(time), *(s.squeeze(1) for s in result[1:])]
    return result


def run_packed(module: nn.RNNBase, x: PackedSequence, hx: Any, weights: Sequence) -> tuple:
    """Compute what torch's layer does with packed input, without its dropout."""
    data, batch_sizes, order, inverse = x
    if hx is None:
        rows = (int(batch_sizes[0]),)
        hx = bare(tuple(data.new_zeros(shape) for shape in state_shapes(module, rows)))
    hx = module.permute_hidden(hx, order)
    output, *after = _operation(module, (data, batch_sizes), members(hx), weights)
    hidden: Any = bare(tuple(after))
    return PackedSequence(output, batch_sizes, order, inverse), module.permute_hidden(
        hidden, inverse
    )


def _operation(module, x, states, weights, *batch_first):
    """Call torch's operation: x is padded, or packed data and batch sizes."""
    hx = tuple(states) if module.mode == "LSTM" else states[0]
    options = (module.bias, module.num_layers, 0.0, False, module.bidirectional, *batch_first)
    x = x if isinstance(x, tuple) else (x,)
    return _LAYERS[module.mode](*x, hx, list(weights), *options)


def by_lengths(
    run: Callable, module: nn.RNNBase, x: Tensor, hx: Any, lengths: np.ndarray, weights: Any = None
) -> tuple:
    """Run a layer on padded input; rows of length 0 are left out, their state is the one given.

    Args:
        run: takes packed input and a state, returns packed output and a state.
        module: whose layer it is.
        x: (T, B, I), or (B, T, I) with batch_first.
        hx: the initial state or None.
        lengths: (B,) integers in [0, T].
        weights: in place of the module's; None (default): its own.
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
        own = module._flat_weights if weights is None else weights
        output, *after = layer(module, one, (), own)
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


def cell(module: nn.RNNCellBase, x, states, weights):
    """Compute what a cell's call does by torch's operations."""
    function = next((f for kind, f in _CELLS.items() if isinstance(module, kind)), None)
    function = function or getattr(_VF, f"rnn_{module.nonlinearity}_cell")
    count = 1 + isinstance(module, nn.LSTMCell)
    if not states:
        states = [x.new_zeros((*x.shape[:-1], module.hidden_size))] * count
    unbatched = x.dim() == 1
    if unbatched:
        x, states = x.unsqueeze(0), [s.unsqueeze(0) for s in states]
    weights = [*weights, *[None] * (4 - len(weights))]
    result = function(x, states[0] if count == 1 else list(states), *weights)
    result = (result,) if count == 1 else result
    return [r.squeeze(0) for r in result] if unbatched else result
