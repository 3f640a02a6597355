"""One call of a twin as a node of torch's autograd, forward and back.

Tensors go in and out as views of the same memory. The node keeps what the package's own pullback
keeps; under double backward, and for gradients that are no plain tensors (batched by vmap,
forward-mode), it computes with torch's own operations instead.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.autograd import forward_ad


class Operation(NamedTuple):
    """What a node needs besides tensors.

    Attributes:
        forward: takes arrays (x, states) and whether to keep something for the gradient; returns
            `arrays, pullback`: output first (a cell has none: its states), then the states; and
            from gradients at these (None: zero) and whether the input's is wanted to those of
            the input (or None), the given states and the weights.
        native: the same of tensors, by torch's operations: (x, states, weights) -> tensors; None
            where they cannot repeat it (dropout).
        states: how many tensors of state were given, or 0.
    """

    forward: Callable
    native: Callable | None
    states: int


def arrays_of(tensors) -> list[np.ndarray]:
    """Return views of tensors."""
    return [t.detach().numpy() if t.requires_grad else t.numpy() for t in tensors]


def tensors_of(arrays) -> tuple[Tensor, ...]:
    """Return views of arrays."""
    return tuple(torch.from_numpy(a) for a in arrays)


def is_wanted(x: Tensor, states, weights) -> bool:
    """Return whether autograd wants the gradient of anything."""
    return torch.is_grad_enabled() and (
        x.requires_grad
        or any(t.requires_grad for t in weights)
        or any(t.requires_grad for t in states)
    )


def run(call: Operation, keep: bool, x: Tensor, states: tuple[Tensor, ...], weights: list[Tensor]):
    """Return the output and the states of a call as tensors; keep: autograd wants gradients."""
    if keep:
        return _Node.apply(call, x, *states, *weights)
    x_array, *state_arrays = arrays_of((x, *states))
    arrays, _ = call.forward(x_array, state_arrays, False)
    return tensors_of(arrays)


class _Node(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, call: Operation, x: Tensor, *others: Tensor):
        x_array, *states = arrays_of((x, *others[: call.states]))
        arrays, ctx.pullback = call.forward(x_array, states, True)
        outputs = tensors_of(arrays)
        ctx.call = call
        ctx.memory = [(t, t.data_ptr()) for t in map(Tensor.detach, (x, *others))]
        ctx.set_materialize_grads(False)
        # The pullback reads their memory: torch notices if they were changed in between.
        ctx.save_for_backward(x, *others, outputs[0])
        return outputs

    @staticmethod
    def backward(ctx: Any, *d_outputs: Tensor | None):
        call = ctx.call
        *inputs, _ = ctx.saved_tensors
        # share_memory_(), or a queue of processes, frees the memory that the pullback's views see.
        moved = any(t.data_ptr() != place for t, place in ctx.memory)
        if moved and call.native is None:
            raise RuntimeError(
                "fastrnn.torch: an input or a weight went to shared memory between a call with "
                "dropout and its gradient; share_memory() before the call."
            )
        if moved or torch.is_grad_enabled() or not are_plain(d_outputs):
            return None, *native_gradients(call, ctx.needs_input_grad[1:], inputs, d_outputs)
        given = [None if d is None else d.resolve_neg().numpy() for d in d_outputs]
        grads = ctx.pullback(given, ctx.needs_input_grad[1])
        return None, *(
            torch.from_numpy(g) if wanted and g is not None else None
            for wanted, g in zip(ctx.needs_input_grad[1:], grads, strict=True)
        )


def are_plain(gradients) -> bool:
    """Return whether gradients are just numbers in memory."""
    if forward_ad._current_level >= 0:  # a tangent would be lost
        return False
    for d in gradients:  # under vmap a tensor has no memory of its own
        if d is not None and not (type(d) is Tensor and torch._C._has_storage(d)):
            return False
    return True


def native_gradients(call, wanted, inputs, d_outputs):
    """Return the gradients of a call by torch's formula, with a graph of their own if wanted."""
    graph = torch.is_grad_enabled()
    if call.native is None:
        what = "of a gradient" if graph else "under vmap or forward-mode AD"
        raise RuntimeError(
            f"fastrnn.torch: the gradient {what} through dropout is not there; call the module in "
            "eval(), or fastrnn.torch.restore(model) first."
        )
    with torch.enable_grad():
        # Other tensors with the same history: the graph may come back to the same inputs.
        inputs = [t.view_as(t) if w else t for t, w in zip(inputs, wanted, strict=True)]
        outputs = call.native(inputs[0], inputs[1 : 1 + call.states], inputs[1 + call.states :])
        pairs = [(o, d) for o, d in zip(outputs, d_outputs, strict=True) if d is not None]
        leaves = [t for t, w in zip(inputs, wanted, strict=True) if w]
        grads = torch.autograd.grad(
            [o for o, _ in pairs],
            leaves,
            [d for _, d in pairs],
            create_graph=graph,
            allow_unused=True,
        )
    found = iter(grads)
    return [next(found) if w else None for w in wanted]
