"""The hyper-parameters that all models share, and the one place that checks their ranges.

As scikit-learn wants it, they are kept as they were given, and checked when `fit` is called. What
a model does with them is not here.
"""

import inspect
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, fields
from typing import Any

import numpy as np

from fastrnn import checks, optim
from fastrnn.nn.registry import layer_class

OPTIMIZERS = {"adam": optim.Adam, "adamw": optim.AdamW, "rmsprop": optim.RMSprop, "sgd": optim.SGD}


@dataclass(eq=False, repr=False)
class Options:
    """What a model is made and trained with; abstract.

    Args:
        hidden_size: H, units of each layer and direction; default 64.
        cell: recurrent unit: "rnn" (tanh), "relu", "lstm" or "gru"; default "lstm".
        num_layers: recurrent layers, each reading the output of the one below; default 1.
        bidirectional: whether a second direction reads from the end; default False.
        dropout: probability, in training, that an element between two layers becomes 0;
            default 0.0.
        init: how the recurrent layers are initialised: None, as torch's; "uniform", "glorot",
            "orthogonal", "identity" or "forget_bias", by the function of `fastrnn.init`; or a
            callable that takes a layer and changes it in place, such as partial(init.orthogonal,
            gain=0.9). One that takes a `seed` is given one; default None.
        optimizer: "adam", "adamw", "rmsprop" or "sgd"; default "adam".
        optimizer_options: what else the optimiser takes, as {"momentum": 0.9}; None: nothing;
            default None.
        lr: learning rate; default 3e-3.
        lr_decay: the learning rate of epoch e, counted from 0, is lr * lr_decay**e; default 1.0.
        clip_norm: largest norm of the gradient, which is scaled down to it; None: any; default 1.0.
        clip_value: largest absolute value of an entry of the gradient, clipped before the norm is;
            None: any; default None.
        truncate: steps that a gradient goes back (truncated BPTT); None: all; default None.
        batch_size: sequences in an update; default 32.
        epochs: passes over all sequences; default 50.
        validation_fraction: fraction of the sequences, at most 0.9, that is drawn at random and not
            learnt from. If it is above 0, the parameters of the epoch with the lowest validation
            loss are kept; default 0.0.
        patience: epochs in a row without a lower validation loss after which fit stops; None: it
            does not; default None.
        unknown: what becomes of a symbol in X that fit has not seen: "error", or "ignore": it is
            read as zeros, where a known one is read as a one among zeros; default "error".
        dtype: "float32" or "float64"; default "float32".
        seed: of the initial parameters, the order of batches, the held-out part and dropout; None:
            another at every fit; default 0.
        checkpoint: file in which fit keeps its state (extra `cli`), written every minute, and when
            fit ends, fails or is interrupted. If the file exists, fit goes on from it, bit for bit;
            options and data have to be the same, but `epochs` may grow. None: no file; default
            None.
        verbose: whether to show a progress bar (extra `cli`); or a function to call after each
            epoch, with the number of epochs done and of all; default False.
    """

    hidden_size: int = 64
    _: KW_ONLY
    cell: str = "lstm"
    num_layers: int = 1
    bidirectional: bool = False
    dropout: float = 0.0
    init: str | Callable | None = None
    optimizer: str = "adam"
    optimizer_options: Mapping[str, Any] | None = None
    lr: float = 3e-3
    lr_decay: float = 1.0
    clip_norm: float | None = 1.0
    clip_value: float | None = None
    truncate: int | None = None
    batch_size: int = 32
    epochs: int = 50
    validation_fraction: float = 0.0
    patience: int | None = None
    unknown: str = "error"
    dtype: Any = "float32"
    seed: int | None = 0
    checkpoint: str | os.PathLike | None = None
    verbose: bool | Callable[[int, int], None] = False

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the hyper-parameters by name; `deep` is there for scikit-learn and does nothing.

        Args:
            deep: ignored, as no model has a model inside.
        """
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def set_params(self, **params: Any):
        """Change hyper-parameters, for the next fit, and return the model.

        Raises:
            ValueError: there is none of that name; then nothing is changed.
        """
        known = self.get_params()
        for name in params:
            if name not in known:
                raise ValueError(
                    f"{self.owner} has no parameter {name!r}; it has {', '.join(known)}."
                )
        for name, value in params.items():
            setattr(self, name, value)
        return self

    def clone(self):
        """Return a model with the same hyper-parameters that has not been fitted."""
        return type(self)(**self.get_params())

    def __repr__(self) -> str:
        changed = (
            f"{field.name}={getattr(self, field.name)!r}"
            for field in fields(self)
            if getattr(self, field.name) != field.default
        )
        return f"{self.owner}({', '.join(changed)})"

    @property
    def owner(self) -> str:
        """The name of the class, with which its error messages begin."""
        return type(self).__name__

    def check(self) -> None:
        """Raise TypeError or ValueError if a hyper-parameter is out of its range."""
        name = self.owner
        for option in ("hidden_size", "num_layers", "batch_size", "epochs"):
            checks.integer(name, option, getattr(self, option))
        for option in ("truncate", "patience"):
            if getattr(self, option) is not None:
                checks.integer(name, option, getattr(self, option))
        if self.seed is not None:
            checks.integer(name, "seed", self.seed, least=0)
        if not isinstance(self.bidirectional, bool | np.bool_):
            raise TypeError(
                f"{name}: bidirectional has to be True or False, got {self.bidirectional!r}."
            )
        if not isinstance(self.verbose, bool | np.bool_) and not callable(self.verbose):
            raise TypeError(
                f"{name}: verbose has to be True, False or a function, got {self.verbose!r}."
            )
        if self.checkpoint is not None and not isinstance(self.checkpoint, str | os.PathLike):
            raise TypeError(f"{name}: checkpoint has to be a path, got {self.checkpoint!r}.")
        checks.probability(name, "dropout", self.dropout)
        checks.float_dtype(name, self.dtype)
        try:
            layer_class(self.cell)
        except ValueError as error:
            raise ValueError(f"{name}: {error}.") from None
        for option, largest in (("lr", math.inf), ("lr_decay", 1.0)):
            self._number(option, largest)
        for option in ("clip_norm", "clip_value"):
            if getattr(self, option) is not None:
                self._number(option, math.inf)
        if self.validation_fraction != 0:
            self._number("validation_fraction", 0.9)
        elif self.patience is not None:
            raise ValueError(
                f"{name}: patience = {self.patience} counts epochs without a better validation "
                "loss, and validation_fraction = 0 leaves nothing to compute one from; set it to "
                "0.1, say."
            )
        if self.unknown not in ("error", "ignore"):
            raise ValueError(f"{name}: unknown must be 'error' or 'ignore', got {self.unknown!r}.")
        self._check_optimizer()

    def _number(self, option: str, largest: float) -> None:
        value = getattr(self, option)
        numeric = isinstance(value, int | float | np.number) and not isinstance(value, bool)
        if not numeric or not 0 < value <= largest or math.isinf(value):
            limit = "finite" if largest == math.inf else f"at most {largest:g}"
            raise ValueError(f"{self.owner}: {option} must be above 0 and {limit}, got {value!r}.")

    def _check_optimizer(self) -> None:
        if not isinstance(self.optimizer, str) or self.optimizer not in OPTIMIZERS:
            raise ValueError(
                f"{self.owner}: optimizer must be one of {', '.join(OPTIMIZERS)}; got "
                f"{self.optimizer!r}."
            )
        more = {} if self.optimizer_options is None else self.optimizer_options
        if not isinstance(more, Mapping):
            raise TypeError(f"{self.owner}: optimizer_options has to be a dict, got {more!r}.")
        rule = OPTIMIZERS[self.optimizer]
        known = list(inspect.signature(rule).parameters)[2:]  # after lr
        for option in more:
            if option not in known:
                raise ValueError(
                    f"{self.owner}: optimizer_options has {option!r}; {self.optimizer!r} takes "
                    f"{', '.join(known)}."
                )
        try:
            rule([], lr=self.lr, **more)
        except (OverflowError, TypeError, ValueError) as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(f"{self.owner}: lr or optimizer_options: {error}") from None


def entropy(seed: int | None) -> int:
    """Return a seed as a plain int; for None, a new one that nobody has had."""
    found = np.random.SeedSequence(seed).entropy
    assert isinstance(found, int | np.integer)  # a sequence only where one was given
    return int(found)
