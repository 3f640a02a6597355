"""Which way a call goes, the kernels' or torch's own, and what `report` tells of it.

A call is torch's where a mode, an input or a state needs what only torch's operations do; each such
case is a few words here, which are also what decides. What only the weights decide is in twin.py.
"""

import weakref
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.utils import _device

from fastrnn.torch import twin

_C: Any = torch._C
_told: weakref.WeakKeyDictionary[nn.Module, str] = weakref.WeakKeyDictionary()


def is_plain_now() -> bool:
    """Return whether no mode at all is on: quicker than `mode`, which says what it changes."""
    return not (
        torch.compiler.is_compiling()
        or _C._is_tracing()
        or _C._len_torch_dispatch_stack()
        or _C._len_torch_function_stack()
        or _C._is_any_autocast_enabled()
        or _C._functorch.peek_interpreter_stack() is not None
        or forward_ad._current_level >= 0
    )


def mode() -> str:
    """Return which mode wants torch's own operations to be called, or nothing."""
    if torch.compiler.is_compiling():
        return "traced by torch.compile or torch.export"
    if _C._is_tracing():
        return "traced by torch.jit.trace"
    if _C._len_torch_dispatch_stack():
        return f"under {_name(_C._get_dispatch_stack_at(_C._len_torch_dispatch_stack() - 1))}"
    # A default device is for new tensors: a call makes its own where its input is.
    for depth in range(_C._len_torch_function_stack()):
        function_mode = _C._get_function_stack_at(depth)
        if type(function_mode) is not _device.DeviceContext:
            return f"under {_name(function_mode)}"
    if torch.is_autocast_enabled("cpu"):  # other devices' does nothing to tensors of the CPU
        return "under torch.autocast"
    if _C._functorch.peek_interpreter_stack() is not None:
        return "inside a transform of torch.func"
    if forward_ad._current_level >= 0:
        return "under forward-mode AD"
    return ""


def _name(thing) -> str:
    return type(thing).__name__


def of_input(x: Any, size: int, *dims: int) -> str:
    """Return why an input is torch's, or nothing.

    Args:
        x: the input.
        size: what its last axis has to be.
        dims: how many axes it may have.
    """
    why = of_tensor(x)
    if why:
        return f"input is {why}"
    if x.dim() not in dims or x.shape[-1] != size or not x.numel():
        return f"input is {tuple(x.shape)}"
    return ""


def of_state(hx: Any, dtype: torch.dtype, shapes: list) -> str:
    """Return why an initial state is torch's, or nothing."""
    if twin.states_of(hx, dtype, shapes) is not None:
        return ""
    if isinstance(hx, Tensor) and of_tensor(hx):
        return f"hx is {of_tensor(hx)}"
    return "hx is not made of plain tensors of the input's type"


def of_tensor(tensor: Any) -> str:
    """Return what a tensor is that kernels cannot read, or nothing."""
    if twin.is_ordinary(tensor) and tensor.dtype in twin.FLOATS:
        return ""
    if not isinstance(tensor, Tensor) or type(tensor) not in (Tensor, nn.Parameter):
        return f"a {_name(tensor)}"
    if not tensor.is_cpu:
        return f"on {tensor.device.type}"
    if tensor.dtype not in twin.FLOATS:
        return str(tensor.dtype).removeprefix("torch.")
    return "in no order that kernels read"


def tell(module: twin.RecurrentModule, why: str) -> None:
    """Keep why a call went torch's way, until one goes the kernels'."""
    if torch.compiler.is_compiling():
        return
    _told[module] = why
    known = twin.known_twin(module)
    if known is not None:
        known.singles.clear()  # the shortest way does not look here: let the next call take another


def retract(module: nn.Module) -> None:
    """A call went the kernels' way."""
    if _told:
        _told.pop(module, None)


def told(module: nn.Module) -> str:
    """Return why the last call of a module went torch's way, or nothing."""
    return _told.get(module, "")
