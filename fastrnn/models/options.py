"""The hyper-parameters that all models share, and the one place that checks their ranges.

As scikit-learn wants it they are kept as they were given, and checked when `fit` is called.
"""

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, fields
from typing import Any

import numpy as np

from fastrnn import checks, optim
from fastrnn.nn.layers import GRU, LSTM, RNN

LAYERS = {"rnn": RNN, "relu": RNN, "lstm": LSTM, "gru": GRU}
OPTIMIZERS = {"adam": optim.Adam, "adamw": optim.AdamW, "rmsprop": optim.RMSprop, "sgd": optim.SGD}


@dataclass(eq=False, repr=False)
class Options:
    """What a model is made and trained with.

    Args:
        hidden_size: H, units of each layer, and of each direction.
        cell: "rnn" (tanh), "relu", "lstm" or "gru".
        num_layers: layers, each reading the output of the one below.
        bidirectional: a second direction reads from the end.
        dropout: probability that an element between two layers becomes 0, in training.
        init: how the recurrent layers begin: None, as torch's do; the name of a function of
            `fastrnn.init`; or a callable that takes a layer and changes it, such as
            partial(init.orthogonal, gain=0.9). One that takes a `seed` is given one.
        optimizer: "adam", "adamw", "rmsprop" or "sgd".
        optimizer_options: what else it takes, as {"momentum": 0.9}.
        lr: learning rate.
        lr_decay: the rate of epoch e, from 0, is lr * lr_decay**e.
        clip_norm: the longest that the gradient may be; None: any length.
        clip_value: the largest that an entry of it may be, cut off before the norm is; None: any.
        truncate: steps that a gradient goes back (truncated BPTT); None: all.
        batch_size: sequences of an update.
        epochs: how often all sequences are read.
        validation_fraction: of the sequences, drawn at random, that are not learnt from. If there
            are any, the parameters of the epoch with the least validation loss are the ones kept.
        patience: epochs in a row without a better validation loss after which to stop; None:
            never.
        dtype: "float32" or "float64".
        seed: of the initial parameters, the order of batches, the split and dropout; None: another
            at every fit.
        verbose: show a progress bar (extra `cli`); or a function to call after each epoch, with the
            epochs done, and of how many.
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
    dtype: Any = "float32"
    seed: int | None = 0
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
                    f"{self._owner} has no parameter {name!r}; it has {', '.join(known)}."
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
        return f"{self._owner}({', '.join(changed)})"

    @property
    def _owner(self) -> str:
        return type(self).__name__

    def _check(self) -> None:
        """Raise TypeError or ValueError where an option is out of its range."""
        name = self._owner
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
        checks.probability(name, "dropout", self.dropout)
        checks.float_dtype(name, self.dtype)
        for option, choices in (("cell", LAYERS), ("optimizer", OPTIMIZERS)):
            if getattr(self, option) not in choices:
                raise ValueError(
                    f"{name}: {option} must be one of {', '.join(choices)}; got "
                    f"{getattr(self, option)!r}."
                )
        for option, most in (("lr", math.inf), ("lr_decay", 1.0)):
            self._number(option, above=0, most=most)
        for option in ("clip_norm", "clip_value"):
            if getattr(self, option) is not None:
                self._number(option, above=0, most=math.inf)
        if self.validation_fraction != 0:
            self._number("validation_fraction", above=0, most=0.9)
        elif self.patience is not None:
            raise ValueError(
                f"{name}: patience = {self.patience} counts epochs without a better validation "
                "loss, and validation_fraction = 0 leaves nothing to compute one from; set it to "
                "0.1, say."
            )
        self._check_optimizer()

    def _number(self, option: str, above: float, most: float) -> None:
        value = getattr(self, option)
        numeric = isinstance(value, int | float | np.number) and not isinstance(value, bool)
        if not numeric or not above < value <= most or math.isinf(value):
            limit = "finite" if most == math.inf else f"at most {most:g}"
            raise ValueError(
                f"{self._owner}: {option} must be above {above} and {limit}, got {value!r}."
            )

    def _check_optimizer(self) -> None:
        rule = OPTIMIZERS[self.optimizer]
        known = list(inspect.signature(rule).parameters)[2:]  # after params and lr
        for option in self.optimizer_options or {}:
            if option not in known:
                raise ValueError(
                    f"{self._owner}: optimizer_options has {option!r}; {self.optimizer!r} takes "
                    f"{', '.join(known)}."
                )
