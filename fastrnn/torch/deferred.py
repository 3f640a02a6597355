"""The weights' gradients of many single steps, computed together when the last one is known.

Backpropagation through N calls of one step would make N outer products as large as the weights and
add them up, which takes longer than all else. Here each step only leaves its factors, a few rows,
and a node of autograd between the weights and the steps multiplies them once: what BPTT does with
a sequence (bptt.py), though torch sees N calls. The first step after a change of the weights does
without, as there may be no second.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor


class Factors(NamedTuple):
    """What a step leaves of one layer."""

    d_a_x: Tensor  # (rows, G*H) gradients of the pre-activations
    d_a_h: Tensor  # the same tensor where a cell shares them
    x: Tensor  # (rows, I) what W_ih multiplied
    h: Tensor | None  # (rows, H) what W_hh multiplied; None: zeros

    def gradients(self, count: int) -> list[Tensor]:
        """Return the gradients of W_ih, W_hh and, if count is 4, of the biases."""
        d_w_ih, d_w_hh = self.d_a_x.t() @ self.x, self.d_a_h.t() @ self.h
        return [d_w_ih, d_w_hh, self.d_a_x.sum(0), self.d_a_h.sum(0)][:count]


class _Left(dict[int, list[list[Factors]]]):
    """What steps have left, by backward call and layer."""

    def take(self, each: int) -> list[Tensor] | None:
        """Return the gradients of the weights, `each` of a layer, in this backward call."""
        layers = self.pop(torch._C._current_graph_task_id(), None)
        if layers is None:
            return None
        gradients = []
        for steps in layers:
            d_a_x, d_a_h, x, h = zip(*steps, strict=True)
            hidden = d_a_h[0].new_zeros
            h = [hidden(len(one), self.hidden) if h_t is None else h_t
                 for one, h_t in zip(x, h, strict=True)]  # fmt: skip
            d_x = torch.cat(d_a_x)
            d_h = d_x if d_a_x[0] is d_a_h[0] else torch.cat(d_a_h)
            gradients += Factors(d_x, d_h, torch.cat(x), torch.cat(h)).gradients(each)
        return gradients

    hidden = 0


class Deferred:
    """The weights as a number of steps see them.

    Attributes:
        weights: the same tensors, behind a node that adds up what the steps leave.
    """

    def __init__(self, weights: list[Tensor], layers: int, hidden: int):
        self._left, self._layers = _Left(), layers
        self._left.hidden = hidden
        self.weights = _Weights.apply(self._left, len(weights) // layers, *weights)
        self._node = self.weights[0].grad_fn

    def wanted(self) -> bool:
        """Return whether the backward call that is running wants the gradients of weights."""
        return torch._C._will_engine_execute_node(self._node)

    def leave(self, layer: int, factors: Factors) -> None:
        """Add what a step leaves of a layer, in the backward call that is running."""
        task = torch._C._current_graph_task_id()
        self._left.setdefault(task, [[] for _ in range(self._layers)])[layer].append(factors)


class _Weights(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, left: _Left, each: int, *weights: Tensor):
        ctx.left, ctx.each = left, each
        ctx.set_materialize_grads(False)
        return weights

    @staticmethod
    def backward(ctx: Any, *given: Tensor | None):
        gradients = ctx.left.take(ctx.each)
        if gradients is None:
            return None, None, *given
        return None, None, *(g if d is None else g + d
                             for g, d in zip(gradients, given, strict=True))  # fmt: skip


class Generation:
    """The weights between two changes: the first step is on its own, the others defer."""

    def __init__(self, weights: list[Tensor]):
        self._seen = [(weight, weight._version) for weight in weights]
        self._deferred: Deferred | None = None

    def is_now(self) -> bool:
        """Return whether the weights have not changed since."""
        return all(weight._version == version and weight.requires_grad
                   for weight, version in self._seen)  # fmt: skip

    def deferred(self, layers: int, hidden: int) -> Deferred:
        """Return what the steps of this generation share."""
        if self._deferred is None:
            weights = [weight for weight, _ in self._seen]
            self._deferred = Deferred(weights, layers, hidden)
        return self._deferred
