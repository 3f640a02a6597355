"""A model in a file: the arrays of its parts, and as JSON its options and what fit has learnt.

The state of an optimiser is not there: for a fit that can go on, see checkpoint.py.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fastrnn.models import file, tensors

_WRITER = "`save` of a model"


def save(model: Any, path: Path) -> None:
    """Write a model that has been fitted, atomically.

    Args:
        model: an Estimator.
        path: where; an existing file is replaced.

    Raises:
        ValueError: JSON cannot hold a class or a symbol.
        OSError: it cannot be written.
    """
    arrays = tensors.join({name: part.params for name, part in model.parts.items()})
    file.write(path, arrays, described(model))


def described(model: Any) -> dict[str, str]:
    """Return the metadata of a model's file: its class, its options and what fit has learnt.

    Args:
        model: an Estimator, fitted or about to be.

    Raises:
        ValueError: JSON cannot hold a class or a symbol.
    """
    options = model.get_params() | {"dtype": np.dtype(model.dtype).name}
    del options["checkpoint"]
    options["init"] = None if callable(options["init"]) else options["init"]
    options["verbose"] = False if callable(options["verbose"]) else options["verbose"]
    names = (*model.learnt, *model.optional)
    learnt = {name: getattr(model, name) for name in names if hasattr(model, name)}
    try:
        return {
            "model": model.owner,
            "options": json.dumps(_plain(options)),
            "learnt": json.dumps(_plain(learnt)),
        }
    except TypeError as error:
        raise ValueError(f"{model.owner} cannot be saved: {error}") from None


def load(path: Path, kinds: Mapping[str, type]) -> Any:
    """Return the model in a file.

    Args:
        path: the file.
        kinds: the classes that the model may be of, by name.

    Raises:
        ValueError: it is another file, or damaged, or a model of another class.
        OSError: it cannot be read.
    """
    arrays, metadata = file.read(path, _WRITER)
    try:
        name = metadata["model"]
        if name not in kinds:
            raise ValueError(f"it holds a {name}; expected {' or '.join(kinds)}")
        options = json.loads(metadata["options"])
        model = kinds[name](**{option: _restored(value) for option, value in options.items()})
        learnt = json.loads(metadata["learnt"])
        for attribute in model.learnt:
            setattr(model, attribute, _restored(learnt[attribute]))
        for attribute in model.optional:
            if attribute in learnt:
                setattr(model, attribute, _restored(learnt[attribute]))
        model.check()
        # A damaged size has to fail before anything of that size is allocated.
        shapes = (a.shape for name, a in arrays.items() if not name.startswith("training."))
        largest = max((size for shape in shapes for size in shape), default=0)
        if max(model.hidden_size, model.n_features_in_, model.num_layers) > largest:
            raise ValueError("its options are too large for its tensors")
        model.build(model.seed)
    except KeyError as error:
        raise ValueError(f"{path} is not from {_WRITER}: it lacks {error}") from None
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"{path} cannot be loaded: {error}") from None
    file.restore(path, arrays, model.parts)
    return model


def _plain(value: Any) -> Any:
    """Return what JSON can hold in place of a value."""
    if isinstance(value, np.ndarray):
        return {"dtype": value.dtype.str, "values": value.tolist()}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):  # as JSON's have to be
            return {"pairs": [[_plain(key), _plain(item)] for key, item in value.items()]}
        return {key: _plain(item) for key, item in value.items()}
    return value


def _restored(value: Any) -> Any:
    """Undo `_plain`."""
    if isinstance(value, dict) and isinstance(value.get("pairs"), list):
        return dict(value["pairs"])
    if isinstance(value, dict) and isinstance(value.get("values"), list):
        return np.array(value["values"], value["dtype"])
    return value
