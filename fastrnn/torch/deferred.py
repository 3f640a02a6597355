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


class _Left:
    """What steps have left, by backward call and layer."""

    def __init__(self, layers: int, each: int, hidden: int):
        self._layers, self._each, self._hidden = layers, each, hidden
        self._factors: dict[int, list[list[Factors]]] = {}

    def add(self, layer: int, factors: Factors) -> None:
        """Add what a step leaves of a layer, in the backward call that is running."""
        task = torch._C._current_graph_task_id()
        new: list[list[Factors]] = [[] for _ in range(self._layers)]
        self._factors.setdefault(task, new)[layer].append(factors)

    def take(self) -> list[Tensor] | None:
        """Return the gradients of the weights in the backward call that is running."""
        layers = self._factors.pop(torch._C._current_graph_task_id(), None)
        return layers and [d_w for steps in layers for d_w in self._product(steps)]

    def _product(self, steps: list[Factors]) -> list[Tensor]:
        d_x = d_h = torch.cat([step.d_a_x for step in steps])
        if steps[0].d_a_h is not steps[0].d_a_x:
            d_h = torch.cat([step.d_a_h for step in steps])
        x = torch.cat([step.x for step in steps])
        h = torch.cat([x.new_zeros((len(step.x), self._hidden)) if step.h is None else step.h
                       for step in steps])  # fmt: skip
        return [d_x.t() @ x, d_h.t() @ h, d_x.sum(0), d_h.sum(0)][: self._each]


class Deferred:
    """The weights as a number of steps see them.

    Attributes:
        weights: the same tensors, behind a node that adds up what the steps leave.
        leave: (layer, Factors) adds what a step leaves, in the backward call that is running.
    """

    def __init__(self, weights: list[Tensor], layers: int, hidden: int):
        left = _Left(layers, len(weights) // layers, hidden)
        self.weights = _Weights.apply(left, *weights)
        self.leave, self._node = left.add, self.weights[0].grad_fn

    def wanted(self) -> bool:
        """Return whether the backward call that is running wants the gradients of weights."""
        return torch._C._will_engine_execute_node(self._node)


class _Weights(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, left: _Left, *weights: Tensor):
        ctx.left = left
        ctx.set_materialize_grads(False)
        # Not the tensors themselves: autograd would take those for views of each other.
        return tuple(weight.detach() for weight in weights)

    @staticmethod
    def backward(ctx: Any, *given: Tensor | None):
        left = ctx.left.take()
        if left is None:
            return None, *given
        # By torch's formula (autograd.py) a step gives its gradients at once.
        return None, *(d if now is None else d + now for d, now in zip(left, given, strict=True))


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
