"""The options of a training run, and the only place that checks their ranges."""

import math
from dataclasses import dataclass

from fastrnn.models.options import LAYERS, OPTIMIZERS, Options

_LEAST = {"hidden": 1, "layers": 1, "seq_len": 1, "batch": 1, "steps": 1, "seed": 0}


@dataclass(frozen=True)
class Config:
    """What makes a training run the run it is: each field is an option of `fastrnn train`.

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
        for name, choices in (("cell", LAYERS), ("optimizer", OPTIMIZERS)):
            value = getattr(self, name)
            if value not in choices:
                raise ValueError(f"{flag(name)} must be one of {', '.join(choices)}; got {value!r}")
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if not isinstance(value, int) or value < least:
                raise ValueError(
                    f"{flag(name)} must be a whole number of at least {least}; got {value!r}"
                )
        if not 0 < self.lr < math.inf:
            raise ValueError(f"--lr must be finite and above 0; got {self.lr!r}")
        if not 0 <= self.clip < math.inf:
            raise ValueError(f"--clip must be finite and above 0, or 0 for none; got {self.clip!r}")

    def options(self) -> Options:
        """Return what of this makes a network, as the models call it."""
        return Options(self.hidden, cell=self.cell, num_layers=self.layers, seed=self.seed)


def flag(name: str) -> str:
    """Return the option of the command line that sets a field of `Config`."""
    return "--" + name.replace("_", "-")
