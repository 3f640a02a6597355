"""What makes a class of this package count as torch.nn's, to code that asks which class it has.

Torch and its users choose by class: fx by the module an instance names, torch.ao.quantization and
initialisers by `type(m) in {nn.LSTM}`, files by the class they find when they are read. Each is
answered here as for torch's class, for the six classes that replace one and for no subclass of
theirs. What only identity answers, `type(m) is nn.LSTM`, cannot be.
"""

import copy
from multiprocessing.reduction import ForkingPickler
from typing import Any

from torch import nn
from torch.nn.utils import parametrize

# What __init__ takes for the least module, of no memory and without drawing numbers.
_LAYER = (True, False, 0.0, False, 0, "meta")
_BLANK: dict[type[nn.Module], tuple] = {
    nn.RNN: (1, 1, 1, "tanh", *_LAYER),
    nn.LSTM: (1, 1, 1, *_LAYER),
    nn.GRU: (1, 1, 1, *_LAYER),
    nn.RNNCell: (1, 1, True, "tanh", "meta"),
    nn.LSTMCell: (1, 1, True, "meta"),
    nn.GRUCell: (1, 1, True, "meta"),
}


class _CountsAsAnother(type):
    """The type of classes that are equal to the one they stand in for, as keys of dicts too."""

    def __eq__(cls, other):
        return True if other is replaced(cls) else type.__eq__(cls, other)

    def __hash__(cls):
        return type.__hash__(replaced(cls) or cls)


class _ModuleName(str):
    """A class's `__module__`, which is torch's if an instance is asked for it."""

    __slots__ = ()

    def __get__(self, instance, owner):
        return str(self) if instance is None else replaced(owner).__module__


def replaced(kind: type) -> Any:
    """Return the class of torch's that a class stands in for, or None."""
    return vars(kind).get("_stands_in_for")


class StandIn(nn.Module, metaclass=_CountsAsAnother):
    """What all modules of fastrnn.torch share besides; abstract."""

    def __init_subclass__(cls, stands_in_for: type[nn.Module] | None = None, **options):
        super().__init_subclass__(**options)
        if stands_in_for is not None:
            cls._stands_in_for = stands_in_for
            cls.__module__ = _ModuleName(cls.__module__)
            ForkingPickler.register(cls, _as_it_is)

    def __reduce_ex__(self, protocol):
        """Return what pickles hold: torch's module, that is read where this package is not."""
        torchs = replaced(type(self))
        _, _, *state = reduced = super().__reduce_ex__(protocol)
        return reduced if torchs is None else (torchs, _BLANK[torchs], *state)

    def __copy__(self):
        make, arguments, state, *_ = _as_it_is(self)
        copied = make(*arguments)
        copied.__setstate__(state)
        return copied

    def __deepcopy__(self, memo):
        if parametrize.is_parametrized(self):  # torch lets it be copied, though not pickled
            copied: Any = type(self).__new__(type(self))
            memo[id(self)] = copied
            copied.__dict__.update(copy.deepcopy(self.__dict__, memo))
            return copied
        make, arguments, state, *_ = _as_it_is(self)
        copied = memo[id(self)] = make(*arguments)
        copied.__setstate__(copy.deepcopy(state, memo))
        return copied

    def __setattr__(self, name, value):
        super().__setattr__(name, value)
        if name == "qconfig" and value is not None and replaced(type(self)):
            # To be quantised: what torch.ao has for a cell, it gives to that very class.
            self.__class__ = replaced(type(self))

    def __prepare_scriptable__(self):
        """Return torch's own module on the same parameters: TorchScript cannot see this one."""
        if not replaced(type(self)):
            return self  # a user's class: what it changes is not ours to drop
        module = copy.copy(self)
        module.__class__ = replaced(type(self))
        return module


def _as_it_is(module: nn.Module) -> tuple:
    """Return what a copy is made of, and what another process gets: the same class.

    ForkingPickler asks for torch's modules too, for their classes are equal to ours.
    """
    if replaced(type(module)):
        return object.__reduce_ex__(module, 4)  # pyright: ignore[reportReturnType]
    return module.__reduce_ex__(4)  # pyright: ignore[reportReturnType]
