"""Gradient clipping, the cure for gradients that explode: by the norm of all, or entry by entry.

It does nothing against gradients that vanish.
"""

from __future__ import annotations

import numpy as np

from fastrnn.optim.base import Arrays, in_place, number


def clip_grad_norm(grads: Arrays, max_norm: float) -> float:
    """Scale all gradients in place so that together they are at most about `max_norm` long.

    As in torch the factor is min(1, max_norm / (norm + 1e-6)), also where the norm is not finite:
    an infinite one leaves zeros (and NaN where the infinity was), a NaN one makes all of it NaN.

    Args:
        grads: float32 or float64 arrays, modified; each array counts, and is scaled, once per name.
        max_norm: the longest that they may be; at least 0.

    Returns:
        The norm before clipping, accumulated in float64.

    Raises:
        TypeError: grads is not made of dicts of arrays, or max_norm is no number.
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
        if not factor >= 1:  # true also for NaN, which has to reach the gradients
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
        TypeError: grads is not made of dicts of arrays, or clip_value is no number.
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
            with np.errstate(over="ignore"):  # a float32 has no limit of 1e300: infinity serves
                np.clip(grad, -clip_value, clip_value, out=grad)
