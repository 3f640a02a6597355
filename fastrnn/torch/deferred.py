"""The weights' gradients of many single steps, computed together when the last one is known.

Backpropagation through N calls of one step would make N outer products as large as the weights and
add them up, which takes longer than all else. Here each step only leaves its factors, a few rows,
and a node of autograd between the weights and the steps multiplies them once: what BPTT does with
a sequence (engine/backward.py), though torch sees N calls. The first step is not deferred: a lone
step is cheaper directly.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from fastrnn.nn.linear import weight_gradients


class Factors(NamedTuple):
    """What a step leaves of one layer."""

    d_a_x: Tensor  # (rows, G*H) gradients of the pre-activations
    d_a_h: Tensor  # the same tensor where a cell shares them
    x: Tensor  # rows of I, in any shape: what W_ih multiplied
    h: Tensor | None  # rows of H, in any shape: what W_hh multiplied; None: zeros


class _Left:
    """What steps have left, by backward call."""

    def __init__(self, layers: int, each: int, hidden: int):
        self._layers, self._each, self._hidden = layers, each, hidden
        self._factors: dict[int, list[list[Factors]]] = {}
        self._ready: dict[int, list[Sequence[Tensor | None]]] = {}

    def factors(self, task: int) -> list[list[Factors]]:
        """Return a list for each layer, to which a step of this backward call adds."""
        known = self._factors.get(task)
        if known is None:
            known = self._factors[task] = [[] for _ in range(self._layers)]
        return known

    def add_ready(self, gradients: Sequence[Tensor | None]) -> None:
        """Add gradients of the weights themselves, in the backward call that is running."""
        task = torch._C._current_graph_task_id()
        self._ready.setdefault(task, []).append(gradients)

    def take(self) -> list[Tensor | None]:
        """Return the gradients of the weights in the backward call that is running."""
        task = torch._C._current_graph_task_id()
        total: list[Tensor | None] = [None] * (self._layers * self._each)
        if task in self._factors:
            total = [d_w for steps in self._factors.pop(task) for d_w in self._product(steps)]
        for gradients in self._ready.pop(task, ()):
            total = [
                b if a is None else a if b is None else a + b
                for a, b in zip(total, gradients, strict=True)
            ]
        return total

    def _product(self, steps: list[Factors]) -> list[Tensor]:
        d_a_x, d_a_h, x, h = zip(*steps, strict=True)
        d_x = d_h = torch.cat(d_a_x)
        if d_a_h[0] is not d_a_x[0]:
            d_h = torch.cat(d_a_h)
        h = [
            d.new_zeros(len(d), self._hidden) if h_t is None else h_t
            for h_t, d in zip(h, d_a_x, strict=True)
        ]
        # Not by torch's products: they wake its threads for however few rows.
        d_w_ih, d_b_ih = weight_gradients(_rows(list(x), len(d_x)), d_x.numpy())
        d_w_hh, d_b_hh = weight_gradients(_rows(h, len(d_h)), d_h.numpy())
        gradients = (d_w_ih, d_w_hh, d_b_ih, d_b_hh)[: self._each]
        return [torch.from_numpy(d) for d in gradients]


def _rows(tensors: list[Tensor], count: int) -> np.ndarray:
    """Return the rows of tensors of any shape, `count` in all, as one array."""
    shape = tensors[0].shape
    if not all(t.shape == shape for t in tensors):  # of batches of other sizes
        tensors = [t.reshape(-1) for t in tensors]
    return torch.cat(tensors).detach().view(count, -1).numpy()


class Deferred:
    """The weights as a number of steps see them: as one tensor, of no size.

    Attributes:
        weights: the tensors themselves.
        token: what steps depend on in place of the weights; its node adds up what they leave.
    """

    def __init__(self, weights: list[Tensor], layers: int, hidden: int):
        self.weights = weights
        self._left = _Left(layers, len(weights) // layers, hidden)
        self.token = _GatherNode.apply(self._left, *weights)
        self.add_ready, self._node = self._left.add_ready, self.token.grad_fn

    def wanted(self) -> bool:
        """Return whether the backward call that is running wants the gradients of weights."""
        return torch._C._will_engine_execute_node(self._node)

    def factors(self) -> list[list[Factors]]:
        """Return the lists of the backward call that is running, one of each layer."""
        return self._left.factors(torch._C._current_graph_task_id())


class _GatherNode(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, left: _Left, *weights: Tensor):
        ctx.left = left
        ctx.set_materialize_grads(False)
        return weights[0].new_empty(0)

    @staticmethod
    def backward(ctx: Any, *_):
        return None, *ctx.left.take()


class Generation:
    """The weights between two changes.

    Attributes:
        pending: a step of them waits for its gradient: the next one will defer its own.
    """

    def __init__(self, weights: list[Tensor]):
        self._seen = [(weight, weight._version) for weight in weights]
        self._deferred: Deferred | None = None
        self.pending = False

    def is_now(self) -> bool:
        """Return whether the weights have not changed since."""
        for weight, version in self._seen:
            if weight._version != version or not weight.requires_grad:
                return False
        return True

    def deferred(self, twin) -> Deferred | None:
        """Return what the steps of this generation share; None: this one is on its own."""
        if not self.pending:
            self.pending = True
            return None
        if self._deferred is None:
            weights, spec = [weight for weight, _ in self._seen], twin.spec
            self._deferred = Deferred(weights, spec.num_layers, spec.hidden_size)
        return self._deferred
