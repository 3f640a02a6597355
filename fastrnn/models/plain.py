"""Options, symbols and labels as JSON has them, and back again: equal, and of the same type.

What JSON has no word for is an object with one key, that says what it is; an array is one of two.
"""

import datetime
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

_ARRAY = {"dtype", "values"}
_LARGEST = 1 << 28  # bytes of an array, which has symbols or labels
# name in JSON -> the type, what JSON has in its place, and the way back
_TAGS: dict[str, tuple[type, Callable[[Any], Any], Callable[[Any], Any]]] = {
    "tuple": (tuple, lambda value: [encode(item) for item in value], lambda v: tuple(decode(v))),
    "bytes": (bytes, lambda value: value.decode("latin-1"), lambda v: v.encode("latin-1")),
    "complex": (complex, lambda value: [value.real, value.imag], lambda v: complex(*v)),
    "datetime": (datetime.datetime, datetime.datetime.isoformat, datetime.datetime.fromisoformat),
    "date": (datetime.date, datetime.date.isoformat, datetime.date.fromisoformat),
    "pairs": (
        dict,
        lambda value: [[encode(key), encode(item)] for key, item in value.items()],
        lambda v: {decode(key): decode(item) for key, item in v},
    ),
}
_NAMES = {kind: name for name, (kind, _, _) in _TAGS.items()}


def encode(value: Any) -> Any:
    """Return what JSON can hold in place of a value.

    Args:
        value: None, a bool, number, str, bytes or date; an array; or a list, tuple or dict of such.

    Raises:
        TypeError: it is something else.
    """
    if isinstance(value, np.ndarray):
        return {"dtype": value.dtype.str, "values": _values(value)}
    if isinstance(value, np.generic) and not isinstance(value.item(), np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list):
        return [encode(item) for item in value]
    if isinstance(value, Mapping):
        value = dict(value)
        words = all(type(key) is str for key in value)
        if words and value.keys() != _ARRAY and not (len(value) == 1 and value.keys() <= {*_TAGS}):
            return {key: encode(item) for key, item in value.items()}
    if type(value) not in _NAMES:
        raise TypeError(f"no file can hold {value!r}, a {type(value).__name__}")
    name = _NAMES[type(value)]
    return {name: _TAGS[name][1](value)}


def decode(value: Any) -> Any:
    """Undo `encode`.

    Args:
        value: what it returned, or anything else that comes from JSON.

    Raises:
        AttributeError, KeyError, TypeError, ValueError: it is something else.
    """
    if isinstance(value, list):
        return [decode(item) for item in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == _ARRAY:
        return _array(value["dtype"], value["values"])
    if len(value) == 1 and value.keys() <= {*_TAGS}:
        [(name, inside)] = value.items()
        return _TAGS[name][2](inside)
    return {key: decode(item) for key, item in value.items()}


def _values(array: NDArray) -> list:
    """Return the values of an array (n,)."""
    kind = array.dtype.kind
    if kind in "mM":
        return array.view(np.int64).tolist()
    if array.dtype.char not in "g" and kind in "biufU":
        return array.tolist()
    if kind in "OSc" and array.dtype.char not in "G":
        return [encode(item) for item in array.tolist()]
    raise TypeError(f"no file can hold an array of {array.dtype}")


def _array(name: Any, values: Any) -> NDArray:
    if not isinstance(values, list) or not isinstance(name, str):
        raise TypeError(f"there is no array of {name!r} with the values {values!r}")
    dtype = np.dtype(name)
    if not 0 <= dtype.itemsize * len(values) <= _LARGEST:  # in NumPy 2.0 it overflows
        raise ValueError(f"an array of {len(values)} {name} is too large")
    if dtype.kind in "mM":
        return np.array(values, np.int64).view(dtype)
    if dtype.kind in "OSc":
        array = np.empty(len(values), dtype)
        for place, item in enumerate(values):
            array[place] = decode(item)
        return array
    array = np.array(values, dtype)
    if array.tolist() != values and np.array_equal(array, array):  # NaN is not equal to itself
        raise ValueError(f"an array of {dtype} has other values")
    return array
