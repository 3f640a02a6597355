"""The options of one check, validated before anything runs. What each means: see `gradcheck`."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fastrnn import checks

METHODS = ("auto", "complex", "richardson", "central")
MODES = ("full", "sample", "project")


@dataclass(frozen=True)
class CheckOptions:
    """The keyword arguments of `gradcheck` that are not about the target; see there.

    Raises:
        TypeError, ValueError: one has the wrong type or value.
    """

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
        _number("nondet_tol", self.nondet_tol, minimum=0.0)
        for name in ("atol", "rtol"):
            if getattr(self, name) is not None:
                _number(name, getattr(self, name), minimum=0.0)
        if self.eps is not None:
            _number("eps", self.eps, minimum=0.0)
            if self.eps == 0:
                raise ValueError("gradcheck: eps is 0; expected a step above 0, or None.")

    def softened(self) -> "CheckOptions":
        """Return the options for a closer look after a failure: step and tolerances as measured."""
        method = "auto" if self.method == "complex" else self.method
        return replace(self, method=method, eps=None, atol=None, rtol=None)

    def random(self, purpose: int) -> np.random.Generator:
        """Return a random generator of its own for each purpose, a number."""
        return np.random.default_rng([self.seed, purpose])


def _one_of(name: str, value: Any, known: tuple[str, ...]) -> None:
    if not isinstance(value, str) or value not in known:
        raise ValueError(f"gradcheck: {name} is {value!r}; expected one of {', '.join(known)}.")


def _number(name: str, value: Any, minimum: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float | np.number):
        raise TypeError(f"gradcheck: {name} is {value!r}; expected a number.")
    if not minimum <= value < np.inf:
        raise ValueError(
            f"gradcheck: {name} is {value!r}; expected a number of at least {minimum}."
        )
