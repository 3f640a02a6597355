"""Give a model fastrnn's modules, and back: only the class of a module changes.

Its parameters, hooks, names and mode stay the very same objects, for the classes hold no state.
"""

from typing import NamedTuple

from torch import nn

from fastrnn.torch import modules
from fastrnn.torch.twin import FLOATS

_SWAPS: dict[type[nn.Module], type[nn.Module]] = {
    nn.RNN: modules.RNN,
    nn.LSTM: modules.LSTM,
    nn.GRU: modules.GRU,
    nn.RNNCell: modules.RNNCell,
    nn.LSTMCell: modules.LSTMCell,
    nn.GRUCell: modules.GRUCell,
}
_BACK = {ours: torchs for torchs, ours in _SWAPS.items()}


class Record(NamedTuple):
    """What became of one recurrent module of a model."""

    name: str  # in the model
    type: str
    swapped: bool
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
        model: any module; torch.nn's RNN, LSTM, GRU and their cells in it are swapped.
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
    if dry_run:
        return Records(r._replace(swapped=not r.reason) for r in report(model))
    _check(model)
    for module in model.modules():
        if type(module) in _SWAPS:
            module.__class__ = _SWAPS[type(module)]
    return model


def restore(model: nn.Module) -> nn.Module:
    """Undo `accelerate`: every module of fastrnn's becomes torch's again, in place.

    Args:
        model: any module.

    Returns:
        The model.

    Raises:
        TypeError: model is no torch.nn.Module.
    """
    _check(model)
    for module in model.modules():
        if type(module) in _BACK:
            module.__class__ = _BACK[type(module)]
    return model


def report(model: nn.Module) -> Records:
    """Return which recurrent modules of a model are run by the kernels, and why others are not.

    Args:
        model: any module.

    Returns:
        Records, one for each recurrent module, which print as a table.

    Raises:
        TypeError: model is no torch.nn.Module.
    """
    _check(model)
    records = Records()
    for name, module in model.named_modules():
        kind = type(module)
        if isinstance(module, nn.RNNBase | nn.RNNCellBase) or "quantized" in kind.__module__:
            reason = _reason(module)
            swapped = isinstance(module, tuple(_BACK)) and not reason
            records.append(Record(name, kind.__name__, swapped, reason))
    return records


def _check(model):
    if not isinstance(model, nn.Module):
        raise TypeError(f"model is a {type(model).__name__}; expected a torch.nn.Module.")


def _reason(module) -> str:
    """Return why the kernels do not run a module, or nothing."""
    if type(module) not in _SWAPS and not isinstance(module, tuple(_BACK)):
        return f"a class of its own ({type(module).__module__}), whose forward may differ"
    for name, parameter in module.named_parameters(recurse=False):
        if parameter.device.type != "cpu":
            return f"{name} is on {parameter.device.type}"
        if parameter.dtype not in FLOATS:
            return f"{name} is {str(parameter.dtype).removeprefix('torch.')}"
    return ""
