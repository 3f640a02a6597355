"""y of classifiers and regressors, and vectors of numbers: checked. Sequences are in reading.py."""

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastrnn.models import guard


def numbers(owner: str, name: str, given: Any, shapes: Mapping[int, str]) -> NDArray:
    """Return an array of float64.

    Args:
        owner: the model, for errors.
        name: the argument.
        given: the array, or what becomes one.
        shapes: for each number of axes that is allowed, how errors describe that shape.

    Raises:
        TypeError, ValueError: it is no array of numbers, has another shape, or has an entry that is
            missing or not finite.
    """
    found = guard.array(f"{owner}: {name}", _there(owner, name, given), numeric=True)
    if found.dtype.kind not in "fiub" or found.ndim not in shapes or not found.size:
        raise ValueError(
            f"{owner}: {name} is {found.dtype} of shape {found.shape}; expected numbers, "
            f"{' or '.join(shapes.values())}."
        )
    _finite(owner, name, found)
    return found.astype(np.float64)


def in_dtype(owner: str, name: str, found: NDArray, dtype: Any) -> NDArray:
    """Return numbers in the dtype of a network.

    Args:
        owner: the model, for errors.
        name: the argument.
        found: the numbers.
        dtype: float32 or float64.

    Raises:
        ValueError: one is beyond it.
    """
    with np.errstate(over="ignore"):
        cast = found.astype(dtype)
    if not np.isfinite(cast).all():
        value = found[~np.isfinite(cast)][0]
        raise ValueError(
            f"{owner}: {name} has {value}, which is beyond {cast.dtype}; scale {name}, or set "
            "dtype='float64'."
        )
    return cast


def labels(owner: str, y: Any, known: NDArray | None = None) -> NDArray:
    """Return y as an array (N,) of labels.

    Args:
        owner: the model, for errors.
        y: the labels; a column (N, 1) is taken for (N,), with a warning.
        known: the classes of fit, whose kind y has to have; None: any.

    Raises:
        TypeError, ValueError: it has another shape, or an entry that is missing; its entries are
            not of one kind, or are floats that are no whole numbers.
    """
    found = guard.array(f"{owner}: y", _there(owner, "y", y))
    if found.ndim == 2 and found.shape[1] == 1:
        message = (
            f"A column-vector y was passed when a 1d array was expected: {owner} takes (N,), and y "
            f"has shape {found.shape}; give y.ravel()."
        )
        warnings.warn(message, _conversion_warning(), stacklevel=3)
        found = found[:, 0]
    if found.ndim != 1:
        raise ValueError(f"{owner}: y has shape {found.shape}; expected (N,), one label each.")
    if found.dtype.kind == "f":
        _finite(owner, "y", found)
        broken = np.flatnonzero(found != np.floor(found))
        if len(broken):
            raise ValueError(
                f"{owner}: Unknown label type: continuous: y[{broken[0]}] is {found[broken[0]]}; "
                "expected classes: whole numbers, strings or booleans. For numbers there is "
                "RNNRegressor."
            )
    if known is not None:
        check_kind(owner, known, found)
    return found


def check_kind(owner: str, known: NDArray, found: NDArray) -> None:
    """Raise ValueError unless labels are of the kind that fit had; all numbers are of one kind.

    Args:
        owner: the model, for errors.
        known: the classes of fit.
        found: the labels.
    """
    if _kind(known) != _kind(found):
        raise ValueError(
            f"{owner}: y is {_kind(found)}, and in fit it was {_kind(known)}; expected the same."
        )


def classes(owner: str, found: NDArray) -> tuple[NDArray, NDArray]:
    """Return the sorted distinct labels, and the index of each label among them.

    Args:
        owner: the model, for errors.
        found: (N,) labels.

    Raises:
        TypeError: they cannot be sorted.
    """
    try:
        known, indices = np.unique(found, return_inverse=True)
    except TypeError as error:
        raise TypeError(
            f"{owner}: Unknown label type: unknown: the labels of y cannot be sorted: {error}"
        ) from None
    return known, indices


def vectors(owner: str, X: Any, size: int | None = None) -> NDArray:
    """Return X as vectors (N, K) of float64.

    Args:
        owner: the model, for errors.
        X: the vectors.
        size: K, as it was in fit; None: any.

    Raises:
        TypeError, ValueError: X is something else, or K is another.
    """
    found = numbers(owner, "X", X, {2: "(N, K)"})
    if size is not None and found.shape[1] != size:
        raise ValueError(
            f"{owner}: X has vectors of {found.shape[1]} numbers, and in fit they had {size}."
        )
    return found


def _there(owner: str, name: str, given: Any) -> Any:
    if given is None and name == "y":
        raise ValueError(f"{owner} requires y to be passed, but the target y is None.")
    return given


def _finite(owner: str, name: str, found: NDArray) -> None:
    if not np.isfinite(found).all():
        where = np.argwhere(~np.isfinite(found))[0].tolist()
        value = found[tuple(where)]
        raise ValueError(
            f"{owner}: {name}{where} is not finite: it is {'NaN' if value != value else value}, "
            "and no NaN or infinity can be learnt."
        )


def _kind(found: NDArray) -> str:
    named = {"U": "strings", "M": "dates", "m": "durations", "O": "objects"}
    return named.get(found.dtype.kind, "numbers")


def _conversion_warning() -> type[UserWarning]:
    """Return scikit-learn's warning, where that is installed."""
    try:
        from sklearn.exceptions import DataConversionWarning
    except ImportError:
        return UserWarning
    return DataConversionWarning
