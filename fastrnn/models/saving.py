"""A model in a file: the arrays of its parts, and in JSON what description.py says of it.

The state of an optimiser is not there: for a fit that can go on, see checkpoint.py.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastrnn import files
from fastrnn.models import file, tensors
from fastrnn.models.description import described, model_of
from fastrnn.nn import sizes

_WRITER = "`save` of a model"


def save(model: Any, path: Path) -> None:
    """Write a model that has been fitted, atomically.

    Args:
        model: an Estimator.
        path: where; an existing file is replaced.

    Raises:
        ValueError: a file cannot hold a class, a symbol or an option.
        KeyError, TypeError: `params` of a layer are not what they should be.
        OSError: it cannot be written.
    """
    parts = {
        name: {key: part.parameter(key) for key in part.shapes}
        for name, part in model.parts.items()
    }
    file.write(path, tensors.join(parts), described(model))


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
    name = files.shown(path)
    try:
        model = model_of(metadata, kinds)
        own = [array for key, array in arrays.items() if not key.startswith("training.")]
        # A damaged size has to fail before anything of that size is allocated.
        with sizes.at_most(sizes.Amount(len(own), sum(array.nbytes for array in own))):
            model.build(model.seed)
    except KeyError as error:
        raise ValueError(f"{name} is not from {_WRITER}: it lacks {error}") from None
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        RecursionError,
        TypeError,
        ValueError,
    ) as error:
        raise ValueError(f"{name} cannot be loaded: {error}") from None
    file.restore(path, arrays, model.parts, ["training"])
    return model
