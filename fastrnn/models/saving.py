"""What of a model is in its file: `rnn.*` and so on, and as JSON its options and what fit learnt.

Optimisers' states are not: to go on training is the business of charlm, which keeps them.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fastrnn.models import file

_WRITER = "`save` of a model"


def save(model: Any, path: Path) -> None:
    """Write a model that has been fitted, atomically.

    Args:
        model: an Estimator.
        path: where; an existing file is replaced.

    Raises:
        ValueError: a class or a symbol is of a kind that JSON has not.
        OSError: it cannot be written.
    """
    options = model.get_params() | {"dtype": np.dtype(model.dtype).name}
    if callable(options["init"]):
        options["init"] = None
    learnt = {name: getattr(model, name) for name in model._learnt}
    try:
        described = {"options": _plain(options), "learnt": _plain(learnt)}
        metadata = {"model": model._owner, **{k: json.dumps(v) for k, v in described.items()}}
    except TypeError as error:
        raise ValueError(f"{model._owner} cannot be saved: {error}") from None
    parts = {name: part.params for name, part in model._parts.items()}
    file.write(path, file.joined(parts), metadata)


def load(path: Path, kinds: Mapping[str, type]) -> Any:
    """Return the model in a file.

    Args:
        path: the file.
        kinds: the classes it may be of, by name.

    Raises:
        ValueError: it is no such file, or damaged, or a model of another class.
        OSError: it cannot be read.
    """
    tensors, metadata = file.read(path, _WRITER)
    try:
        name = metadata["model"]
        if name not in kinds:
            raise ValueError(f"it holds a {name}; expected {' or '.join(kinds)}")
        model = kinds[name](**json.loads(metadata["options"]))
        learnt = json.loads(metadata["learnt"])
        for attribute in model._learnt:
            setattr(model, attribute, _restored(learnt[attribute]))
        model._check()
        # A damaged size has to fail before anything of that size is allocated.
        largest = max((size for tensor in tensors.values() for size in tensor.shape), default=0)
        if max(model.hidden_size, model.n_features_in_, model.num_layers) > largest:
            raise ValueError("its options are too large for its tensors")
        model._build()
    except KeyError as error:
        raise ValueError(f"{path} is not from {_WRITER}: it lacks {error}") from None
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"{path} cannot be loaded: {error}") from None
    file.restore(path, tensors, model._parts)
    return model


def _plain(value: Any) -> Any:
    """Return what JSON can hold in place of a value."""
    if isinstance(value, np.ndarray):
        return {"dtype": value.dtype.str, "values": value.tolist()}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return value


def _restored(value: Any) -> Any:
    """Return what `_plain` made such a value of."""
    if isinstance(value, dict) and value.keys() == {"dtype", "values"}:
        return np.array(value["values"], value["dtype"])
    return value
