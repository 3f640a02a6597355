"""Give a model fastrnn's modules, and back: only the class of a module changes.

Its parameters, hooks, names and mode stay the very same objects, for the classes hold no state.
Modules of other libraries that drive a network of torch's are for hosts/ to know.
"""

import types
from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import nn

from fastrnn.torch import hosts, modules, ways
from fastrnn.torch.standin import StandIn
from fastrnn.torch.twin import parameters_of

_Swaps = Mapping[type[nn.Module], type[nn.Module]]
# A class and its stand-in are equal, so each table also has those that it would change into.
_SWAPS: _Swaps = {
    nn.RNN: modules.RNN,
    nn.LSTM: modules.LSTM,
    nn.GRU: modules.GRU,
    nn.RNNCell: modules.RNNCell,
    nn.LSTMCell: modules.LSTMCell,
    nn.GRUCell: modules.GRUCell,
}
_BACK: _Swaps = {ours: torchs for torchs, ours in _SWAPS.items()}


class Record(NamedTuple):
    """What became of one recurrent module of a model, or of one that drives it (hosts/)."""

    name: str  # in the model
    type: str
    swapped: bool  # and run by the kernels, as far as calls are known
    reason: str  # why not; empty if it is


class Records(list[Record]):
    """Records that print as a table."""

    def __str__(self) -> str:
        rows = [("name", "type", "swapped", "reason")]
        rows += [
            (r.name or "(the model)", r.type, "yes" if r.swapped else "no", r.reason) for r in self
        ]
        widths = [max(len(row[i]) for row in rows) for i in range(4)]
        return "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        )

    __repr__ = __str__


def accelerate(model: nn.Module, dry_run: bool = False) -> nn.Module | Records:
    """Have every recurrent module of a model run by fastrnn's kernels, in place.

    Args:
        model: any module; torch.nn's RNN, LSTM, GRU and their cells in it are swapped, and the
            code around them in sb3-contrib's recurrent policies and torchrl's modules.
        dry_run: change nothing and return the records of what would be done; default False.

    Returns:
        The model, or the Records.

    Raises:
        TypeError: model is no torch.nn.Module.

    Example:
        >>> import torch
        >>> model = accelerate(torch.nn.Sequential(torch.nn.GRU(3, 2)))
        >>> report(model)
        name  type  swapped  reason
        0     GRU   yes
    """
    _check(model)
    if dry_run:
        return Records(
            Record(name, type(module).__name__, not reason, reason)
            for name, module, reason in _reasons(model)
        )
    for module in model.modules():
        host = hosts.of(module)
        if host is not None:
            host.accelerate(module)
        elif not _is_to_be_quantised(module):
            _swap(module, _SWAPS)
    return model


def restore(model: nn.Module) -> nn.Module:
    """Undo `accelerate`, in place: every module becomes torch's, or its library's, again.

    Args:
        model: any module.

    Returns:
        The model.

    Raises:
        TypeError: model is no torch.nn.Module.
    """
    _check(model)
    for module in model.modules():
        host = hosts.of(module)
        if host is not None:
            host.restore(module)
        else:
            _swap(module, _BACK)
    return model


def report(model: nn.Module) -> Records:
    """Return which recurrent modules of a model are run by the kernels, and why others are not.

    Of a module whose last call went torch's own way this is told, with the reason: its dtype or
    its input, a mode of torch's, a trace. Calls of a compiled graph are not seen.

    Args:
        model: any module.

    Returns:
        Records, one for each recurrent module, which print as a table.

    Raises:
        TypeError: model is no torch.nn.Module.
    """
    _check(model)
    records = Records()
    for name, module, why in _reasons(model):
        swapped, told = _is_swapped(module), ways.told(module)
        reason = f"last call: {told}" if swapped and told and not why else why
        records.append(Record(name, type(module).__name__, swapped and not reason, reason))
    return records


def _check(model):
    if not isinstance(model, nn.Module):
        raise TypeError(f"model is a {type(model).__name__}; expected a torch.nn.Module.")


def _swap(module: nn.Module, swaps: _Swaps) -> None:
    """Give a module the class that a table has for its own."""
    kind = type(module)
    if kind in swaps:
        module.__class__ = swaps[kind]
    elif _is_derived_by_torch(kind):
        bases = tuple(swaps.get(base, base) for base in kind.__bases__)
        if all(map(lambda a, b: a is b, bases, kind.__bases__)):
            return
        own = {k: v for k, v in vars(kind).items() if k not in ("__dict__", "__weakref__")}
        own.setdefault("__deepcopy__", StandIn.__deepcopy__)  # else it would ask for a pickle
        module.__class__ = types.new_class(
            kind.__name__, bases, exec_body=lambda new: new.update(own)
        )


def _is_swapped(module: nn.Module) -> bool:
    host = hosts.of(module)
    return isinstance(module, StandIn) if host is None else host.is_accelerated(module)


def _is_derived_by_torch(kind: type) -> bool:
    """Return whether torch made this class at run time, to add to a module's own what it needs.

    Parametrizations do, and FSDP. All that such a module is besides stays what it was.
    """
    return kind.__module__.startswith("torch.") and any(base in _SWAPS for base in kind.__bases__)


def _is_to_be_quantised(module: nn.Module) -> bool:
    return getattr(module, "qconfig", None) is not None


def _reasons(model: nn.Module):
    """Yield the name of each recurrent module, the module, and why kernels cannot run it."""
    for name, module in model.named_modules():
        host = hosts.of(module)
        recurrent = isinstance(module, nn.RNNBase | nn.RNNCellBase)
        if host is not None:
            yield name, module, host.reason(module)
        elif recurrent or "quantized" in type(module).__module__:
            yield name, module, _reason(module)


def _reason(module: Any) -> str:
    """Return why the kernels do not run a module, whatever the call, or nothing."""
    kind = type(module)
    if not (kind in _SWAPS or isinstance(module, StandIn) or _is_derived_by_torch(kind)):
        return f"a class of its own ({kind.__module__}), whose forward may differ"
    if _is_to_be_quantised(module):
        return "it has a qconfig: torch.ao quantises torch's own"
    for name, parameter in parameters_of(module):
        if ways.of_tensor(parameter):
            return f"{name} is {ways.of_tensor(parameter)}"
    return ""
