"""Lists of arrays, one for each variable or output: copied, read as gradients, multiplied."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastrnn.checking.problem import Arrays


def copies(cotangents: Arrays) -> Arrays:
    """Return copies to hand out, so that a target that overwrites them harms only itself."""
    return [np.array(c) for c in cotangents]


def as_gradient(given: Any, like: NDArray[Any]) -> NDArray[Any] | None:
    """Return a gradient in float64, or None where there is none or its shape is not `like`'s.

    properties.types reports what is wrong with such a gradient.
    """
    if given is None:
        return None
    array = np.asarray(given)
    if array.dtype.kind not in "fiu" or array.shape != like.shape:
        return None
    return array.astype(np.float64, copy=False)


def paired(gradients, direction) -> float:
    """Return the inner product of all gradients with a direction."""
    return float(
        sum(np.vdot(g, v) for g, v in zip(gradients, direction, strict=True) if g is not None)
    )
