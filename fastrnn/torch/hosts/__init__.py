"""Libraries that hold a recurrent network of torch.nn, and drive it by code of their own.

That code works around what torch's network cannot do: a Python loop over time, or a padded copy,
because episodes begin inside a sequence. `accelerate` gives the network the kernels' class, which
does not make the loop around it any faster; here is what takes its place. Deliberately imports
none of these libraries: their modules are known by the names of classes, and what is here for one
is imported when the first of its modules is met. Nothing here computes: see modules.py.
"""

import importlib
from typing import Any

from torch import nn

_HERE = "fastrnn.torch.hosts"
# Where a class is defined, and which file here knows it.
_HOSTS = {
    ("sb3_contrib.common.recurrent.policies", "RecurrentActorCriticPolicy"): f"{_HERE}.sb3",
    ("torchrl.modules.tensordict_module.rnn", "LSTMModule"): f"{_HERE}.torchrl",
    ("torchrl.modules.tensordict_module.rnn", "GRUModule"): f"{_HERE}.torchrl",
}


def of(module: nn.Module) -> Any:
    """Return the file here that knows a module's library, or None.

    It has `accelerate(module)`, `restore(module)`, `is_accelerated(module)` and
    `reason(module)`, why `accelerate` leaves it alone, or nothing. All are about the module itself;
    the networks in it are modules too, and swap.py's.
    """
    for kind in type(module).__mro__:
        host = _HOSTS.get((kind.__module__, kind.__qualname__))
        if host is not None:
            return importlib.import_module(host)
    return None
