"""The options of one check, tested before anything runs."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fastrnn import checks

METHODS = ("auto", "complex", "richardson", "central")
MODES = ("full", "sample", "project")


@dataclass(frozen=True)
class Options:
    """What a caller of gradcheck may choose; its docstring says what each is."""

    method: str = "auto"
    mode: str = "full"
    eps: float | None = None
    atol: float | None = None
    rtol: float | None = None
    n_samples: int = 12
    n_projections: int = 5
    seed: int = 0
    nondet_tol: float = 0.0
    check_kinks: bool = True
    localize: bool = True
    second_order: bool = False

    def __post_init__(self):
        _one_of("method", self.method, METHODS)
        _one_of("mode", self.mode, MODES)
        for name in ("n_samples", "n_projections"):
            checks.integer("gradcheck", name, getattr(self, name))
        checks.integer("gradcheck", "seed", self.seed, least=0)
        for name in ("check_kinks", "localize", "second_order"):
            checks.boolean("gradcheck", name, getattr(self, name))
        _number("nondet_tol", self.nondet_tol, least=0.0)
        for name in ("atol", "rtol"):
            if getattr(self, name) is not None:
                _number(name, getattr(self, name), least=0.0)
        if self.eps is not None:
            _number("eps", self.eps, least=0.0)
            if self.eps == 0:
                raise ValueError("gradcheck: eps is 0; expected a step above 0, or None.")

    def softened(self) -> "Options":
        """Return the options by which something closer is looked at: the tolerances measured."""
        method = "auto" if self.method == "complex" else self.method
        return replace(self, method=method, eps=None, atol=None, rtol=None)

    def random(self, purpose: int) -> np.random.Generator:
        """Return a generator that no other purpose shares."""
        return np.random.default_rng([self.seed, purpose])


def _one_of(name: str, value: Any, known: tuple[str, ...]) -> None:
    if not isinstance(value, str) or value not in known:
        raise ValueError(f"gradcheck: {name} is {value!r}; expected one of {', '.join(known)}.")


def _number(name: str, value: Any, least: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float | np.number):
        raise TypeError(f"gradcheck: {name} is {value!r}; expected a number.")
    if not least <= value < np.inf:
        raise ValueError(f"gradcheck: {name} is {value!r}; expected a number of at least {least}.")
