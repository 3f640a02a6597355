"""What the gradient of a node reads, saved by torch's autograd.

Torch frees it when backward has run, notices if it changed in between, and lets hooks move it
elsewhere or recompute it (save_on_cpu, checkpoint). So a node holds no tensor of its own, but for
weights that its gradient does not read. What a call keeps besides its inputs is its own to know.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from torch import Tensor

from fastrnn.torch.twin import Twin


class Choice(NamedTuple):
    """Which inputs of a node are saved: numbers among x, the states and the weights.

    Attributes:
        read: by the gradient, so they are saved.
        unread: only torch's own formula reads them. They are weights, which live on anyway, and as
            in torch they may change.
        kinds: (shape, dtype) of all that is saved, if that is always the same; else None.
    """

    read: Sequence[int]
    unread: Sequence[int]
    kinds: Sequence[tuple] | None = None


def unread_weights(twin: Twin, time: int, wrt: Sequence[bool]) -> list[int]:
    """Return numbers of the weights that the gradient does not read.

    Args:
        twin: of the module.
        time: T.
        wrt: whether gradients of the input, and of states, are wanted. Without the first W_ih of
            the first layer is not read, without the second W_hh at the first step.
    """
    spec, (wrt_input, wrt_states) = twin.spec, wrt
    each, firsts = len(twin.weights) // (spec.num_layers * spec.directions), spec.directions
    return [
        i
        for i, weight in enumerate(twin.weights)
        if weight.dim() == 1  # a bias
        or (i % each == 0 and i < firsts * each and not wrt_input)
        or (i % each == 1 and time == 1 and not wrt_states)
    ]


def choose(twin: Twin, given: int, unread: Sequence[int]) -> Choice:
    """Return what is to be saved, of x, so many states and the weights without the unread ones."""
    others = {1 + given + i for i in unread}
    every = range(1 + given + len(twin.weights))
    return Choice([i for i in every if i not in others], sorted(others))


def kinds_of(tensors: Iterable[Tensor]) -> list[tuple]:
    """Return shape and type of each tensor."""
    return [(t.shape, t.dtype) for t in tensors]


def save(ctx: Any, choice: Choice, inputs: Sequence[Tensor], kept: Iterable[Tensor]) -> None:
    """Have torch save what the gradient of a node reads.

    Args:
        ctx: of the node.
        choice: of the inputs.
        inputs: x, states and weights.
        kept: what the call has made for the gradient.
    """
    tensors = [inputs[i] for i in choice.read]
    tensors += kept
    ctx.unread = [(inputs[i], inputs[i]._version) for i in choice.unread]
    ctx.choice, ctx.places = choice, [t.data_ptr() for t in tensors]
    ctx.kinds = choice.kinds or kinds_of(tensors)
    ctx.save_for_backward(*tensors)


def load(ctx: Any) -> tuple[list[Tensor], Sequence[Tensor], bool]:
    """Return the inputs, what was kept, and whether all of it is where it was.

    Raises:
        RuntimeError: a hook returned a tensor of another shape, type or device: kernels work on
            raw memory.
    """
    tensors, choice = ctx.saved_tensors, ctx.choice
    there = [t.data_ptr() for t in tensors] == ctx.places
    if not there:
        _check(tensors, ctx.kinds)
    count = len(choice.read)
    inputs: list[Any] = [None] * (count + len(choice.unread))
    for i, tensor in zip(choice.read, tensors, strict=False):
        inputs[i] = tensor
    for i, (tensor, _) in zip(choice.unread, ctx.unread, strict=True):
        inputs[i] = tensor
    return inputs, tensors[count:], there


def _check(tensors: Sequence[Tensor], kinds: Sequence[tuple]) -> None:
    for t, kind in zip(tensors, kinds, strict=True):
        if (t.shape, t.dtype) != kind or not t.is_cpu:
            raise RuntimeError(
                f"fastrnn.torch: a hook on saved tensors returned {t.dtype} of shape "
                f"{tuple(t.shape)} on {t.device}; expected what was saved, {kind[1]} of shape "
                f"{tuple(kind[0])} on cpu."
            )


def check_unread(ctx: Any) -> None:
    """Raise what torch raises where its own formula reads what has changed since.

    Raises:
        RuntimeError: it has.
    """
    if any(t._version != version for t, version in ctx.unread):
        raise RuntimeError(
            "fastrnn.torch: one of the variables needed for the gradient of a gradient, a weight "
            "or a bias, has been modified by an inplace operation."
        )
