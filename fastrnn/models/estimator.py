"""scikit-learn's conventions: what all five models do alike as objects.

scikit-learn itself is neither needed nor a base class; where it is installed, its clone,
cross-validation, searches and pipelines work. No network and no loss is here.
"""

import contextlib
import importlib
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from fastrnn.models import batches, reading, training
from fastrnn.models import weights as weighting
from fastrnn.models.columns import check_names, feature_names
from fastrnn.models.description import described
from fastrnn.models.fitting import Fit
from fastrnn.models.not_fitted import not_fitted
from fastrnn.models.options import Options, entropy
from fastrnn.models.sequences import Sequences
from fastrnn.models.vocabulary import Vocabulary
from fastrnn.nn.module import Module


class Estimator(Options):
    """What the models share; abstract. Its arguments are those of Options.

    Attributes:
        history_: dict of lists, one entry an epoch: "loss", the mean over all updates of it,
            "gradient_norm", the mean before clipping, "lr", "seconds", and with validation
            "validation_loss".
        vocabulary_: the sorted symbols that X had in fit; None where it had floats.
        n_features_in_: I: the size of the last axis of X, or the number of symbols.
        feature_names_in_: the names of the columns, only where X had tables with names.
    """

    learnt: ClassVar[tuple[str, ...]] = ("vocabulary_", "n_features_in_", "history_")
    optional: ClassVar[tuple[str, ...]] = ("feature_names_in_",)  # learnt from some data only
    _kind: ClassVar[str | None] = None  # in scikit-learn's terms
    _needs_y: ClassVar[bool] = True
    _names: ClassVar[tuple[str, ...]]  # of the parts, without the underscore; some may be None
    history_: dict[str, list[float]]
    vocabulary_: Vocabulary | None
    n_features_in_: int
    feature_names_in_: NDArray

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
        self,
        losses: partial,
        lengths: NDArray,
        validate: Callable[[], float] | None = None,
        weights: Sequences | None = None,
    ) -> Self:
        """Build a network and fit it, or go on from the checkpoint of that fit.

        Args:
            losses: a training.Losses whose bound arguments are all data that is learnt from, but
                for the weights, which it takes as `weights`.
            lengths: (N,) of the sequences, in steps.
            validate: returns the validation loss; None: a part of the sequences serves for that,
                if the options say so.
            weights: of the steps of each sequence, or of the one target that it has; None: all
                alike.
        """
        self._check_savable()
        with self._checkpoint(losses.args if weights is None else (*losses.args, weights)) as kept:
            seed = entropy(self.seed) if kept is None else kept.seed
            self.build(seed)
            random = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(1,)))
            rows = np.arange(len(lengths)) if weights is None else weighting.counted(weights)
            groups = [rows]
            if validate is None and self.validation_fraction:
                parts = batches.split(len(rows), self.validation_fraction, random)
                groups = [rows[part] for part in parts]
            if weights is not None:
                losses = partial(losses, weights=weighting.normalised(weights, groups))
            if len(groups) > 1:
                validate = partial(training.evaluate, losses, lengths, groups[1])
            drawn = partial(batches.shuffled, lengths, groups[0], self.batch_size)
            trainer = training.Trainer(self, self.parts, training.Task(losses, drawn), random)
            fit = Fit(trainer, validate)
            if kept is not None:
                kept.restore(fit)
            self.history_ = fit.history
            fit.run(lambda: None if kept is None else kept.save(fit))
        return self

    def _checkpoint(self, data: tuple) -> Any:
        """Return what to enter for the checkpoint of a fit, or for None where there is none."""
        if self.checkpoint is None:
            return contextlib.nullcontext()
        return _needs_safetensors("checkpoint").Checkpoint(self, data)

    def _check_savable(self) -> None:
        """Say before training what `save` would say after it."""
        try:
            described(self)
        except ValueError as error:
            if self.checkpoint is not None:
                raise
            warnings.warn(str(error), stacklevel=4)

    @contextlib.contextmanager
    def _fitting(self) -> Iterator[None]:
        """Fit inside: an earlier fit is forgotten, and so is this one if it fails too early.

        A fit that fails after an epoch has ended leaves the best epoch, and else nothing: the
        model is not fitted.
        """
        self._forget()
        self.check()
        try:
            yield
        except BaseException:
            if not self.__dict__.get("history_"):
                self._forget()
            raise

    def _forget(self) -> None:
        """Remove all that a fit sets."""
        parts = (name + "_" for name in self._names)
        for name in (*self.learnt, *self.optional, *parts):
            self.__dict__.pop(name, None)

    def _learn_input(self, X: Any, lengths: Any) -> Sequences:
        """Begin to fit: note what X is made of."""
        self._learn_names(X)
        dtype = np.dtype(self.dtype)
        x, self.vocabulary_ = reading.learn(self.owner, "X", X, lengths, dtype)
        known = self.vocabulary_
        self.n_features_in_ = x.values.shape[1] if known is None else len(known)
        return x

    def _known_input(self, X: Any, lengths: Any) -> Sequences:
        """Check that there is a network, and that X is of the kind that it has learnt to read."""
        self._check_fitted()
        self._check_names(X)
        return reading.known(
            self.owner,
            "X",
            X,
            lengths,
            next(iter(self.parts.values())).dtype,
            self.vocabulary_,
            self.n_features_in_,
            self._unknown(self.n_features_in_),
        )

    def _unknown(self, index: int) -> int | None:
        """Return the index of symbols that fit has not seen; None: they are errors."""
        return index if self.unknown == "ignore" else None

    def _learn_names(self, X: Any) -> None:
        names = feature_names(f"{self.owner}: X", X)
        if names is not None:
            self.feature_names_in_ = names

    def _check_names(self, X: Any) -> None:
        fitted = getattr(self, "feature_names_in_", None)
        check_names(self.owner, fitted, feature_names(f"{self.owner}: X", X))

    def _check_fitted(self) -> None:
        if not self.__sklearn_is_fitted__():
            raise not_fitted(
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
            target_tags=utils.TargetTags(
                required=self._needs_y, multi_output=self._kind == "regressor"
            ),
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
