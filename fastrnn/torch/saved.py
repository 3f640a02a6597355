"""What the gradient of a node reads, saved by torch's autograd.

Torch frees it when backward has run, notices if it changed in between, and lets hooks move it
elsewhere or recompute it (save_on_cpu, checkpoint). So a node holds no tensor of its own, but for
parameters that its gradient does not read. What is saved is decided in operations.py and single.py.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from torch import Tensor


def save(ctx: Any, inputs: Sequence[Tensor], kept: Iterable[Tensor], unread: Iterable[int]) -> None:
    """Have torch save what the gradient of a node reads.

    Args:
        ctx: of the node.
        inputs: x, states and weights.
        kept: made by the call.
        unread: numbers of inputs that only torch's own formula reads. Parameters live on anyway:
            as in torch, they may change.
    """
    ctx.unread = {i: (t, t._version) for i in unread if (t := inputs[i]).is_leaf}
    tensors = [*(t for i, t in enumerate(inputs) if i not in ctx.unread), *kept]
    ctx.kinds = [(t.shape, t.dtype) for t in tensors]
    ctx.save_for_backward(*tensors)


def load(ctx: Any, count: int) -> tuple[list[Tensor], list[Tensor]]:
    """Return what was saved: `count` inputs, and what was kept.

    Raises:
        RuntimeError: a hook returned a tensor of another shape, type or device: kernels work on
            raw memory.
    """
    tensors = ctx.saved_tensors
    for t, kind in zip(tensors, ctx.kinds, strict=True):
        if (t.shape, t.dtype) != kind or not t.is_cpu:
            raise RuntimeError(
                f"fastrnn.torch: a hook on saved tensors returned {t.dtype} of shape "
                f"{tuple(t.shape)} on {t.device}; expected what was saved, {kind[1]} of shape "
                f"{tuple(kind[0])} on cpu."
            )
    rest = iter(tensors)
    inputs = [ctx.unread[i][0] if i in ctx.unread else next(rest) for i in range(count)]
    return inputs, list(rest)


def check_unread(ctx: Any) -> None:
    """Raise what torch raises where its own formula reads what has changed since.

    Raises:
        RuntimeError: it has.
    """
    if any(t._version != version for t, version in ctx.unread.values()):
        raise RuntimeError(
            "fastrnn.torch: one of the variables needed for the gradient of a gradient, a weight "
            "or a bias, has been modified by an inplace operation."
        )
