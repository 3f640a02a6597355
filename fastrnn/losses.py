"""Losses, each computed together with its gradient at the network's output.

Both functions are plain NumPy, take any number of leading axes (time, batch), and never write into
their arguments. Deliberately not here: class weights, label smoothing, a softmax layer, and losses
with which nobody trains a recurrent network.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Reduction = Literal["mean", "sum"]


def softmax_cross_entropy(
    logits: ArrayLike,
    targets: ArrayLike,
    mask: ArrayLike | None = None,
    reduction: Reduction = "mean",
) -> tuple[float, NDArray]:
    """-log softmax(logits)[target], over all positions, and its gradient softmax - one_hot(target).

    A NaN or an infinity that counts reaches the result, as in torch. Where the mask is False,
    logits and target may be anything, and the gradient is exactly 0.

    Args:
        logits: (..., V) float32 or float64.
        targets: (...) integers in [0, V): the class that is right at each position.
        mask: (...) bool, True where a position counts; None (default): all count. In torch's
            terms, `mask=targets != ignore_index`.
        reduction: "mean" (default) over the positions that count, or "sum". If none counts, both
            give 0.

    Returns:
        loss: a Python float, accumulated in float64.
        d_logits: the gradient, of the shape and dtype of the logits.

    Raises:
        TypeError: an argument is not an array, or its dtype is wrong.
        ValueError: shapes do not match, or the reduction is unknown.
        IndexError: a target that counts is outside [0, V).

    Example:
        >>> loss, d_logits = softmax_cross_entropy(np.zeros((5, 2, 4)), np.zeros((5, 2), int))
        >>> round(loss, 6), d_logits.shape
        (1.386294, (5, 2, 4))

    Source: Bridle 1990, "Probabilistic interpretation of feedforward classification network
    outputs"; its gradient is the softmax minus the one-hot target.
    """
    name = "softmax_cross_entropy"
    logits = _floats(name, "logits", logits)
    targets = _array(name, "targets", targets)
    if logits.ndim == 0:
        raise ValueError(
            f"{name}: logits has shape (); expected (..., V), one logit for each class."
        )
    if targets.dtype.kind not in "iu":
        raise TypeError(
            f"{name}: targets is {targets.dtype}; expected integers, the index of the right class; "
            f"convert, e.g. targets.astype(np.int64)."
        )
    if targets.shape != logits.shape[:-1]:
        raise ValueError(
            f"{name}: targets has shape {targets.shape}; expected logits.shape[:-1] = "
            f"{logits.shape[:-1]}; one class index for each row of logits."
        )
    kept = _kept(name, mask, targets.shape, exact=True)
    _check_range(name, targets, kept, logits.shape[-1])

    count = targets.size if kept is None else int(np.count_nonzero(kept))
    scale = _scale(name, reduction, count)
    if count == 0:
        return 0.0, np.zeros_like(logits)
    if kept is None:
        rows, picked = logits.reshape(-1, logits.shape[-1]), targets.reshape(-1)
    else:
        rows, picked = logits[kept], targets[kept]
    loss, d_rows = _log_loss(rows, picked, scale)
    return loss, _scatter(d_rows, logits, kept)


def mse(
    pred: ArrayLike, target: ArrayLike, mask: ArrayLike | None = None, reduction: Reduction = "mean"
) -> tuple[float, NDArray]:
    """(pred - target)**2, over all elements, and its gradient 2 (pred - target).

    A NaN or an infinity that counts reaches the result, as in torch. Where the mask is False, pred
    and target may be anything, and the gradient is exactly 0.

    Args:
        pred: (...) float32 or float64.
        target: (...) of the shape and dtype of pred.
        mask: bool, True where an element counts, of pred's shape or of its leading axes, e.g.
            (T, B) for pred (T, B, I); None (default): all count.
        reduction: "mean" (default) over the elements that count, or "sum". If none counts, both
            give 0.

    Returns:
        loss: a Python float, accumulated in float64.
        d_pred: the gradient, of the shape and dtype of pred.

    Raises:
        TypeError: an argument is not an array, or its dtype is wrong.
        ValueError: shapes do not match, or the reduction is unknown.

    Example:
        >>> mse(np.array([1.0, 2.0]), np.array([1.0, 4.0]))
        (2.0, array([ 0., -2.]))
    """
    name = "mse"
    pred = _floats(name, "pred", pred)
    target = _floats(name, "target", target)
    if target.dtype != pred.dtype:
        raise TypeError(
            f"{name}: target is {target.dtype} but pred is {pred.dtype}; convert one, "
            f"e.g. target.astype(np.{pred.dtype})."
        )
    if target.shape != pred.shape:
        raise ValueError(
            f"{name}: target has shape {target.shape}; expected pred.shape = {pred.shape}; "
            f"there is no broadcasting."
        )
    kept = _kept(name, mask, pred.shape, exact=False)
    with np.errstate(all="ignore"):
        d_kept = np.asarray(pred - target if kept is None else pred[kept] - target[kept])
        scale = _scale(name, reduction, d_kept.size)
        loss = scale * float(np.square(d_kept, dtype=np.float64).sum())
        d_kept *= 2 * scale
    return loss, _scatter(d_kept, pred, kept)


def _log_loss(logits: NDArray, targets: NDArray, scale: float) -> tuple[float, NDArray]:
    """Return the loss over at least one row of logits, and its gradient, computed in place."""
    right = np.arange(len(targets)), targets
    with np.errstate(all="ignore"):
        d_logits = logits - logits.max(axis=1, keepdims=True)
        shifted = d_logits[right]
        np.exp(d_logits, out=d_logits)
        total = d_logits.sum(axis=1, keepdims=True)
        losses = np.log(total[:, 0], dtype=np.float64) - shifted
        d_logits *= scale / total
        d_logits[right] -= scale
        return scale * float(losses.sum()), d_logits


def _scatter(d_kept: NDArray, like: NDArray, kept: NDArray | None) -> NDArray:
    """Put the gradient of the positions that count back in place, among exact zeros."""
    if kept is None:
        return d_kept.reshape(like.shape)
    gradient = np.zeros_like(like)
    gradient[kept] = d_kept
    return gradient


def _scale(name: str, reduction: str, count: int) -> float:
    if reduction not in ("mean", "sum"):
        raise ValueError(f"{name}: reduction must be 'mean' or 'sum', got {reduction!r}.")
    return 1.0 / max(count, 1) if reduction == "mean" else 1.0


def _array(name: str, argument: str, value: ArrayLike) -> NDArray:
    """Return the array in native byte order; a list is refused, as its dtype would be a guess."""
    if not hasattr(value, "__array__"):
        raise TypeError(
            f"{name}: {argument} is a {type(value).__name__}; expected an array; "
            f"convert it, e.g. np.asarray({argument}, dtype=...)."
        )
    try:
        array = np.asarray(value)
    except RuntimeError as error:  # a torch tensor that requires grad
        raise TypeError(f"{name}: {argument} cannot become a NumPy array: {error}") from None
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _floats(name: str, argument: str, value: ArrayLike) -> NDArray:
    array = _array(name, argument, value)
    if array.dtype not in (np.float32, np.float64):
        raise TypeError(
            f"{name}: {argument} is {array.dtype}; expected float32 or float64; "
            f"convert, e.g. {argument}.astype(np.float32)."
        )
    return array


def _kept(
    name: str, mask: ArrayLike | None, shape: tuple[int, ...], *, exact: bool
) -> NDArray | None:
    """Return the mask as an array of this shape, or unless `exact` of its leading axes."""
    if mask is None:
        return None
    mask = _array(name, "mask", mask)
    if mask.dtype != np.bool_:
        raise TypeError(
            f"{name}: mask is {mask.dtype}; expected bool, True where a position counts; "
            f"convert, e.g. mask != 0."
        )
    if mask.shape != (shape if exact else shape[: mask.ndim]):
        expected = (
            f"targets.shape = {shape}" if exact else f"pred.shape = {shape} or its leading axes"
        )
        raise ValueError(f"{name}: mask has shape {mask.shape}; expected {expected}.")
    return mask


def _check_range(name: str, targets: NDArray, kept: NDArray | None, classes: int) -> None:
    outside = (targets < 0) | (targets >= classes)
    if kept is not None:
        outside &= kept
    if outside.any():
        index = tuple(int(i) for i in np.argwhere(outside)[0])
        where = f"[{', '.join(map(str, index))}]" if index else ""
        raise IndexError(
            f"{name}: targets{where} is {targets[index]}; expected 0 <= target < "
            f"logits.shape[-1] = {classes}; where there is no target, let the mask say so, "
            f"e.g. mask=targets != -100."
        )
