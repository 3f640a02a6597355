"""What a node of autograd runs: the call of a layer or of a cell on arrays.

Each function returns an `autograd.Operation`: how to compute, what to keep for the gradient, and
the same by torch's own operations. Which call it is, and whether its arguments fit, is decided in
modules.py; single steps have their own way, single.py.
"""

import functools
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fastrnn import checks
from fastrnn.kernels.threads import get_num_threads
from fastrnn.nn.call import Call
from fastrnn.nn.module import MAX_PROGRAMS
from fastrnn.nn.program import prepare
from fastrnn.nn.single_step import StepTape
from fastrnn.torch.autograd import Operation
from fastrnn.torch.twin import Twin

_VF = torch._VF
_NATIVE = {"RNN_TANH": _VF.rnn_tanh, "RNN_RELU": _VF.rnn_relu, "LSTM": _VF.lstm, "GRU": _VF.gru}
_NATIVE_CELL = {nn.LSTMCell: _VF.lstm_cell, nn.GRUCell: _VF.gru_cell}


def of_layer(module: nn.RNNBase, twin: Twin, given: int, lengths: np.ndarray | None) -> Operation:
    """Return the call of a layer.

    Args:
        module: torch's.
        twin: of the module.
        given: how many states are.
        lengths: of the sequences, or None.

    Raises:
        TypeError, ValueError: lengths are not what they have to be.
    """
    owner = type(module).__name__
    dropout = module.dropout if module.training and module.num_layers > 1 else 0

    def forward(x, states, keep):
        program = _program(twin, x.shape, module.batch_first, keep, lengths is None and not dropout)
        call, ends, masks, every = program.call, None, (), 0
        if lengths is not None:
            ends = checks.lengths(owner, lengths, call.time, call.batch, call.batched)
        if dropout:
            shape = call.time, call.batch, program.output_shape[-1]
            layers = range(1, module.num_layers)
            masks = tuple(_dropout_mask(shape, dropout, twin.dtype, ends) for _ in layers)
        if keep:
            every = program.checkpoint_every(owner, module.checkpoint, module.memory, ends)
        output, final, tape = program.run(twin.arrays(), x, states or None, ends, masks, every)
        if isinstance(tape, StepTape) and module.num_layers > 1:
            # Upper layers read h_n, which the user gets and may change.
            tape = tape._replace(h_n=tape.h_n.copy())
        return [output, *final], keep and _pullback(program, tape, given)

    native = None if dropout else functools.partial(native_layer, module, lengths=lengths)
    return Operation(forward, native, given)


def _program(twin: Twin, x: tuple[int, ...], batch_first: bool, keep: bool, plain: bool) -> Any:
    """Return the program of a layer's call with input of this shape."""
    key = x, batch_first, keep, plain, get_num_threads()
    program = twin.programs.get(key)
    if program is None:
        batched = len(x) == 3
        time, batch = x[:2] if batched else (x[0], 1)
        if batched and batch_first:
            time, batch = batch, time
        call = Call(
            time,
            batch,
            get_num_threads(),
            batched=batched,
            batch_first=batched and batch_first,
            keep=keep,
            plain=plain,
        )
        if len(twin.programs) >= MAX_PROGRAMS:
            twin.programs.clear()
        program = twin.programs[key] = prepare(twin.spec, call)
    return program


def _pullback(program: Any, tape: Any, given: int):
    """Return the gradients of a call as autograd wants them; see autograd.Operation."""

    def pullback(d, wanted):
        d_final = None if all(one is None for one in d[1:]) else d[1:]
        d_x, d_initial, d_weights = program.pull(tape, d[0], d_final, wanted)
        return in_order(d_x, d_initial, d_weights, given)

    return pullback


def in_order(d_x, d_initial, d_weights, given: int) -> tuple:
    """Return gradients as autograd wants them: of the input, the given states, the weights."""
    params = [d for own in d_weights for d in own if d.size]
    return d_x, *(d_initial if given else ()), *params


def of_packed(module: nn.RNNBase, twin: Twin, given: int, batch_sizes: Tensor) -> Operation:
    """Return the call of a layer for packed data (N, I), in the order of a PackedSequence."""
    sizes = batch_sizes.numpy()
    steps, rows = len(sizes), int(sizes[0])
    real = sizes[:, None] > np.arange(rows)
    t, b = np.nonzero(real)
    places = b * steps + t if module.batch_first else t * rows + b
    shape = (rows, steps, -1) if module.batch_first else (steps, rows, -1)
    call = of_layer(module, twin, given, real.sum(axis=0))

    def pad(data):
        padded = np.zeros((steps * rows, data.shape[1]), data.dtype)
        padded[places] = data
        return padded.reshape(shape)

    def pack(array):
        return np.take(array.reshape(steps * rows, -1), places, axis=0)

    def forward(x, states, keep):
        (output, *after), back = call.forward(pad(x), states, keep)

        def pullback(d, wanted):
            d_output = None if d[0] is None else pad(d[0])
            d_x, *others = back([d_output, *d[1:]], wanted)
            return None if d_x is None else pack(d_x), *others

        return [pack(output), *after], pullback

    def native(x, states, weights):
        if not states:
            states = [x.new_zeros(shape) for shape in state_shapes(module, (rows,))]
        return _native(module, (x, batch_sizes), states, weights)

    return Operation(forward, native if call.native else None, given)


def batch_of(module: nn.RNNBase, x: Tensor) -> tuple[int, ...]:
    """Return the size of the batch of an input as a tuple, which is empty if it has none."""
    return () if x.dim() == 2 else (x.shape[0 if module.batch_first else 1],)


def state_shapes(module: nn.RNNBase, batch: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Return the shape of each member of a state for a batch of this size, or for none."""
    rows = module.num_layers * (1 + module.bidirectional)
    shapes = [(rows, *batch, module.proj_size or module.hidden_size)]
    return shapes + [(rows, *batch, module.hidden_size)] * (module.mode == "LSTM")


def of_cell(module: nn.RNNCellBase, twin: Twin, given: int) -> Operation:
    """Return the call of a cell; arguments as of_layer's."""

    def forward(x, states, keep):
        batched = x.ndim == 2
        call = Call(
            1,
            len(x) if batched else 1,
            get_num_threads(),
            batched=batched,
            stacked=False,
            emit=False,
            keep=keep,
        )
        program = prepare(twin.spec, call)
        _, final, tape = program.run(twin.arrays(), x, states or None)
        back = _pullback(program, tape, given)
        return list(final), keep and (lambda d, wanted: back([None, *d], wanted))

    return Operation(forward, functools.partial(native_cell, module), given)


def native_layer(module: nn.RNNBase, x, states, weights, lengths=None):
    """Compute what a layer's call does by torch's operations."""
    if not states:
        states = [x.new_zeros(shape) for shape in state_shapes(module, batch_of(module, x))]
    if lengths is not None:
        return _native_packed(module, x, states, weights, lengths)
    time = 0 if module.batch_first else 1
    unbatched = x.dim() == 2
    if unbatched:
        x, states = x.unsqueeze(time), [s.unsqueeze(1) for s in states]
    result = _native(module, x, states, weights, module.batch_first)
    if unbatched:
        result = [result[0].squeeze(time), *(s.squeeze(1) for s in result[1:])]
    return result


def _native(module, x, states, weights, *batch_first):
    """Call torch's operation: x is padded, or packed data and batch sizes."""
    hx = tuple(states) if module.mode == "LSTM" else states[0]
    options = (module.bias, module.num_layers, 0.0, False, module.bidirectional, *batch_first)
    x = x if isinstance(x, tuple) else (x,)
    return _NATIVE[module.mode](*x, hx, list(weights), *options)


def _native_packed(module, x, states, weights, lengths):
    rows = np.argsort(-lengths, kind="stable")[: np.count_nonzero(lengths)]
    ends, index = torch.from_numpy(lengths[rows].astype(np.int64)), torch.from_numpy(rows)
    first, batch = module.batch_first, 0 if module.batch_first else 1
    packed = _VF._pack_padded_sequence(x.index_select(batch, index), ends, first)
    output, *after = _native(module, packed, [s.index_select(1, index) for s in states], weights)
    padded, _ = _VF._pad_packed_sequence(output, packed[1], first, 0.0, x.shape[1 - batch])
    # Rows of length 0 are left out: their output is 0, their state the one given.
    output = x.new_zeros((*x.shape[:2], padded.shape[2])).index_copy(batch, index, padded)
    pairs = zip(states, after, strict=True)
    return [output, *(given.index_copy(1, index, new) for given, new in pairs)]


def native_cell(module: nn.RNNCellBase, x, states, weights):
    """Compute what a cell's call does by torch's operations."""
    function = next((f for kind, f in _NATIVE_CELL.items() if isinstance(module, kind)), None)
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


def dropout_factors(p: float, dtype: torch.dtype, shape) -> Tensor:
    """Return what dropout multiplies by, 0 or 1 / (1 - p), drawn as torch draws it."""
    if p == 1:
        return torch.zeros(shape, dtype=dtype, device="cpu")
    return torch.empty(shape, dtype=dtype, device="cpu").bernoulli_(1 - p).div_(1 - p)


def _dropout_mask(shape: tuple, p: float, dtype: torch.dtype, lengths) -> np.ndarray:
    """Return the factors of dropout for a (T, B, W) array, drawn as torch draws them."""
    if lengths is None:
        return dropout_factors(p, dtype, shape).numpy()
    order = np.argsort(-lengths, kind="stable")  # torch's input is packed: longest first
    real = np.arange(shape[0])[:, None] < lengths[order]
    factors = dropout_factors(p, dtype, (int(real.sum()), shape[2])).numpy()
    in_order, result = np.zeros(shape, factors.dtype), np.zeros(shape, factors.dtype)
    in_order[real] = factors
    result[:, order] = in_order
    return result
