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
from torch.nn.utils.rnn import PackedSequence

from fastrnn import checks
from fastrnn.engine.batch import batch_of
from fastrnn.kernels.threads import get_num_threads
from fastrnn.nn.arguments import bare, members
from fastrnn.nn.call import Call
from fastrnn.nn.module import MAX_PROGRAMS
from fastrnn.nn.program import prepare
from fastrnn.torch import native, pieces
from fastrnn.torch.autograd import Operation, Results, arrays_of
from fastrnn.torch.saved import Choice, choose, unread_weights
from fastrnn.torch.twin import Twin, grouped


def of_layer(
    module: nn.RNNBase,
    twin: Twin,
    given: int,
    lengths: np.ndarray | None,
    reset: np.ndarray | None,
    handed_out: bool = True,
) -> Operation:
    """Return the call of a layer.

    Args:
        module: torch's.
        twin: of the module.
        given: how many states are.
        lengths: of the sequences, or None.
        reset: (T, B) bool, or None.
        handed_out: the output goes to the user as it is.

    Raises:
        TypeError, ValueError: lengths are not what they have to be.
    """
    owner = type(module).__name__
    dropout = module.dropout if module.training and module.num_layers > 1 else 0

    def forward(x, states, keep, wanted):
        given = len(states)
        plain = lengths is None and not dropout
        program, choice = _program(twin, x.shape, module.batch_first, (keep, *wanted, plain), given)
        call, ends, masks, every, batch = program.call, None, (), 0, None
        if lengths is not None:
            ends = checks.lengths(owner, lengths, call.time, call.batch, call.batched)
        if lengths is not None or reset is not None:
            batch = batch_of(call.time, call.batch, ends, reset)
        if dropout:
            shape = call.time, call.batch, program.output_shape[-1]
            layers = range(1, module.num_layers)
            masks = tuple(_dropout_mask(shape, dropout, twin.dtype, ends) for _ in layers)
        if keep:
            every = program.checkpoint_every(owner, module.checkpoint, module.memory, batch)
        output, final, tape = program.run(twin.arrays(), x, states or None, batch, masks, every)
        if every:  # it computes everything again
            choice = choose(twin, given, ())
        return _results([output, *final], program, tape, handed_out, choice)

    by_torch = None
    if not dropout:
        by_torch = functools.partial(pieces.layer, module, lengths=lengths, reset=reset)
    copies = module.batch_first or not any(weight.requires_grad for weight in twin.weights)
    return Operation(forward, functools.partial(_backward, given), by_torch, given, copies)


def _program(
    twin: Twin, x: tuple[int, ...], batch_first: bool, wanted: tuple, given: int
) -> tuple[Any, Choice]:
    """Return the program of a layer's call with input of this shape, and what its gradient reads.

    wanted: Call's keep and wrt_input; whether states' gradients are; Call's plain.
    """
    key = x, batch_first, wanted, given, get_num_threads()
    known = twin.programs.get(key)
    if known is None:
        batched, (keep, *wrt, plain) = len(x) == 3, wanted
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
            wrt_input=wrt[0],
            plain=plain,
        )
        choice = choose(twin, given, unread_weights(twin, time, wrt))
        known = _remembered(twin, key, call, choice)
    return known


def _results(arrays: list, program: Any, tape: Any, handed_out: bool, choice: Choice) -> Results:
    if tape is None:
        return Results(arrays)
    kept, rest = tape.split(handed_out)
    return Results(arrays, kept, choice, (program, rest, tape.weights))


def _backward(given: int, kept, rest: tuple, inputs: tuple, d, wrt_input: bool) -> tuple:
    """Return gradients; see autograd.Operation."""
    (program, tape, weights), (x, states, moved) = rest, inputs
    if moved is not None:
        weights = grouped(program.spec, arrays_of(moved))
    tape = tape.joined(kept, weights, x, program.states(states or None))
    if not program.call.emit:  # a cell
        d = [None, *d]
    d_final = None if all(one is None for one in d[1:]) else d[1:]
    d_x, d_initial, d_weights = program.pull(tape, d[0], d_final, wrt_input)
    return in_order(d_x, d_initial, d_weights, given)


def in_order(d_x, d_initial, d_weights, given: int) -> tuple:
    """Return gradients as autograd wants them: of the input, the given states, the weights."""
    params = [d for own in d_weights for d in own if d.size]
    return d_x, *(d_initial if given else ()), *params


def of_packed(
    module: nn.RNNBase, twin: Twin, given: int, batch_sizes: Tensor, reset: np.ndarray | None
) -> Operation:
    """Return the call of a layer for packed data (N, I), in the order of a PackedSequence."""
    sizes = batch_sizes.numpy()
    steps, rows = len(sizes), int(sizes[0])
    lengths = (sizes[:, None] > np.arange(rows)).sum(axis=0)
    call = of_layer(module, twin, given, lengths, reset, handed_out=False)
    shape = (rows, steps, -1) if module.batch_first else (steps, rows, -1)

    def pad(data, places):
        padded = np.zeros((steps * rows, data.shape[1]), data.dtype)
        padded[places] = data
        return padded.reshape(shape)

    def pack(array, places):
        return np.take(array.reshape(steps * rows, -1), places, axis=0)

    def forward(x, states, keep, wanted):
        t, b = np.nonzero(np.arange(steps)[:, None] < lengths)
        places = b * steps + t if module.batch_first else t * rows + b
        results = call.forward(pad(x, places), states, keep, wanted)
        output, *after = results.arrays
        return results._replace(arrays=[pack(output, places), *after], kept=[places, *results.kept])

    def backward(kept, rest, inputs, d, wrt_input):
        (places, *kept), (x, *others) = kept, inputs
        d_output = None if d[0] is None else pad(d[0], places)
        inputs = pad(x, places), *others
        d_x, *d_others = call.backward(kept, rest, inputs, [d_output, *d[1:]], wrt_input)
        return None if d_x is None else pack(d_x, places), *d_others

    def whole(x, states, weights):
        packed, hx = PackedSequence(x, batch_sizes), bare(tuple(states)) if states else None
        run = functools.partial(native.run_packed, module, weights=weights)
        if reset is None:
            output, after = run(packed, hx)
        else:
            output, after = pieces.by_pieces(run, module, packed, hx, None, reset, weights)
        return [output.data, *members(after)]

    by_torch = whole if call.native else None
    return Operation(forward, backward, by_torch, given, call.copies and not module.batch_first)


def of_cell(module: nn.RNNCellBase, twin: Twin, given: int) -> Operation:
    """Return the call of a cell; arguments as of_layer's."""

    def forward(x, states, keep, wanted):
        key = x.shape, keep, wanted, len(states), get_num_threads()
        known = twin.programs.get(key)
        if known is None:
            rows = len(x) if x.ndim == 2 else 1
            call = Call(
                1,
                rows,
                get_num_threads(),
                batched=x.ndim == 2,
                stacked=False,
                emit=False,
                keep=keep,
                wrt_input=wanted[0],
            )
            unread = unread_weights(twin, 1, wanted)
            known = _remembered(twin, key, call, choose(twin, len(states), unread))
        program, choice = known
        _, final, tape = program.run(twin.arrays(), x, states or None)
        return _results(list(final), program, tape, True, choice)

    by_torch = functools.partial(native.cell, module)
    copies = not any(weight.requires_grad for weight in twin.weights)
    return Operation(forward, functools.partial(_backward, given), by_torch, given, copies)


def _remembered(twin: Twin, key: tuple, call: Call, choice: Choice) -> tuple[Any, Choice]:
    if len(twin.programs) >= MAX_PROGRAMS:
        twin.programs.clear()
    known = twin.programs[key] = prepare(twin.spec, call), choice
    return known


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
