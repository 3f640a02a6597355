"""Tuples, lists, dicts and what is derived from them: walked through, and made anew as they were.

A named tuple stays one, and a dict its own kind with its own attributes, so that a user's function
gets what it was written for. What the leaves are is not decided here: see numpy.py.
"""

import copy
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np


def is_container(value: Any) -> bool:
    """Return whether a value holds arrays. A list of plain numbers is one that forgot to be one."""
    if isinstance(value, list):
        return any(v is None or isinstance(v, np.ndarray) or is_container(v) for v in value)
    return isinstance(value, tuple | dict)


def is_record(value: Any) -> bool:
    """Return whether a value is a named tuple."""
    return isinstance(value, tuple) and hasattr(value, "_fields")


def members(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield keys, or positions, and members of a container."""
    yield from value.items() if isinstance(value, dict) else enumerate(value)


def member(value: Any, key: Any) -> Any:
    """Return one member; None where a dict has no such key."""
    return value.get(key) if isinstance(value, dict) else value[key]


def shown(value: Any, key: Any) -> str:
    """Return how a member is written: .field of a named tuple, ['key'] or [0]."""
    fields: Any = getattr(value, "_fields", None)
    return f".{fields[key]}" if is_record(value) else f"[{key!r}]"


def rebuilt(value: Any, new: Callable[[Any, Any], Any]) -> Any:
    """Return a container of the same class, with other members.

    Args:
        value: a container; it is not changed.
        new: of a key and a member, the member that takes its place.
    """
    if isinstance(value, dict):
        result = copy.copy(value)  # keeps its class, its attributes and the order of its keys
        for key, old in value.items():
            result[key] = new(key, old)
        return result
    found = [new(i, old) for i, old in enumerate(value)]
    if is_record(value):
        record: Any = value
        return record._replace(**dict(zip(record._fields, found, strict=True)))
    if type(value) in (tuple, list):
        return type(value)(found)
    if isinstance(value, list):
        result = copy.copy(value)
        result[:] = found
        return result
    try:
        return type(value)(found)
    except TypeError:  # a tuple whose class wants something else
        return tuple(found)


def same_form(value: Any, gradient: Any) -> bool:
    """Return whether a gradient is nested as its input: equally many, or keys that are its keys."""
    if isinstance(value, dict):
        return isinstance(gradient, dict) and set(gradient) <= set(value)
    return isinstance(gradient, tuple | list) and len(gradient) == len(value)
