"""Lists of arrays, one for each variable or output: copied, read as gradients, multiplied.

And a norm that neither overflows nor underflows.
"""

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


def norm(vector: NDArray[Any]) -> float:
    """Return the 2-norm, whatever the size of the numbers; infinity where one is not finite."""
    squares = float(np.vdot(vector, vector).real)  # faster than np.linalg.norm
    if 1e-200 < squares < 1e200:
        return float(np.sqrt(squares))
    largest = float(np.abs(vector).max(initial=0.0))
    if not np.isfinite(largest):
        return np.inf
    if not largest:
        return 0.0
    # By a power of two, so that nothing is rounded; in two halves, as 1 / largest may overflow.
    half = -int(np.frexp(largest)[1]) // 2
    scaled = np.ldexp(np.ldexp(np.abs(vector), half), half)
    return float(np.ldexp(np.ldexp(np.sqrt(np.vdot(scaled, scaled)), -half), -half))
