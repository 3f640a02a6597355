"""The file of a fit that can go on: a model file, with the state of the training beside the model.

Its `rnn.*` and so on are what the fit would leave if it stopped there, so that `load` reads it as
a model; `training.*` is what the fit goes on from. What that is, is in fitting.py and training.py.
"""

import hashlib
import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

import numpy as np

from fastrnn import files
from fastrnn.claims import Claim
from fastrnn.models import file, plain, states, tensors
from fastrnn.models.description import described, is_history
from fastrnn.models.fitting import Fit
from fastrnn.models.options import entropy
from fastrnn.models.training import Snapshot
from fastrnn.nn.layer import RecurrentLayer

# What may come of facts that are not what they should be.
_DAMAGE = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
_FREE = ("epochs", "verbose")  # options that may change from one process to the next


class Checkpoint:
    """The checkpoint of one fit, which may be there already; inside `with`, no other fit has it.

    Args:
        model: an Estimator that is about to be fitted; `checkpoint` is the path.
        data: all that it learns from: arrays, None, and tuples of these.

    Attributes:
        seed: what the fit draws from, in every process.
    """

    def __init__(self, model: Any, data: tuple):
        self._model, self._path = model, Path(model.checkpoint).absolute()
        self._digest = digest(data)
        self._found: tuple[Snapshot, dict[str, list[float]]] | None = None
        self._outcome: tensors.Tensors = {}
        self.seed = entropy(model.seed)
        self._name, self._claim = files.shown(self._path), Claim(self._path)

    def __enter__(self) -> Self:
        """Claim the file, and read it if it is there.

        Raises:
            ValueError: it is something else, damaged, or of a fit with other options or data.
            OSError: it cannot be read or written, or another fit has it.
        """
        self._claim.__enter__()
        try:
            if self._path.exists():
                self._read()
        except BaseException:
            self._claim.release()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self._claim.release()

    def restore(self, fit: Fit) -> None:
        """Have a fit that has not begun go on from the file, if it was there.

        Raises:
            ValueError: it does not fit.
        """
        if self._found is None:
            return
        try:
            tensors.check_alike(self._outcome, self._parameters())
            self._check_places(*self._found)
            fit.load_state_dict(*self._found)
            if fit.trainer.optimizer.steps != fit.trainer.step:
                raise ValueError(f"optimizer.step is not {fit.trainer.step}")
        except _DAMAGE as error:
            raise ValueError(f"{self._name} is damaged: {error}") from None
        finally:
            self._found = None
        total, epoch = self._model.epochs, fit.trainer.epoch
        if total < epoch:
            raise ValueError(
                f"{self._model.owner}: epochs = {total} is the total, and the checkpoint "
                f"{self._name} is already at {epoch}."
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
            words = described(self._model)
        training = {**snapshot.facts, "seed": self.seed, "data": self._digest}
        file.write(self._path, arrays, {**words, "training": json.dumps(training)})

    def _read(self) -> None:
        arrays, metadata = file.read(self._path, "`fit` of a model")
        try:
            training, learnt = (json.loads(metadata[name]) for name in ("training", "learnt"))
            options, history = json.loads(metadata["options"]), learnt.pop("history_")
            differing = self._differing(metadata["model"], options, learnt, training["data"])
            self.seed = int(training["seed"])
        except KeyError as error:
            raise ValueError(
                f"{self._name} exists and is not the checkpoint of a fit: it lacks {error}; give "
                "another path, or remove it"
            ) from None
        except _DAMAGE as error:
            raise ValueError(f"{self._name} is damaged: {error}") from None
        if differing:
            raise ValueError(
                f"{self._model.owner}: the checkpoint {self._name} is of another fit: "
                f"{'; '.join(differing)}. Give another path, or remove it."
            )
        self._found = Snapshot(tensors.part(arrays, "training"), training), history
        self._outcome = {
            name: array for name, array in arrays.items() if not name.startswith("training.")
        }

    def _parameters(self) -> tensors.Tensors:
        return tensors.join({name: part.params for name, part in self._model.parts.items()})

    def _check_places(self, snapshot: Snapshot, history: dict[str, list[float]]) -> None:
        """Raise ValueError if there is no such place in a fit, or no such state to go on in."""
        facts, arrays = snapshot.facts, snapshot.tensors
        for name in ("step", "epoch", "batch", "piece"):
            if type(facts[name]) is not int or facts[name] < 0:
                raise ValueError(f"there is no {name} {facts[name]!r}")
        if not is_history(history) or any(len(h) != facts["epoch"] for h in history.values()):
            raise ValueError(f"its history is not of {facts['epoch']} epochs")
        best, seconds = facts["best"], facts["seconds"]
        if type(best["stale"]) is not int or not {type(best["loss"]), type(seconds)} <= {float}:
            raise TypeError(f"there is no best epoch {best!r} after {seconds!r} seconds")
        kept = tensors.part(arrays, "best")
        if kept or best["loss"] < math.inf:
            tensors.check_alike(kept, self._parameters())
        tensors.check(arrays, {*self._model.parts, "optimizer", "state", "updates", "best"})
        layers = [p for p in self._model.parts.values() if isinstance(p, RecurrentLayer)]
        carried = tensors.part(arrays, "state")
        states.check(layers[-1], carried)
        if facts["piece"] and not carried:
            raise ValueError(f"it has no state to begin piece {facts['piece']} in")

    def _differing(self, model: str, options: dict, learnt: dict, data: str) -> list[str]:
        """Return what the file's fit and this one do not have in common."""
        mine = described(self._model)
        if model != mine["model"]:
            return [f"it is of a {model}"]
        # An option that is younger than the file had what is now its default.
        defaults = json.loads(described(type(self._model)())["options"])
        options = defaults | options
        differing = [
            f"{name} was {options[name]!r} and is {value!r}"
            for name, value in json.loads(mine["options"]).items()
            if name not in _FREE and _plainest(options[name]) != _plainest(value)
        ]
        if learnt != json.loads(mine["learnt"]) or data != self._digest:
            differing.append("the data is not the same")
        return differing


def _plainest(option: Any) -> str:
    """Return an option in JSON as earlier versions had it too: tuples were lists."""
    return json.dumps(plain.decode(option), sort_keys=True, default=repr)


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
