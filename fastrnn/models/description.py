"""What a model's file says in words: its class, its options and what fit has learnt, as JSON.

The arrays are saving.py's. What a file says is checked here before anything is made of it.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from fastrnn.models import plain
from fastrnn.models.vocabulary import codes


def described(model: Any) -> dict[str, str]:
    """Return the metadata of a model's file: its class, its options and what fit has learnt.

    What belongs to one process is left out: `checkpoint`, and functions as `init` or `verbose`.

    Args:
        model: an Estimator, fitted or about to be.

    Raises:
        ValueError: a file cannot hold an option, a class or a symbol.
    """
    options = model.get_params() | {"dtype": np.dtype(model.dtype).name}
    del options["checkpoint"]
    options["init"] = None if callable(options["init"]) else options["init"]
    options["verbose"] = False if callable(options["verbose"]) else options["verbose"]
    names = (*model.learnt, *model.optional)
    learnt = {name: getattr(model, name) for name in names if hasattr(model, name)}
    return {
        "model": model.owner,
        "options": json.dumps(_encoded(model.owner, options)),
        "learnt": json.dumps(_encoded(model.owner, learnt)),
    }


def model_of(metadata: Mapping[str, str], kinds: Mapping[str, type]) -> Any:
    """Return the model that a file describes, without its network.

    Args:
        metadata: of the file.
        kinds: the classes that it may be of, by name.

    Raises:
        KeyError: something is missing.
        AttributeError, RecursionError, TypeError, ValueError: something is not what it should be.
    """
    name = metadata["model"]
    if name not in kinds:
        raise ValueError(f"it holds a {name}; expected {' or '.join(kinds)}")
    options, learnt = (_decoded(metadata[part], part) for part in ("options", "learnt"))
    if "checkpoint" in options:  # a file has no say in where a later fit writes
        raise ValueError("it has a checkpoint")
    model = kinds[name](**options)
    model.check()
    for attribute in (*model.learnt, *(name for name in model.optional if name in learnt)):
        value = learnt[attribute]
        if not _LEARNT.get(attribute, lambda value: True)(value):
            raise ValueError(f"{attribute} makes no sense: {' '.join(str(value).split())[:80]}")
        setattr(model, attribute, value)
    symbols = model.vocabulary_
    if symbols is None and hasattr(model, "longest_") and not hasattr(model, "target_vocabulary_"):
        raise ValueError("it has no symbols to write")
    if symbols is not None and not getattr(model, "has_vectors_", False):
        if model.n_features_in_ != len(symbols):
            raise ValueError(f"n_features_in_ is {model.n_features_in_}, of {len(symbols)} symbols")
    return model


def _encoded(owner: str, values: Mapping[str, Any]) -> dict[str, Any]:
    encoded = {}
    for name, value in values.items():
        try:
            encoded[name] = plain.encode(value)
        except TypeError as error:
            raise ValueError(f"{owner} cannot be saved: {name}: {error}") from None
    return encoded


def _decoded(text: str, what: str) -> dict[str, Any]:
    found = json.loads(text)
    if not isinstance(found, dict):
        raise TypeError(f"{what} is no dict")
    return {name: plain.decode(value) for name, value in found.items()}


def is_sorted(values: Any) -> bool:
    """Return whether these are sorted symbols or labels, each of them once, and at least one.

    Args:
        values: a str or an array (n,).
    """
    if isinstance(values, str):
        values = codes(values)
    if not isinstance(values, np.ndarray) or values.ndim != 1 or not len(values):
        return False
    return bool((values[:-1] < values[1:]).all()) and bool((values[:1] == values[:1]).all())


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def is_history(value: Any) -> bool:
    """Return whether this is a history: lists of numbers, one an epoch.

    Args:
        value: anything.
    """
    if not isinstance(value, dict) or not all(
        isinstance(column, list) for column in value.values()
    ):
        return False
    numbers = [number for column in value.values() for number in column]
    alike = len({len(column) for column in value.values()}) <= 1
    return alike and all(isinstance(n, float | int) and not isinstance(n, bool) for n in numbers)


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def _are_names(value: Any) -> bool:
    if not isinstance(value, np.ndarray) or value.dtype != object or value.ndim != 1:
        return False
    return all(isinstance(name, str) for name in value)


_LEARNT: dict[str, Callable[[Any], bool]] = {
    "vocabulary_": lambda value: value is None or is_sorted(value),
    "target_vocabulary_": is_sorted,
    "classes_": lambda value: not isinstance(value, str) and is_sorted(value),
    "n_features_in_": _is_size,
    "longest_": _is_size,
    "n_outputs_": lambda value: value is None or _is_size(value),
    "is_text_": _is_flag,
    "has_vectors_": _is_flag,
    "history_": is_history,
    "feature_names_in_": _are_names,
}
