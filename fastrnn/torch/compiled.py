"""Under torch.compile: a whole layer is one node of the graph, an operation nobody looks into.

`fastrnn::recurrence_v4` and its gradient are registered with torch.library: shapes for the tracer,
the package's kernels at run time. Cells need none of it: the compiler fuses torch's formula. Eager
calls do not come here either (autograd.py costs less than a registered operation); nor does
torch.export, whose result should run without this package.
"""

import functools
import importlib.abc
import importlib.util
import itertools
import sys
import weakref
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fastrnn.cells import CELLS
from fastrnn.nn.arguments import read_call
from fastrnn.nn.program import prepare
from fastrnn.nn.tape import Tape
from fastrnn.torch.native import batch_of, state_shapes
from fastrnn.torch.operations import dropout_factors, in_order
from fastrnn.torch.twin import FLOATS, OPTIONS, grouped, spec_of

_BUILDER = "torch._dynamo.variables.builder"
_kept: weakref.WeakValueDictionary[int, "_NamedTape"] = weakref.WeakValueDictionary()
_numbers = itertools.count()


class _NamedTape:
    """What a forward call keeps for its gradient, alive as long as the tensor that names it.

    NumPy and torch hold on to whose memory they show: the tensor of `token()` to this object.
    """

    def __init__(self, tape: Tape):
        self.tape, self.number = tape, next(_numbers)
        self._word = np.array([self.number])
        self.__array_interface__ = self._word.__array_interface__
        _kept[self.number] = self

    def token(self) -> Tensor:
        return torch.from_numpy(np.asarray(self))


_spec = functools.lru_cache(maxsize=64)(spec_of)


def _arrays(tensors) -> list[np.ndarray]:
    return [tensor.detach().resolve_neg().numpy() for tensor in tensors]


def _tensors(arrays) -> list[Tensor]:
    """Return tensors that lie in memory as the tracer was told."""
    return [torch.from_numpy(np.ascontiguousarray(array)) for array in arrays]


def _arguments(x, states, weights, masks, lengths, reset, options):
    """Return the program, and what its `run` takes, checkpoints apart."""
    spec = _spec(x.dtype, *options)
    assert spec is not None  # `forward` has looked
    batch_first = bool(options[OPTIONS.index("batch_first")])
    lengths, reset = (None if t is None else t.numpy() for t in (lengths, reset))
    owner = options[0].partition("_")[0]
    x = _arrays([x])[0]
    x, call, batch = read_call(owner, spec, x, lengths, reset, batch_first=batch_first)
    program = prepare(spec, call._replace(keep=True, plain=False))
    masks = tuple(_arrays(masks))
    return program, (grouped(spec, _arrays(weights)), x, _arrays(states) or None, batch, masks)


_OPTIONS = (
    "str mode, int input_size, int hidden_size, int num_layers, bool bias, "
    "bool batch_first, bool bidirectional, int proj_size"
)
_KEEP = "str? checkpoint, int? memory, bool keep"  # a number of steps as text
_INPUTS = (
    "Tensor x, Tensor[] states, Tensor[] weights, Tensor[] masks, Tensor? lengths, Tensor? reset, "
)
# Torch keeps compiled graphs on disk by these names alone: with another schema, another number.
_NAME, _BACK = "fastrnn::recurrence_v4", "fastrnn::recurrence_v4_backward"
torch.library.define(_NAME, f"({_INPUTS}{_OPTIONS}, {_KEEP}) -> Tensor[]")
torch.library.define(_BACK, f"(Tensor?[] d_results, Tensor kept, {_INPUTS}{_OPTIONS}) -> Tensor[]")


@torch.library.impl(_NAME, "cpu")
def _forward(x, states, weights, masks, lengths, reset, *options_and_keep):
    *options, checkpoint, memory, keep = options_and_keep
    program, arguments = _arguments(x, states, weights, masks, lengths, reset, options)
    checkpoint = int(checkpoint) if checkpoint and checkpoint.isdigit() else checkpoint
    every = 0
    if keep:
        owner = options[0].partition("_")[0]
        every = program.checkpoint_every(owner, checkpoint, memory, arguments[3])
    else:
        program = prepare(program.spec, program.call._replace(keep=False))
    output, final, tape = program.run(*arguments, every)
    kept = torch.zeros(1, dtype=torch.int64, device="cpu")
    if keep:  # whatever becomes of the output, the tape has its own
        kept = _NamedTape(tape._replace(output=output.copy())).token()
    return [*_tensors((output, *final)), kept]


@torch.library.register_fake(_NAME)
def _forward_shapes(
    x,
    states,
    weights,
    masks,
    lengths,
    reset,
    mode,
    input_size,
    hidden_size,
    num_layers,
    bias,
    batch_first,
    bidirectional,
    proj_size,
    checkpoint,
    memory,
    keep,
):
    emitted, directions = proj_size or hidden_size, 1 + bidirectional
    batch = x.shape[0 if batch_first else 1 : 1 if batch_first else 2] if x.dim() == 3 else ()
    rows = num_layers * directions, *batch
    results = [x.new_empty((*x.shape[:-1], directions * emitted)), x.new_empty((*rows, emitted))]
    if mode == "LSTM":
        results.append(x.new_empty((*rows, hidden_size)))
    return [*results, x.new_empty(1, dtype=torch.int64)]


@torch.library.impl(_BACK, "cpu")
def _backward(d_results, kept, x, states, weights, masks, lengths, reset, *options):
    program, arguments = _arguments(x, states, weights, masks, lengths, reset, options)
    found = _kept.get(int(kept))
    if found is not None:
        # The compiler may have used the memory of the forward call's arguments for something else.
        weights_now, x_now, states_now, _, masks_now = arguments
        tape = found.tape._replace(
            weights=weights_now, x=x_now, initial=program.states(states_now), masks=masks_now
        )
    else:  # the tensor that names it was copied: compute it again
        _, _, tape = program.run(*arguments)
    d_output, *d_states = [None if d is None else _arrays([d])[0] for d in d_results]
    d_final = None if all(d is None for d in d_states) else d_states
    d_x, d_initial, d_weights = program.pull(tape, d_output, d_final)
    return _tensors(in_order(d_x, d_initial, d_weights, len(states)))


@torch.library.register_fake(_BACK)
def _backward_shapes(d_results, kept, x, states, weights, masks, lengths, reset, *options):
    return [
        torch.empty_like(t, memory_format=torch.contiguous_format) for t in (x, *states, *weights)
    ]


def _setup(ctx, inputs, output):
    x, states, weights, masks, lengths, reset, *ctx.options, _, _, _ = inputs
    ctx.counts = len(states), len(weights), len(masks)
    ctx.save_for_backward(output[-1], x, *states, *weights, *masks, lengths, reset)


def _gradients(ctx, d_results):
    kept, x, *others = ctx.saved_tensors
    groups, at = [], 0
    for count in ctx.counts:
        groups.append(others[at : at + count])
        at += count
    states, weights, masks = groups
    lengths, reset = others[at:]
    d_x, *d_others = torch.ops.fastrnn.recurrence_v4_backward(
        list(d_results[:-1]), kept, x, states, weights, masks, lengths, reset, *ctx.options
    )
    d_states, d_weights = d_others[: len(states)], d_others[len(states) :]
    none = [None] * len(ctx.options)
    return d_x, d_states, d_weights, [None] * len(masks), None, None, *none, None, None, None


torch.library.register_autograd(_NAME, _gradients, setup_context=_setup)


_GATES = {cell.name.upper(): len(cell.gates) for cell in CELLS}


def _weight_shapes(module: nn.RNNBase) -> list[tuple[int, ...]]:
    """Return what the shapes of the weights have to be; plain arithmetic, which Dynamo traces."""
    rows, directions = _GATES[module.mode] * module.hidden_size, 1 + module.bidirectional
    emitted, shapes = module.proj_size or module.hidden_size, []
    for depth in range(module.num_layers):
        for _ in range(directions):
            shapes += [(rows, directions * emitted if depth else module.input_size)]
            shapes += [(rows, emitted)] + [(rows,)] * (2 * module.bias)
            shapes += [(module.proj_size, module.hidden_size)] * (module.proj_size > 0)
    return shapes


def forward(module: nn.RNNBase, x: Any, hx: Any, lengths: Any, reset: Any) -> Any:
    """Return the result of a layer as the compiler traces it, or None: torch's own way then."""
    if not isinstance(x, Tensor) or x.dtype not in FLOATS or x.device.type != "cpu":
        return None
    weights = [getattr(module, name) for name in module._flat_weights_names]
    states = [] if hx is None else list(hx) if module.mode == "LSTM" else [hx]
    if any(t.dtype != x.dtype or t.device != x.device for t in (*states, *weights)):
        return None
    if x.dim() not in (2, 3) or x.shape[-1] != module.input_size or 0 in x.shape:
        return None
    if [tuple(w.shape) for w in weights] != _weight_shapes(module):
        return None
    shapes = [torch.Size(shape) for shape in state_shapes(module, batch_of(module, x))]
    if states and [state.shape for state in states] != shapes:
        return None
    masks, p = [], float(module.dropout)
    if module.training and p > 0:
        time = 1 if module.batch_first and x.dim() == 3 else 0
        batch = x.shape[1 - time] if x.dim() == 3 else 1
        width = (module.proj_size or module.hidden_size) * (1 + module.bidirectional)
        shape = x.shape[time], batch, width
        masks = [dropout_factors(p, x.dtype, shape) for _ in range(module.num_layers - 1)]
    if lengths is not None:
        lengths = torch.as_tensor(lengths, device="cpu")
    if reset is not None:
        reset = torch.as_tensor(reset, device="cpu")
    keep = torch.is_grad_enabled() and any(t.requires_grad for t in (x, *states, *weights))
    options = [getattr(module, name) for name in OPTIONS]
    checkpoint = None if module.checkpoint is None else str(module.checkpoint)
    output, *after, _ = torch.ops.fastrnn.recurrence_v4(
        x, states, weights, masks, lengths, reset, *options, checkpoint, module.memory, keep
    )
    return output, tuple(after) if module.mode == "LSTM" else after[0]


def _admit(builder) -> None:
    """Have Dynamo look into this package's layers, as it does where `allow_rnn` is set.

    It refuses every subclass of torch.nn's layers before any code of theirs is seen, for torch's
    would be unrolled over time. Torch's own are refused as before.
    """
    wrap, config = builder.VariableBuilder.wrap_module, builder.config

    def wrap_module(self, value):
        if not getattr(type(value), "_fastrnn_is_one_node", False):
            return wrap(self, value)
        with config.patch(allow_rnn=True):
            return wrap(self, value)

    builder.VariableBuilder.wrap_module = wrap_module


class _WhenDynamoComes(importlib.abc.MetaPathFinder):
    """Calls `_admit` when Dynamo is imported: to do so here would cost every user a second."""

    def find_spec(self, name, path, target=None):
        if name != _BUILDER:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.loader is not None
        execute = spec.loader.exec_module

        def exec_module(module):
            execute(module)
            _admit(module)

        spec.loader.exec_module = exec_module
        return spec


if _BUILDER in sys.modules:
    _admit(sys.modules[_BUILDER])
else:
    sys.meta_path.insert(0, _WhenDynamoComes())
