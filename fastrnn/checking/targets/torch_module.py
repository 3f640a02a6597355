"""torch modules as targets of the gradient checker; the gradient is autograd's.

What modules share with functions is in torch.py. Copies of a module run, with the values in place
of its parameters. Deliberately without functional_call, and without a mode that intercepts torch's
functions: fastrnn.torch's modules would then fall back to torch's own code, and the gradients
checked would not be those that train. Nothing is judged here.
"""

import copy
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from fastrnn.checking.problem import Problem, Variable
from fastrnn.checking.targets.numpy import BLOCKED, GATES, plain_name
from fastrnn.checking.targets.pytree import array_of, refuse_unusual, tensor_of
from fastrnn.checking.targets.torch import TorchFunction
from fastrnn.torch import modules

_TORCHS = {*vars(nn.Module()), "_flat_weights"}  # attributes that torch itself converts


def problem_of_torch(target: Any, inputs: tuple, seed: int) -> Problem:
    """Return the problem of a torch function or module; its gradient is that of torch.autograd.

    Where autograd has no gradient (None), it counts as zero. Outputs that require no gradient are
    left out if others do.

    Args:
        target: a function of tensors, a torch.autograd.Function or its `apply`, or an nn.Module.
            Of a module all parameters that require gradients are variables, besides the inputs.
            Every call starts from the module as it is now: train or eval, buffers, attributes.
        inputs: its positional arguments; tensors may be nested in tuples, lists, dicts and
            PackedSequences. If any tensor requires a gradient, only those that do are variables,
            as for torch.autograd.gradcheck; if none does, all floating ones are.
        seed: seed of dropout and of anything else that draws torch's random numbers.

    Raises:
        TypeError: the target is not callable, cannot be copied, or does not run in float64; a
            tensor is not float32 or float64 in memory of the CPU; no output is floating.
        ValueError: a parameter has no shape yet.
    """
    if isinstance(target, nn.Module):
        return TorchModule(target, inputs, seed).problem()
    if not callable(target):
        raise TypeError(
            f"gradcheck: target is a {type(target).__name__}, with tensors as inputs; expected a "
            "function of tensors, a torch.autograd.Function or a torch.nn.Module. A pair (forward, "
            "vjp) takes NumPy arrays."
        )
    return TorchFunction(target, inputs, seed).problem()


class TorchModule(TorchFunction):
    """A torch module as a target: copies of it run, one for each dtype."""

    kind = "torch module"

    def __init__(self, target: nn.Module, inputs: tuple, seed: int):
        self.copies: dict[torch.dtype | None, tuple[nn.Module, list[Tensor]]] = {}
        super().__init__(target, inputs, seed)

    def _prepared(self, values, dtype, new):
        new = new or self.stateful
        module, parameters = (None if new else self.copies.get(dtype)) or self._copy(dtype)
        if not new:
            self.copies[dtype] = module, parameters
        with torch.no_grad():
            for parameter, value in zip(parameters, values, strict=True):
                if parameter.shape != value.shape:  # copy_ would broadcast it
                    raise ValueError(f"a parameter of shape {tuple(parameter.shape)} has no other")
                parameter.copy_(tensor_of(value))
        return module, parameters

    def _copy(self, dtype: torch.dtype | None) -> tuple[nn.Module, list[Tensor]]:
        """Return a copy of the module in a dtype, and its parameters that are variables."""
        if dtype is torch.complex128 and any(map(_is_ours, self.target.modules())):
            raise NotImplementedError("the kernels of fastrnn take no complex numbers")
        # torch does not copy tensors that an earlier call left in attributes with their graph.
        left = {
            id(t): t.detach().clone()
            for t in pytree.tree_leaves([vars(module) for module in self.target.modules()])
            if isinstance(t, Tensor) and t.grad_fn is not None
        }
        try:
            module = copy.deepcopy(self.target, left)
        except Exception as error:
            raise TypeError(
                f"gradcheck: {self.name} cannot be copied, and copies of it are what runs: {error}"
            ) from error
        if dtype is torch.float64:
            module.double()
        elif dtype is not None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that complex modules are new
                module.to(dtype)
        if dtype is not None:
            for each in module.modules():
                _convert_attributes(each, dtype)
        return module, [p for _, p in module.named_parameters() if p.requires_grad]

    def _parameters(self):
        result = []
        for name, parameter in self.target.named_parameters():
            if nn.parameter.is_lazy(parameter):
                raise ValueError(
                    f"gradcheck: parameter {name} has no shape yet; call the module once before."
                )
            if parameter.requires_grad:
                refuse_unusual(f"parameter {name}", "module", parameter)
                path, _, last = name.rpartition(".")
                owner = self.target.get_submodule(path)
                value = np.array(array_of(parameter), order="C")
                result.append(Variable(name, value, *_axes_and_gates(owner, last, value)))
        return result

    def _frozen(self):
        return [n for n, p in self.target.named_parameters() if not p.requires_grad]

    def _described(self, variables):
        module, result = self.target, []
        if not isinstance(module, nn.RNNBase | nn.RNNCellBase):
            return variables
        layers = isinstance(module, nn.RNNBase)
        for variable in variables:
            v = variable
            middle = ("row",) * (v.value.ndim - 1 - layers)
            if v.name.startswith("hx"):
                v = replace(v, axes=("layer",) * layers + (*middle, "unit"))
            elif v.name == "input" and not layers:
                v = replace(v, axes=(*middle, "feature"))
            elif v.name == "input":
                time = int(module.batch_first and v.value.ndim == 3)
                axes = ("row", "t", "feature") if time else ("t", *middle, "feature")
                v = replace(v, axes=axes, time=time)
            result.append(v)
        return result


def _axes_and_gates(owner: nn.Module, name: str, value: np.ndarray):
    """Return `axes` and `gates` of the Variable of a parameter, as in fastrnn.py."""
    kind = name.partition("_l")[0]
    if not isinstance(owner, nn.RNNBase | nn.RNNCellBase):
        return (), ()
    if kind == "weight_hr":
        return ("output", "from"), ()
    if plain_name(kind) not in BLOCKED:
        return (), ()
    gates = GATES.get(len(value) // int(owner.hidden_size), ())
    return ("unit", "from input" if kind == "weight_ih" else "from"), gates


def _convert_attributes(module: nn.Module, dtype: torch.dtype) -> None:
    """Convert tensors that are neither parameters nor buffers, such as a state kept in a module."""

    def converted(tensor):
        return tensor.to(dtype) if tensor.is_floating_point() else tensor

    for name, value in vars(module).items():
        if name not in _TORCHS and any(isinstance(t, Tensor) for t in pytree.tree_leaves(value)):
            vars(module)[name] = pytree.tree_map_only(Tensor, converted, value)


def _is_ours(module: nn.Module) -> bool:
    return isinstance(module, modules.AcceleratedLayer | modules.AcceleratedCell)
