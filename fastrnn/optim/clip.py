"""Gradient clipping, by the norm of all gradients or entry by entry: for gradients that explode.

It does nothing for gradients that vanish.
"""

from __future__ import annotations

import numpy as np

from fastrnn.optim.base import Arrays, in_place, number


def clip_grad_norm(grads: Arrays, max_norm: float) -> float:
    """Scale all gradients in place so that the norm of all together is at most about `max_norm`.

    As in torch the factor is min(1, max_norm / (norm + 1e-6)), also if the norm is not finite: an
    infinite norm leaves zeros (and NaN where the infinity was), a NaN norm makes everything NaN.

    Args:
        grads: float32 or float64 arrays, modified; each array counts, and is scaled, once per name.
        max_norm: maximal 2-norm; at least 0.

    Returns:
        The norm before clipping, accumulated in float64.

    Raises:
        TypeError: grads is not made of dicts of arrays, or max_norm is not a number.
        ValueError: an array cannot be changed in place, or max_norm is negative.

    Example:
        >>> grads = {"w": np.array([3.0, 4.0])}
        >>> clip_grad_norm(grads, 1.0), grads["w"].round(3)
        (5.0, array([0.6, 0.8]))

    Source: Pascanu, Mikolov & Bengio 2013, arXiv:1211.5063, algorithm 1.
    """
    max_norm = number("clip_grad_norm: max_norm", max_norm)
    groups = in_place("clip_grad_norm: grads", grads)
    with np.errstate(all="ignore"):
        squares = [np.square(g, dtype=np.float64).sum() for group in groups for g in group.values()]
        norm = float(np.sqrt(np.sum(squares)))
        factor = max_norm / (norm + 1e-6)
        if not factor >= 1:  # also true for NaN, which has to reach the gradients
            for group in groups:
                for grad in group.values():
                    np.multiply(grad, factor, out=grad)
    return norm


def clip_grad_value(grads: Arrays, clip_value: float) -> None:
    """Limit every entry of every gradient, in place, to [-clip_value, clip_value]; NaN stays NaN.

    Args:
        grads: float32 or float64 arrays, modified.
        clip_value: the limit; at least 0.

    Raises:
        TypeError: grads is not made of dicts of arrays, or clip_value is not a number.
        ValueError: an array cannot be changed in place, or clip_value is negative.

    Example:
        >>> grads = {"w": np.array([-3.0, 0.5])}
        >>> clip_grad_value(grads, 1.0)
        >>> grads["w"]
        array([-1. ,  0.5])
    """
    clip_value = number("clip_grad_value: clip_value", clip_value)
    for group in in_place("clip_grad_value: grads", grads):
        for grad in group.values():
            with np.errstate(over="ignore"):  # 1e300 becomes infinity in float32, which is fine
                np.clip(grad, -clip_value, clip_value, out=grad)
