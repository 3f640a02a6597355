"""Tensors for tests of the checker, and the names it gives to variables; needs torch."""

import torch

from fastrnn.checking.targets.dispatch import problem_of


def drawn(*shape, dtype=torch.float32):
    """Return a tensor of a shape, the same at every call."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(len(shape))).to(dtype)


def names_of(target, *inputs):
    return [variable.name for variable in problem_of(target, inputs).variables]
