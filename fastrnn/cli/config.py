"""The options of `fastrnn train`, and the only place that checks their ranges.

Parsing them is in app.py.
"""

import math
from dataclasses import dataclass

from fastrnn.models import RNNGenerator
from fastrnn.models.options import OPTIMIZERS
from fastrnn.nn.registry import CELL_NAMES, layer_class

CHOICES = {"cell": CELL_NAMES, "optimizer": tuple(OPTIMIZERS)}
_MINIMA = {"hidden": 1, "layers": 1, "seq_len": 1, "batch": 1, "steps": 1, "seed": 0}


@dataclass(frozen=True)
class Config:
    """Everything that a training run follows from, but for its text; each field is an option.

    Args:
        cell: recurrent unit: "rnn" (tanh), "relu", "lstm" or "gru"; default "lstm".
        hidden: H, units of each layer; default 256.
        layers: recurrent layers, each reading the output of the one below; default 1.
        seq_len: characters that a gradient spans; default 128.
        batch: streams of the text that are read side by side; default 32.
        lr: learning rate; default 3e-3.
        steps: updates, in total; default 600.
        optimizer: "adam", "adamw", "rmsprop" or "sgd"; default "adam".
        clip: largest norm of the gradient; 0: any; default 1.0.
        seed: of the initial weights; default 0.

    Raises:
        ValueError: an option is out of its range.
    """

    cell: str = "lstm"
    hidden: int = 256
    layers: int = 1
    seq_len: int = 128
    batch: int = 32
    lr: float = 3e-3
    steps: int = 600
    optimizer: str = "adam"
    clip: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        try:
            layer_class(self.cell)
        except ValueError as error:
            raise ValueError(f"--{error}") from None
        if not isinstance(self.optimizer, str) or self.optimizer not in OPTIMIZERS:
            known = ", ".join(CHOICES["optimizer"])
            raise ValueError(f"--optimizer must be one of {known}; got {self.optimizer!r}")
        for name, minimum in _MINIMA.items():
            value = getattr(self, name)
            if type(value) is not int or value < minimum:
                raise ValueError(
                    f"{flag(name)} must be a whole number of at least {minimum}; got {value!r}"
                )
        if not _is_number(self.lr) or not 0 < self.lr < math.inf:
            raise ValueError(f"--lr must be finite and above 0; got {self.lr!r}")
        if not _is_number(self.clip) or not 0 <= self.clip < math.inf:
            raise ValueError(f"--clip must be finite and above 0, or 0 for none; got {self.clip!r}")

    def options(self) -> RNNGenerator:
        """Return the same options under the names that the models have for them."""
        return RNNGenerator(
            self.hidden,
            cell=self.cell,
            num_layers=self.layers,
            truncate=self.seq_len,
            batch_size=self.batch,
            lr=self.lr,
            optimizer=self.optimizer,
            clip_norm=self.clip or None,
            seed=self.seed,
        )


def _is_number(value: object) -> bool:
    """Return whether this is a number that floats hold; JSON has others."""
    return type(value) is float or (type(value) is int and abs(value) < 2**53)


def flag(name: str) -> str:
    """Return the option of the command line that sets a field of `Config`."""
    return "--" + name.replace("_", "-")
