"""The file of a fit that can go on: a model file, with the state of the training beside the model.

Its `rnn.*` and so on are what the fit would leave if it stopped there, so that `load` reads it as
a model; `training.*` is what the fit goes on from. What that is, is in fitting.py and training.py.
"""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from fastrnn.models import file, saving, tensors
from fastrnn.models.fitting import Fit
from fastrnn.models.options import entropy
from fastrnn.models.training import Snapshot

_FREE = ("epochs", "verbose")  # options that may change from one process to the next


class Checkpoint:
    """The checkpoint of one fit, which may be there already.

    Args:
        model: an Estimator that is about to be fitted; `checkpoint` is the path.
        data: all that it learns from: arrays, None, and tuples of these.

    Attributes:
        seed: what the fit draws from, in every process.

    Raises:
        ValueError: the file is something else, damaged, or of a fit with other options or data.
        OSError: the file cannot be read.
    """

    def __init__(self, model: Any, data: tuple):
        self._model, self._path = model, Path(model.checkpoint).absolute()
        self._digest = digest(data)
        self._found: tuple[Snapshot, dict[str, list[float]]] | None = None
        self.seed = entropy(model.seed)
        if self._path.is_file():
            self._read()

    def restore(self, fit: Fit) -> None:
        """Have a fit that has not begun go on from the file, if it was there.

        Raises:
            ValueError: it does not fit.
        """
        if self._found is None:
            return
        try:
            fit.load_state_dict(*self._found)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{self._path} is damaged: {error}") from None
        finally:
            self._found = None
        total, epoch = self._model.epochs, fit.trainer.epoch
        if total < epoch:
            raise ValueError(
                f"{self._model.owner}: epochs = {total} is the total, and the checkpoint "
                f"{self._path} is already at {epoch}."
            )

    def save(self, fit: Fit) -> None:
        """Write the file, atomically, as the last completed update left the fit.

        Args:
            fit: the fit.

        Raises:
            ValueError: the path exists and is not a file; or JSON cannot hold a class or a symbol.
            OSError: the file cannot be written.
        """
        with fit.trainer.lock:
            snapshot = fit.state_dict()
            arrays = tensors.join(fit.outcome)
            arrays |= {f"training.{name}": array for name, array in snapshot.tensors.items()}
            described = saving.described(self._model)
        training = {**snapshot.facts, "seed": self.seed, "data": self._digest}
        file.write(self._path, arrays, {**described, "training": json.dumps(training)})

    def _read(self) -> None:
        arrays, metadata = file.read(self._path, "`fit` of a model")
        try:
            training, learnt = (json.loads(metadata[name]) for name in ("training", "learnt"))
            options, history = json.loads(metadata["options"]), learnt.pop("history_")
            differing = self._differing(metadata["model"], options, learnt, training["data"])
            self.seed = int(training["seed"])
        except KeyError as error:
            raise ValueError(
                f"{self._path} exists and is not the checkpoint of a fit: it lacks {error}; give "
                "another path, or remove it"
            ) from None
        except (AttributeError, TypeError, ValueError) as error:
            raise ValueError(f"{self._path} is damaged: {error}") from None
        if differing:
            raise ValueError(
                f"{self._model.owner}: the checkpoint {self._path} is of another fit: "
                f"{'; '.join(differing)}. Give another path, or remove it."
            )
        self._found = Snapshot(tensors.part(arrays, "training"), training), history

    def _differing(self, model: str, options: dict, learnt: dict, data: str) -> list[str]:
        """Return what the file's fit and this one do not have in common."""
        mine = saving.described(self._model)
        if model != mine["model"]:
            return [f"it is of a {model}"]
        # An option that is younger than the file had what is now its default.
        defaults = json.loads(saving.described(type(self._model)())["options"])
        options = defaults | options
        differing = [
            f"{name} was {options[name]!r} and is {value!r}"
            for name, value in json.loads(mine["options"]).items()
            if name not in _FREE and options[name] != value
        ]
        if learnt != json.loads(mine["learnt"]) or data != self._digest:
            differing.append("the data is not the same")
        return differing


def digest(data: Iterable[Any]) -> str:
    """Return a SHA-256 of arrays, None, and tuples of these, as hexadecimal digits."""
    found = hashlib.sha256()
    for item in data:
        if isinstance(item, tuple):
            found.update(digest(item).encode())
        elif item is None:
            found.update(b"None")
        else:
            found.update(f"{item.dtype.str} {item.shape} ".encode())
            found.update(np.ascontiguousarray(item).data)
    return found.hexdigest()
