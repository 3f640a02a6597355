"""From what a user hands to `gradcheck` to a Problem: which kind of target it is.

Each kind has a file of its own beside this one. Nothing is run or judged here.
"""

import sys
from typing import Any

import numpy as np

from fastrnn.checking.problem import Problem
from fastrnn.checking.targets.fastrnn import problem_of_own
from fastrnn.checking.targets.numpy import problem_of_function, problem_of_pair
from fastrnn.nn.module import Module


def problem_of(target: Any, inputs: Any, seed: int = 0) -> Problem:
    """Return a target and its inputs as a Problem.

    Args:
        target: as for `gradcheck`.
        inputs: as for `gradcheck`.
        seed: seed of dropout.

    Raises:
        TypeError: target or inputs are of no kind that can be checked.
        ValueError: there is nothing to check.
    """
    torch = sys.modules.get("torch")
    if isinstance(inputs, np.ndarray | dict) or (
        torch and isinstance(inputs, torch.Tensor | torch.nn.utils.rnn.PackedSequence)
    ):
        inputs = (inputs,)
    if not isinstance(inputs, tuple | list):
        raise TypeError(
            f"gradcheck: inputs is a {type(inputs).__name__}; expected a tuple of arrays, "
            "e.g. (x,)."
        )
    inputs = tuple(inputs)
    if isinstance(target, Module):
        problem = problem_of_own(target, inputs, seed)
    elif torch and (isinstance(target, torch.nn.Module) or _holds(inputs, torch.Tensor)):
        from fastrnn.checking.targets.torch_module import problem_of_torch

        problem = problem_of_torch(target, inputs, seed)
    elif isinstance(target, tuple) and len(target) == 2 and all(map(callable, target)):
        problem = problem_of_pair(*target, inputs)
    elif callable(target):
        problem = problem_of_function(target, inputs)
    else:
        raise TypeError(
            f"gradcheck: target is a {type(target).__name__}; expected a function that returns "
            "(output, pullback), a pair (forward, vjp), a layer, or a torch function or module."
        )
    if not problem.variables:
        raise ValueError(
            f"gradcheck: no input of {problem.name} is a float array, so there is no gradient to "
            "check."
        )
    empty = [variable.name for variable in problem.variables if not variable.value.size]
    if empty:
        raise ValueError(f"gradcheck: {', '.join(empty)} has no entries; use larger inputs.")
    return problem


def _holds(value: Any, kind: type) -> bool:
    """Return whether nested tuples, lists and dicts hold an object of this kind."""
    if isinstance(value, dict):
        value = tuple(value.values())
    if isinstance(value, tuple | list):
        return any(_holds(member, kind) for member in value)
    return isinstance(value, kind)
