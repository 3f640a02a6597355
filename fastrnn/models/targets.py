"""y of classifiers and regressors, and vectors of numbers: checked. Sequences are in reading.py."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray


def numbers(owner: str, name: str, given: Any, shapes: Mapping[int, str]) -> NDArray:
    """Return an array of float64.

    Args:
        owner: the model, for errors.
        name: the argument.
        given: the array, or what becomes one.
        shapes: for each number of axes that is allowed, how errors describe that shape.

    Raises:
        ValueError: it is no array of numbers, has another shape, or a NaN or an infinity in it.
    """
    found = np.asarray(given)
    if found.dtype.kind not in "fiub" or found.ndim not in shapes or not found.size:
        raise ValueError(
            f"{owner}: {name} is {found.dtype} of shape {found.shape}; expected numbers, "
            f"{' or '.join(shapes.values())}."
        )
    if not np.isfinite(found).all():
        where = np.argwhere(~np.isfinite(found))[0].tolist()
        raise ValueError(f"{owner}: {name}{where} is not finite.")
    return found.astype(np.float64)


def labels(owner: str, y: Any) -> NDArray:
    """Return y as an array (N,) of labels.

    Args:
        owner: the model, for errors.
        y: the labels.

    Raises:
        ValueError: it has another shape, or NaN in it.
    """
    found = np.asarray(y)
    if found.ndim != 1:
        raise ValueError(f"{owner}: y has shape {found.shape}; expected (N,), one label each.")
    if found.dtype.kind == "f" and not np.isfinite(found).all():
        raise ValueError(f"{owner}: y[{np.argmin(np.isfinite(found))}] is not finite.")
    return found


def vectors(owner: str, X: Any, size: int | None = None) -> NDArray:
    """Return X as vectors (N, K) of float64.

    Args:
        owner: the model, for errors.
        X: the vectors.
        size: K, as it was in fit; None: any.

    Raises:
        ValueError: X is something else, or K is another.
    """
    found = numbers(owner, "X", X, {2: "(N, K)"})
    if size is not None and found.shape[1] != size:
        raise ValueError(
            f"{owner}: X has vectors of {found.shape[1]} numbers, and in fit they had {size}."
        )
    return found
