"""scikit-learn's conventions: what all five models do alike as objects.

scikit-learn itself is not needed, and not a base class; where it is there, its clone,
cross-validation, searches and pipelines work.
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from fastrnn.models import batches, sequences, training
from fastrnn.models.options import Options
from fastrnn.models.sequences import Sequences
from fastrnn.models.vocabulary import Vocabulary
from fastrnn.nn.module import Module


class NotFittedError(ValueError, AttributeError):
    """A model was used before `fit`; scikit-learn's has the same two bases."""


class Estimator(Options):
    """The part that the models share; abstract. Its options are those of Options.

    Attributes:
        history_: dict of lists, one entry an epoch: "loss", the mean over all updates of it,
            "gradient_norm", the mean before clipping, "lr", "seconds", and with validation
            "validation_loss".
        vocabulary_: the sorted symbols that X had in fit; None where it had floats.
        n_features_in_: I: the size of the last axis of X, or the number of symbols.
    """

    _kind: ClassVar[str | None] = None  # in scikit-learn's terms
    _learnt: ClassVar[tuple[str, ...]] = ("vocabulary_", "n_features_in_", "history_")
    _names: ClassVar[tuple[str, ...]]  # of the parts, without the underscore; some may be None
    history_: dict[str, list[float]]
    vocabulary_: Vocabulary | None
    n_features_in_: int

    def save(self, path: str | Path) -> None:
        """Write the model to a file, atomically: safetensors, with options and classes as JSON.

        A callable `init` is not kept: it has done its work.

        Args:
            path: where; an existing file is replaced.

        Raises:
            NotFittedError: there is nothing to save yet.
            ModuleNotFoundError: the extra `cli` is missing.
            ValueError: a class is of a kind that JSON has not.
            OSError: it cannot be written.
        """
        self._check_fitted()
        _saving().save(self, Path(path))

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Return the model in a file, which predicts the same bit for bit.

        Args:
            path: what `save` of this class wrote.

        Raises:
            ModuleNotFoundError: the extra `cli` is missing.
            ValueError: it is no such file, or damaged, or of another class.
            OSError: it cannot be read.
        """
        return _saving().load(Path(path), _kinds(cls))

    def _make(self, seeds: list[int]) -> None:
        """Set the parts of a new network, `rnn_` and so on; what fit learnt of sizes is known."""
        raise NotImplementedError

    def _build(self) -> None:
        self._make(np.random.SeedSequence(self.seed).generate_state(4).tolist())

    @property
    def _parts(self) -> dict[str, Module]:
        parts = {name: getattr(self, name + "_") for name in self._names}
        return {name: part for name, part in parts.items() if part is not None}

    def _train(
        self, losses: training.Losses, lengths: NDArray, validate: Callable[[], float] | None = None
    ) -> Self:
        """Build a network and fit it.

        Args:
            losses: as in `training.train`.
            lengths: as in `training.train`.
            validate: returns the validation loss; None: a part of the sequences serves for that,
                if the options say so.
        """
        self._build()
        random = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(1,)))
        learnt = np.arange(len(lengths))
        if validate is None and self.validation_fraction:
            learnt, held_out = batches.split(len(lengths), self.validation_fraction, random)
            validate = partial(training.evaluate, losses, lengths, held_out)
        self.history_ = {}
        training.train(
            self,
            list(self._parts.values()),
            losses,
            lengths,
            learnt,
            validate,
            random,
            self.history_,
        )
        return self

    def _begin(self) -> None:
        """Check the options, and forget an earlier fit."""
        self._check()
        self.__dict__.pop("history_", None)

    def _learn_input(self, X: Any, lengths: Any) -> Sequences:
        """Begin to fit: note what X is made of."""
        self._begin()
        dtype = np.dtype(self.dtype)
        x, self.vocabulary_ = sequences.learn(self._owner, "X", X, lengths, dtype)
        known = self.vocabulary_
        self.n_features_in_ = x.values.shape[1] if known is None else len(known)
        return x

    def _known_input(self, X: Any, lengths: Any) -> Sequences:
        """Check that there is a network, and that X is such as it has learnt to read."""
        self._check_fitted()
        return sequences.known(
            self._owner,
            "X",
            X,
            lengths,
            np.dtype(self.dtype),
            self.vocabulary_,
            self.n_features_in_,
        )

    def _check_fitted(self) -> None:
        if not self.__sklearn_is_fitted__():
            raise NotFittedError(
                f"This {self._owner} instance is not fitted yet; call fit with data first."
            )

    def _check_count(self, x: int, y: int) -> None:
        if x != y:
            raise ValueError(
                f"{self._owner}: X has {x} sequences, and y {y}; expected one of y for each of X."
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
    """Return a class and all that are made from it, by name, but for abstract ones."""
    found = {of.__name__: of} if hasattr(of, "_names") and hasattr(of, "fit") else {}
    for kind in of.__subclasses__():
        found |= _kinds(kind)
    return found


def _saving():
    try:
        from fastrnn.models import saving
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "safetensors":
            raise
        raise ModuleNotFoundError(
            'model files need safetensors: pip install "fastrnn[cli]"', name=error.name
        ) from None
    return saving


def one_direction(options: Options, because: str) -> None:
    """Raise ValueError for a network of two directions with truncated BPTT."""
    if options.truncate is not None and options.bidirectional:
        raise ValueError(
            f"{options._owner}: truncate = {options.truncate} with bidirectional=True: {because}; "
            "set one of them to None or False."
        )


def numbers(owner: str, name: str, given: Any, shapes: Mapping[int, str]) -> NDArray:
    """Return an array of float64.

    Args:
        owner: the model, for errors.
        name: the argument.
        given: the array, or what becomes one.
        shapes: number of axes -> what that is called, of all that will do.

    Raises:
        ValueError: it is no array of numbers, has another shape, or a NaN or an infinity in it.
    """
    found = np.asarray(given)
    if found.dtype.kind not in "fiub" or found.ndim not in shapes or not found.size:
        raise ValueError(
            f"{owner}: {name} is {found.dtype} of shape {found.shape}; expected numbers, "
            f"{' or '.join(shapes.values())}."
        )
    if not np.isfinite(found).all():
        where = np.argwhere(~np.isfinite(found))[0].tolist()
        raise ValueError(f"{owner}: {name}{where} is not finite.")
    return found.astype(np.float64)


def labels(owner: str, y: Any) -> NDArray:
    """Return y as an array (N,) of labels.

    Raises:
        ValueError: it has another shape, or NaN in it.
    """
    found = np.asarray(y)
    if found.ndim != 1:
        raise ValueError(f"{owner}: y has shape {found.shape}; expected (N,), one label each.")
    if found.dtype.kind == "f" and not np.isfinite(found).all():
        raise ValueError(f"{owner}: y[{np.argmin(np.isfinite(found))}] is not finite.")
    return found
