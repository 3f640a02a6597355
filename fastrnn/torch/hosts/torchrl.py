"""torchrl's LSTMModule and GRUModule by one call of the kernels, where torchrl splits and pads.

Where `is_init` is set inside a row, torchrl's "pad" backend cuts the batch into one padded row per
episode; the classes here hand the mask to the network as `reset=`. They are subclasses without a
state of their own, so `fastrnn.torch.accelerate` makes them out of torchrl's. Not a backend of
torchrl's, which knows four by name and takes no other.

This file needs torchrl; nothing else of the package imports it unless a model has its modules.
"""

import copy
import importlib
import inspect
from multiprocessing.reduction import ForkingPickler
from typing import Any

import torch
from torch import Tensor, nn

from fastrnn.nn.arguments import bare, members
from fastrnn.torch import swap, ways
from fastrnn.torch.modules import AcceleratedLayer

try:
    # By its name, so untyped: pyright says the same where torchrl is installed and where it is not.
    torchrls: Any = importlib.import_module("torchrl.modules.tensordict_module.rnn")
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "fastrnn.torch.hosts.torchrl needs torchrl: pip install torchrl", name=error.name
    ) from error


class OneCall(nn.Module):
    """What LSTMModule and GRUModule share; abstract."""

    in_keys: Any
    out_keys: Any
    recurrent_mode: bool

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        swap.accelerate(self)

    @torchrls.dispatch
    def forward(self, tensordict: Any) -> Any:
        """Run the module on a tensordict, as torchrl's does.

        In recurrent mode, with the backend "pad" or "auto" and one direction, the network is called
        once. It starts from the state stored at a row's first step, whatever `is_init` is there,
        and from zero where `is_init` is set later. A state stored at such a later step that is not
        zero, or wants a gradient, is what torchrl would start from: then torchrl's own padding
        runs, and `fastrnn.torch.report` says so. Dropout's masks are drawn for all steps at once.

        The output's states are torchrl's at each row's last step, and zero before it. Where an
        episode ends earlier in a row torchrl has that episode's last state; here h is there if
        there is one layer, c is not.

        Args:
            tensordict: batch dimensions (..., T) in recurrent mode, with the keys `in_keys`.

        Returns:
            The tensordict, with the keys `out_keys` set.
        """
        if not self.recurrent_mode:
            return super().forward(tensordict)
        result = _of_options(self) or self._in_one_call(tensordict)
        if isinstance(result, str):
            ways.tell(self, result)  # pyright: ignore[reportArgumentType]
            return super().forward(tensordict)
        ways.retract(self)
        return result

    def _in_one_call(self, tensordict: Any) -> Any:
        """Return the tensordict, or why torchrl's own code should see the call."""
        network = network_of(self)
        if not isinstance(network, AcceleratedLayer):
            return "its network is not accelerated"
        rows = _rows(tensordict, self.in_keys)
        if isinstance(rows, str):
            return rows
        x, states, starts = rows
        no_start = torch.zeros_like(starts[:, :1])
        cuts = torch.cat([no_start, starts[:, 1:]], 1)
        cut = bool(cuts.any())
        for state in states if cut else ():
            if state.requires_grad and torch.is_grad_enabled():
                return "a state stored where an episode begins may want a gradient"
            if bool(state[cuts].any()):
                return "a state stored where an episode begins is not zero"
        hx = bare(tuple(state[:, 0].transpose(0, 1).contiguous() for state in states))
        output, after = network(x, hx if states else None, reset=cuts if cut else None)
        after = [_at_the_end(state, x.shape[1]) for state in members(after)]
        if cut and network.num_layers == 1:
            ends = torch.cat([cuts[:, 1:], ~no_start], 1)
            after[0] = output.masked_fill(~ends[..., None], 0).unsqueeze(2)
        for key, value in zip(self.out_keys, (output, *after), strict=True):
            tensordict.set(key, value.reshape(*tensordict.shape, *value.shape[2:]))
        return tensordict

    def __copy__(self):
        return _copied(self, dict(self.__dict__))

    def __deepcopy__(self, memo):
        copied = memo[id(self)] = _copied(self, {})
        copied.__dict__.update(copy.deepcopy(self.__dict__, memo))
        return copied

    def __reduce_ex__(self, protocol):
        """Return what pickles hold: torchrl's module, that is read where this package is not."""
        if type(self) not in _BACK:
            return super().__reduce_ex__(protocol)
        # Protocol 1's, whatever is asked for: the others' only ever make the object's own class.
        reduced: Any = super().__reduce_ex__(1)
        make, (kind, *arguments), *state = reduced
        return make, (_BACK[kind], *arguments), *state


class LSTMModule(OneCall, torchrls.LSTMModule):
    """torchrl's LSTMModule, with the same arguments, run by fastrnn's kernels."""

    __signature__ = inspect.signature(torchrls.LSTMModule)


class GRUModule(OneCall, torchrls.GRUModule):
    """torchrl's GRUModule, with the same arguments, run by fastrnn's kernels."""

    __signature__ = inspect.signature(torchrls.GRUModule)


_SWAPS: dict[type, type] = {torchrls.LSTMModule: LSTMModule, torchrls.GRUModule: GRUModule}
_BACK = {ours: torchrls for torchrls, ours in _SWAPS.items()}
for _kind in _BACK:  # another process of this program gets the same class
    ForkingPickler.register(_kind, lambda module: object.__reduce_ex__(module, 4))


def _rows(tensordict: Any, keys: Any) -> tuple[Tensor, list[Tensor], Tensor] | str:
    """Return input (B, T, I), states (B, T, layers, H) and starts (B, T), or what is amiss.

    Without stored states the list is empty.
    """
    x, *states, starts = (tensordict.get(key, None) for key in keys)
    shape = tensordict.shape
    if not isinstance(x, Tensor) or not shape or x.dim() != len(shape) + 1 or not x.numel():
        return "its input is not (..., T, I)"
    if starts is None or starts.shape not in (shape, (*shape, 1)):
        return "is_init is not (..., T) or (..., T, 1)"
    starts = starts.reshape(-1, shape[-1]).bool()
    if all(state is None for state in states):
        states = []
    elif any(state is None for state in states):
        return "one of two states is missing"
    states = [state.reshape(*starts.shape, *state.shape[len(shape) :]) for state in states]
    return x.reshape(*starts.shape, x.shape[-1]), states, starts


def _at_the_end(state: Tensor, steps: int) -> Tensor:
    """Return a state (layers, B, H) as (B, T, layers, H), zero before the last step."""
    return nn.functional.pad(state.transpose(0, 1).unsqueeze(1), (0, 0, 0, 0, steps - 1, 0))


def _copied(module: OneCall, state: dict) -> OneCall:
    copied = type(module).__new__(type(module))
    copied.__dict__.update(state)
    return copied


def network_of(module: Any) -> Any:
    """Return the network of a module of torchrl's or ours."""
    return module.lstm if isinstance(module, torchrls.LSTMModule) else module.gru


def accelerate(module: nn.Module) -> None:
    """Give a module of torchrl's the class here; a user's subclass is left alone."""
    module.__class__ = _SWAPS.get(type(module), type(module))


def restore(module: nn.Module) -> None:
    """Undo `accelerate`."""
    module.__class__ = _BACK.get(type(module), type(module))


def is_accelerated(module: nn.Module) -> bool:
    """Return whether a module has a class of those here."""
    return isinstance(module, OneCall)


def reason(module: Any) -> str:
    """Return why torchrl's own code runs a module, whatever the call, or nothing."""
    kind = type(module)
    if not (kind in _SWAPS or is_accelerated(module)):
        return f"a class of its own ({kind.__module__}), whose forward may differ"
    network: Any = swap.accelerate(network_of(module), dry_run=True)
    return _of_options(module) or network[0].reason


def _of_options(module: Any) -> str:
    backend = module.recurrent_backend
    if backend not in ("pad", "auto") or (backend == "auto" and torch.compiler.is_compiling()):
        return f"its recurrent_backend is {backend}"
    if network_of(module).bidirectional:
        return "it is bidirectional, and torchrl's reverse direction starts in each episode"
    return ""
