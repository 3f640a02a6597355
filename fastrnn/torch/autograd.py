"""One call of a twin as a node of torch's autograd, forward and back.

Tensors go in and out as views of the same memory. What the gradient reads is saved by torch, so
backward frees it, and hooks on saved tensors move it or recompute it; the node itself holds no
array, and what is handed out is nobody else's. Under double backward, and for gradients that are
no plain tensors (batched by vmap, forward-mode), it computes with torch's own operations instead.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.autograd import forward_ad

from fastrnn.torch import saved


class Operation(NamedTuple):
    """What a node needs besides tensors.

    Attributes:
        forward: takes arrays (x, states), whether a gradient is wanted, and whether the input's
            and any state's are; returns Results.
        backward: takes Results.kept and .rest, (x, states, weights) as they are saved, gradients
            at the results (None: zero) and whether the input's is wanted; returns those of the
            input (or None), the given states and the weights. Weights are tensors, or None: they
            are where they were.
        native: the same as forward, of tensors and by torch's operations: (x, states, weights) ->
            tensors; None where they cannot repeat it (dropout).
        states: how many tensors of state were given, or 0.
        copies: torch would not keep x and the states themselves, so they may be changed.
    """

    forward: Callable
    backward: Callable
    native: Callable | None
    states: int
    copies: bool


class Results(NamedTuple):
    """What `Operation.forward` returns.

    Attributes:
        arrays: output first (a cell has none: its states), then the states.
        kept: the arrays that the gradient reads besides x, states and weights; nobody else has
            them.
        choice: which of (x, *states, *weights) it reads.
        rest: what else it needs.
    """

    arrays: Sequence[np.ndarray]
    kept: Sequence[np.ndarray] = ()
    choice: Any = None
    rest: Any = None


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
        if call.copies:
            x, states = x.clone(), tuple(state.clone() for state in states)
        return _apply(call, x, *states, *weights)
    x_array, *state_arrays = arrays_of((x, *states))
    return tensors_of(call.forward(x_array, state_arrays, False, (False, False)).arrays)


def shortest_apply(node: type[torch.autograd.Function]) -> Any:
    """Return a node's `apply`, without what is for functions under vmap, which do not come here."""
    return super(torch.autograd.Function, node).apply  # pyright: ignore


class _Node(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, call: Operation, x: Tensor, *others: Tensor):
        states = others[: call.states]
        wanted = x.requires_grad, any(state.requires_grad for state in states)
        x_array, *states = arrays_of((x, *states))
        results = call.forward(x_array, states, True, wanted)
        ctx.call, ctx.rest = call, results.rest
        ctx.set_materialize_grads(False)
        saved.save(ctx, results.choice, (x, *others), tensors_of(results.kept))
        return tensors_of(results.arrays)

    @staticmethod
    def backward(ctx: Any, *d_results: Tensor | None):
        call, wanted = ctx.call, ctx.needs_input_grad[1:]
        inputs, kept, there = saved.load(ctx)
        if torch.is_grad_enabled() or not are_plain(d_results):
            return None, *native_gradients(ctx, call, wanted, inputs, d_results)
        first = 1 + call.states
        x, *states = arrays_of(inputs[:first])
        grads = call.backward(
            arrays_of(kept),
            ctx.rest,
            (x, states, None if there else inputs[first:]),
            [None if d is None else d.resolve_neg().numpy() for d in d_results],
            wanted[0],
        )
        return None, *(
            torch.from_numpy(g) if wanted and g is not None else None
            for wanted, g in zip(wanted, grads, strict=True)
        )


_apply = shortest_apply(_Node)


def are_plain(gradients) -> bool:
    """Return whether gradients are just numbers in memory."""
    if forward_ad._current_level >= 0:  # a tangent would be lost
        return False
    for d in gradients:  # under vmap a tensor has no memory of its own
        if d is not None and not (type(d) is Tensor and torch._C._has_storage(d)):
            return False
    return True


def native_gradients(ctx, call, wanted, inputs, d_results):
    """Return the gradients of a call by torch's formula, with a graph of their own if wanted."""
    graph = torch.is_grad_enabled()
    saved.check_unread(ctx)
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
        pairs = [(o, d) for o, d in zip(outputs, d_results, strict=True) if d is not None]
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
