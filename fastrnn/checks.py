"""Every check of an argument, before any kernel runs: kernels work on raw memory.

A message says which argument, what it was, what it had to be in symbols and numbers, and what to
do. Nothing is computed here, and nothing converted but the byte order.
"""

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


def integer(owner: str, name: str, value: Any, least: int = 1) -> int:
    """Return an integer of at least `least`."""
    try:
        result = None if isinstance(value, bool | np.bool_) else operator.index(value)
    except TypeError:
        result = None
    if result is None:
        raise TypeError(
            f"{owner}: {name} should be of type int, got {value!r} ({type(value).__name__})."
        )
    if result < least:
        raise ValueError(f"{owner}: {name} must be at least {least}, got {result}.")
    return result


def boolean(owner: str, name: str, value: Any) -> bool:
    """Return a bool; nothing else will do."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(
            f"{owner}: {name} should be of type bool, got {value!r} ({type(value).__name__}); "
            "the order of the arguments is that of torch.nn."
        )
    return bool(value)


def float_dtype(owner: str, value: Any) -> np.dtype:
    """Return np.float32 or np.float64, as a dtype."""
    try:
        dtype = None if value is None else np.dtype(value)  # NumPy takes None for float64
    except TypeError:
        dtype = None
    if dtype is None or dtype not in FLOATS:
        raise ValueError(f"{owner}: dtype must be np.float32 or np.float64, got {value!r}.")
    return dtype.newbyteorder("=")


def probability(owner: str, name: str, value: Any) -> float:
    """Return a number in [0, 1]."""
    numeric = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    if not numeric or not 0 <= value <= 1:
        raise ValueError(
            f"{owner}: {name} should be a number in [0, 1], the probability that an element "
            f"becomes zero, got {value!r}."
        )
    return float(value)


def array(owner: str, name: str, value: Any, usual: str = "float32") -> np.ndarray:
    """Return a NumPy array in native byte order: from one, or from a torch CPU tensor."""
    if isinstance(value, np.ndarray):
        result = value.view(np.ndarray) if type(value) is not np.ndarray else value
    elif hasattr(value, "__array__"):
        try:
            result = np.asarray(value)
        except Exception as error:
            raise TypeError(f"{owner}: {name} cannot be read as a NumPy array: {error}") from None
    else:
        raise TypeError(
            f"{owner}: {name} is a {type(value).__name__}; expected a NumPy array, "
            f"e.g. np.asarray({name}, dtype=np.{usual})."
        )
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{owner}: {name} is a masked array; pass {name}.filled(0) and lengths=.")
    return result if result.dtype.isnative else result.astype(result.dtype.newbyteorder("="))


def shape(owner: str, name: str, value: np.ndarray, expected: Sequence[int], symbols: str) -> None:
    """Raise ValueError unless the array has this shape, called (symbols)."""
    if value.shape != tuple(expected):
        raise ValueError(
            f"{owner}: {name} has shape {value.shape}; expected ({symbols}) = {tuple(expected)}."
        )


def floats(owner: str, name: str, value: Any, dtype: np.dtype) -> np.ndarray:
    """Return an array that has this float type already."""
    result = array(owner, name, value)
    if result.dtype != dtype:
        raise (ValueError if result.dtype.kind == "f" else TypeError)(
            f"{owner}: {name} is {result.dtype} but the weights are {dtype}; convert one, "
            f"e.g. {name}.astype(np.{dtype})."
        )
    return result


def classes(
    owner: str,
    x: np.ndarray,
    input_size: int,
    lengths: np.ndarray | None = None,
    batch_first: bool = False,
) -> None:
    """Raise IndexError where an integer input is not a class in [0, input_size).

    Args:
        owner: the layer's name.
        x: the input, in the caller's axes.
        input_size: I.
        lengths: (B,) int64: what is past a row's end is not read, and may be anything; or None.
        batch_first: x is (B, T).
    """
    if not x.size or (x.min() >= 0 and x.max() < input_size):
        return
    wrong = (x < 0) | (x >= input_size)
    if lengths is not None:
        read = np.arange(x.shape[batch_first]) < lengths[:, None]
        wrong &= read if batch_first else read.T
    if wrong.any():
        at = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise IndexError(
            f"{owner}: input{list(at)} is {x[at]}; integer input means one-hot, with indices in "
            f"[0, input_size) = [0, {input_size})."
        )


def sequence(
    owner: str, x: Any, input_size: int, dtype: np.dtype, *, batch_first: bool, unbatched: bool
) -> tuple[np.ndarray, bool]:
    """Return the input as an array, in the caller's axes, and whether it has a batch axis.

    Whether integers are classes is looked at by `classes`, which has to know the lengths.

    Args:
        owner: the layer's name.
        x: the input.
        input_size: I.
        dtype: of the weights.
        batch_first: x is (B, T, ...).
        unbatched: allow x without a batch axis.
    """
    x = array(owner, "input", x)
    one_hot = x.dtype.kind in "iu"
    if not one_hot:
        x = floats(owner, "input", x, dtype)
    axes = x.ndim + one_hot
    if axes not in ((2, 3) if unbatched else (3,)):
        order = "B, T" if batch_first else "T, B"
        raise ValueError(
            f"{owner}: input is {x.ndim}-D of {x.dtype}; expected ({order}, input_size) floats"
            + (", or (T, input_size) unbatched;" if unbatched else ";")
            + f" or integers that stand for one-hot vectors, ({order})"
            + (" or (T,)." if unbatched else ".")
        )
    if not one_hot and x.shape[-1] != input_size:
        raise ValueError(
            f"{owner}: input has shape {x.shape}; its last axis must be input_size = {input_size}."
        )
    return x, axes == 3


def lengths(owner: str, value: Any, time: int, batch: int, batched: bool) -> np.ndarray | None:
    """Return lengths as (B,) int64, or None."""
    if value is None:
        return None
    if not batched:
        raise ValueError(f"{owner}: lengths with unbatched input: cut the input instead, x[:n].")
    result = array(owner, "lengths", value, usual="int64")
    if result.dtype.kind not in "iu":
        raise TypeError(
            f"{owner}: lengths is {result.dtype}; expected integers, e.g. lengths.astype(np.int64)."
        )
    shape(owner, "lengths", result, (batch,), "batch,")
    if batch and (result.min() < 0 or result.max() > time):
        b = int(np.flatnonzero((result < 0) | (result > time))[0])
        raise ValueError(
            f"{owner}: lengths[{b}] is {result[b]}; expected whole numbers in [0, T] = [0, {time}]."
        )
    return result.astype(np.int64)


def mask(owner: str, value: Any) -> np.ndarray:
    """Return a mask of resets, of any shape, as an array of bool."""
    result = array(owner, "reset", value, usual="bool")
    if result.dtype != np.bool_:
        raise TypeError(
            f"{owner}: reset is {result.dtype}; expected bool, True where the state begins anew, "
            "e.g. reset != 0."
        )
    return result


def reset(
    owner: str, value: Any, time: int, batch: int, batched: bool, batch_first: bool
) -> np.ndarray | None:
    """Return a mask of resets as (T, B) bool, or None."""
    if value is None:
        return None
    result = mask(owner, value)
    axes = (("B", batch), ("T", time)) if batch_first else (("T", time), ("B", batch))
    letters, expected = zip(*(axes if batched else [("T", time)]), strict=True)
    if result.shape != expected:
        raise ValueError(
            f"{owner}: reset has shape {result.shape}; expected that of the input without its last "
            f"axis, ({', '.join(letters)}{',' * (not batched)}) = {expected}."
        )
    if not batched:
        return result[:, None]
    return result.T if batch_first else result


def members(owner: str, name: str, value: Any, names: Sequence[str]) -> tuple:
    """Return one value per state: a bare one stands for the only one, None for all zero."""
    if value is None:
        return (None,) * len(names)
    if len(names) == 1:
        if isinstance(value, tuple | list):
            raise TypeError(f"{owner}: {name} is a {type(value).__name__}; expected one array.")
        return (value,)
    if not isinstance(value, tuple | list) or len(value) != len(names):
        what = f"{type(value).__name__}" + (
            f" of {len(value)}" if isinstance(value, tuple | list) else ""
        )
        raise TypeError(
            f"{owner}: {name} is a {what}; expected a tuple of {len(names)} arrays, "
            f"({', '.join(names)}); None in it is zero."
        )
    return tuple(value)


def states(
    owner: str,
    name: str,
    value: Any,
    names: Sequence[str],
    shapes: Sequence[Sequence[int]],
    symbols: Sequence[str],
    dtype: np.dtype,
) -> tuple[np.ndarray | None, ...]:
    """Return the members of a state, or of a gradient at one, each None or of its shape."""
    result = []
    given = members(owner, name, value, names)
    for label, member, expected, text in zip(names, given, shapes, symbols, strict=True):
        checked = None if member is None else floats(owner, label, member, dtype)
        if checked is not None:
            shape(owner, label, checked, expected, text)
        result.append(checked)
    return tuple(result)


def cotangent(owner: str, value: Any, expected: tuple[int, ...], dtype: np.dtype):
    """Return d_output, of the output's shape, or None."""
    if value is None:
        return None
    result = floats(owner, "d_output", value, dtype)
    if result.shape != expected:
        raise ValueError(
            f"{owner}: d_output has shape {result.shape}; expected that of the output, {expected}."
        )
    return result
