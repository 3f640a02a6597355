"""What a contender is: a problem (problems.py), made ready to run by one library.

A contender offers what it can: `forward`, the output; `train`, the gradients of the input and of
every parameter; `step`, the output of one more step of a stream. All start from the same
parameters and inputs, which are converted before anything is timed, and every call ends with its
result in memory. A library that is not installed, or cannot run a problem, raises Missing with the
reason. The libraries themselves are in contenders.py.
"""

import importlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np


class Missing(Exception):
    """This contender cannot run this problem; the message says why."""


class Contender(NamedTuple):
    """A problem, ready to run; None: not offered."""

    forward: Callable[[], np.ndarray] | None = None  # -> output
    train: Callable[[], dict[str, np.ndarray]] | None = None  # -> gradients; "input" and the names
    step: Callable[[], np.ndarray] | None = None  # -> output of the next step


NAMES = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")


def module(name: str):
    try:
        return importlib.import_module(name)
    except ImportError:
        raise Missing(f"{name} is not installed") from None
