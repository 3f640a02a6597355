"""scikit-learn's conventions: what all five models do alike as objects.

scikit-learn itself is neither needed nor a base class; where it is installed, its clone,
cross-validation, searches and pipelines work. No network and no loss is here.
"""

import importlib
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from fastrnn.models import batches, reading, training
from fastrnn.models.description import described
from fastrnn.models.fitting import Fit
from fastrnn.models.options import Options, entropy
from fastrnn.models.sequences import Sequences
from fastrnn.models.vocabulary import Vocabulary
from fastrnn.nn.module import Module


class NotFittedError(ValueError, AttributeError):
    """A model was used before `fit`; scikit-learn's has the same two bases."""


class Estimator(Options):
    """What the models share; abstract. Its arguments are those of Options.

    Attributes:
        history_: dict of lists, one entry an epoch: "loss", the mean over all updates of it,
            "gradient_norm", the mean before clipping, "lr", "seconds", and with validation
            "validation_loss".
        vocabulary_: the sorted symbols that X had in fit; None where it had floats.
        n_features_in_: I: the size of the last axis of X, or the number of symbols.
    """

    learnt: ClassVar[tuple[str, ...]] = ("vocabulary_", "n_features_in_", "history_")
    _kind: ClassVar[str | None] = None  # in scikit-learn's terms
    _names: ClassVar[tuple[str, ...]]  # of the parts, without the underscore; some may be None
    history_: dict[str, list[float]]
    vocabulary_: Vocabulary | None
    n_features_in_: int

    def save(self, path: str | Path) -> None:
        """Write the model to a file, atomically: safetensors, with options and classes as JSON.

        A callable `init` or `verbose` is not kept, nor is `checkpoint`.

        Args:
            path: where; an existing file is replaced.

        Raises:
            NotFittedError: there is nothing to save yet.
            ModuleNotFoundError: the extra `cli` is missing.
            ValueError: a file cannot hold a class or a symbol; fit has warned of it.
            OSError: it cannot be written.
        """
        self._check_fitted()
        _needs_safetensors("saving").save(self, Path(path))

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Return the model in a file, which predicts the same bit for bit.

        Args:
            path: what `save` of this class wrote, or a checkpoint of it: then the model is what
                the fit would have left, had it been interrupted there.

        Raises:
            ModuleNotFoundError: the extra `cli` is missing.
            ValueError: it is another file, or damaged, or of another class.
            OSError: it cannot be read.
        """
        return _needs_safetensors("saving").load(Path(path), _kinds(cls))

    def build(self, seed: int | None) -> None:
        """Make a new network, whose sizes follow from what fit has learnt of the data.

        Args:
            seed: of its initial parameters, and of dropout.
        """
        self._make(np.random.SeedSequence(seed).generate_state(4).tolist())

    @property
    def parts(self) -> dict[str, Module]:
        """The parts of the network that have parameters, by name: "rnn" is `rnn_`."""
        parts = {name: getattr(self, name + "_") for name in self._names}
        return {name: part for name, part in parts.items() if part is not None}

    def _make(self, seeds: list[int]) -> None:
        """Set the parts of a new network, `rnn_` and so on."""
        raise NotImplementedError

    def _train(
        self, losses: partial, lengths: NDArray, validate: Callable[[], float] | None = None
    ) -> Self:
        """Build a network and fit it, or go on from the checkpoint of that fit.

        Args:
            losses: a training.Losses whose bound arguments are all data that is learnt from.
            lengths: (N,) of the sequences, in steps.
            validate: returns the validation loss; None: a part of the sequences serves for that,
                if the options say so.
        """
        self._check_savable()
        if self.checkpoint is None:
            return self._fit(losses, lengths, validate, None)
        with _needs_safetensors("checkpoint").Checkpoint(self, losses.args) as checkpoint:
            return self._fit(losses, lengths, validate, checkpoint)

    def _fit(
        self,
        losses: partial,
        lengths: NDArray,
        validate: Callable[[], float] | None,
        checkpoint: Any,
    ) -> Self:
        seed = entropy(self.seed) if checkpoint is None else checkpoint.seed
        self.build(seed)
        random = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(1,)))
        rows = np.arange(len(lengths))
        if validate is None and self.validation_fraction:
            rows, held_out = batches.split(len(lengths), self.validation_fraction, random)
            validate = partial(training.evaluate, losses, lengths, held_out)
        task = training.Task(losses, partial(batches.shuffled, lengths, rows, self.batch_size))
        fit = Fit(training.Trainer(self, self.parts, task, random), validate)
        if checkpoint is not None:
            checkpoint.restore(fit)
        self.history_ = fit.history
        fit.run(lambda: None if checkpoint is None else checkpoint.save(fit))
        return self

    def _check_savable(self) -> None:
        """Say before training what `save` would say after it."""
        try:
            described(self)
        except ValueError as error:
            if self.checkpoint is not None:
                raise
            warnings.warn(str(error), stacklevel=4)

    def _begin(self) -> None:
        """Check the options, and forget an earlier fit."""
        self.check()
        self.__dict__.pop("history_", None)

    def _learn_input(self, X: Any, lengths: Any) -> Sequences:
        """Begin to fit: note what X is made of."""
        self._begin()
        dtype = np.dtype(self.dtype)
        x, self.vocabulary_ = reading.learn(self.owner, "X", X, lengths, dtype)
        known = self.vocabulary_
        self.n_features_in_ = x.values.shape[1] if known is None else len(known)
        return x

    def _known_input(self, X: Any, lengths: Any) -> Sequences:
        """Check that there is a network, and that X is of the kind that it has learnt to read."""
        self._check_fitted()
        return reading.known(
            self.owner, "X", X, lengths, np.dtype(self.dtype), self.vocabulary_, self.n_features_in_
        )

    def _check_fitted(self) -> None:
        if not self.__sklearn_is_fitted__():
            raise NotFittedError(
                f"This {self.owner} instance is not fitted yet; call fit with data first."
            )

    def _check_count(self, x: int, y: int) -> None:
        if x != y:
            raise ValueError(
                f"{self.owner}: X has {x} sequences, and y {y}; expected one of y for each of X."
            )

    def _check_direction(self, because: str) -> None:
        """Raise ValueError for a network of two directions with truncated BPTT."""
        if self.truncate is not None and self.bidirectional:
            raise ValueError(
                f"{self.owner}: truncate = {self.truncate} with bidirectional=True: {because}; "
                "set one of them to None or False."
            )

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "history_")

    def __sklearn_tags__(self):
        from sklearn import utils

        tags = utils.Tags(
            estimator_type=self._kind,
            target_tags=utils.TargetTags(required=True),
            input_tags=utils.InputTags(three_d_array=True, string=True),
        )
        tags.classifier_tags = utils.ClassifierTags() if self._kind == "classifier" else None
        tags.regressor_tags = utils.RegressorTags() if self._kind == "regressor" else None
        return tags


load = Estimator.load


def _kinds(of: type) -> dict[str, type]:
    """Return a class and all its subclasses by name, without the abstract ones."""
    found = {of.__name__: of} if hasattr(of, "_names") and hasattr(of, "fit") else {}
    for kind in of.__subclasses__():
        found |= _kinds(kind)
    return found


def _needs_safetensors(module: str) -> Any:
    """Return a module of this folder that needs the extra."""
    try:
        return importlib.import_module(f"fastrnn.models.{module}")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "safetensors":
            raise
        raise ModuleNotFoundError(
            'model files need safetensors: pip install "fastrnn[cli]"', name=error.name
        ) from None
