"""Calls of torch's modules and ours with all that they take and give, and the memory they hold.

Nothing is asserted here.
"""

import gc
import tracemalloc

import numpy as np
import torch
from torch import nn

from tests.support.torch_modules import F64, KINDS, flat, ours

# By name: the arguments of a module, and how it is called.
OPTIONS = {
    "plain": {},
    "float32": {"dtype": torch.float32},
    "no bias": {"bias": False},
    "deep": {"num_layers": 2},
    "two directions": {"bidirectional": True},
    "both": {"num_layers": 2, "bidirectional": True},
    "dropout": {"num_layers": 2, "dropout": 0.5},
    "projection": {"proj_size": 8},
    "batch first": {"batch_first": True},
    "unbatched": {},
    "packed": {},
    "packed, batch first": {"batch_first": True},
    "state": {},
    "one step": {},
    "one step, deep": {"num_layers": 2},
    "three steps": {},
    "three steps, deep": {"num_layers": 2},
    "frozen": {},
    "frozen, state": {},
    "x is data": {},
    "checkpoint": {},
}
OF_CELLS = ["plain", "float32", "no bias", "state", "frozen", "frozen, state", "x is data"]
CASES = [
    (kind, option)
    for kind in KINDS
    for option in (OF_CELLS if "Cell" in kind else OPTIONS)
    if option != "projection" or kind == "LSTM"
]


class Run:
    """A call of a module with everything it takes and gives."""

    def __init__(self, module, option, tracked=True):
        torch.manual_seed(3)
        self.module, cell = module, isinstance(module, nn.RNNCellBase)
        dtype, many = module.weight_hh.dtype if cell else module.weight_hh_l0.dtype, 3
        steps = 1 if "step" in option else 5
        shape = (many, steps, 16) if not cell and module.batch_first else (steps, many, 16)
        shape = (many, 16) if cell else (steps, 16) if option == "unbatched" else shape
        leaf = torch.randn(shape, dtype=dtype, requires_grad=option != "x is data")
        self.leaves, self.x, self.states = [leaf], leaf * 1, ()
        if "state" in option:
            each = (module.num_layers,) if not cell else ()
            count = 1 + ("LSTM" in type(module).__name__)
            given = [
                torch.randn(*each, many, 32, dtype=dtype).requires_grad_() for _ in range(count)
            ]
            self.leaves += given
            self.states = tuple(state * 1 for state in given)
        module.requires_grad_("frozen" not in option)
        self.leaves += module.parameters()
        hx = self.states if len(self.states) > 1 else self.states[0] if self.states else None
        torch.manual_seed(5)
        if "packed" in option:
            packed = nn.utils.rnn.pack_padded_sequence(
                self.x, torch.tensor([5, 3, 2]), module.batch_first
            )
            output, state = module(packed, hx)
            self.results = [output.data, *flat(state)]
        elif "three" in option:
            for _ in range(3):
                output, hx = module(self.x, hx)
            self.results = [output, *flat(hx)]
        else:
            self.results = list(flat(module(self.x, hx)))

    def gradients(self, results=None):
        loss = 0
        for result in results or self.results:
            weights = torch.arange(result.numel(), dtype=result.dtype).view(result.shape).cos()
            loss = loss + (result * weights).sum()
        wanted = [leaf for leaf in self.leaves if leaf.requires_grad]
        return torch.autograd.grad(loss, wanted)


def module_of(kind, option):
    torch.manual_seed(0)
    module = getattr(nn, kind)(16, 32, **{"dtype": F64, **OPTIONS[option]})
    accelerated = ours(module)
    if option == "checkpoint":
        accelerated.checkpoint = 2
    return module, accelerated


def alive():
    """Return bytes in arrays, as tracemalloc sees them, and in tensors that Python can reach."""
    gc.collect()
    arrays = tracemalloc.DomainFilter(True, np.lib.tracemalloc_domain)
    traced = tracemalloc.take_snapshot().filter_traces([arrays]).statistics("filename")
    plain = [t for t in gc.get_objects() if type(t) in (torch.Tensor, nn.Parameter)]
    storages = [t.untyped_storage() for t in plain if t.layout is torch.strided and t.is_cpu]
    places = {storage.data_ptr(): storage.nbytes() for storage in storages}
    return sum(one.size for one in traced) + sum(places.values())


def steps(module, x):
    hx, loss = None, 0
    for x_t in x:
        if isinstance(module, nn.RNNCellBase):
            hx = module(x_t, hx)
            output = flat(hx)[0]
        else:
            output, hx = module(x_t[None], hx)
        loss = loss + output.pow(2).mean()
    return loss


WAYS = {
    "a call": lambda module, x: module(x)[0].pow(2).mean(),
    "lengths": lambda module, x: module(x, lengths=[20, 40])[0].pow(2).mean(),
    "packed": lambda module, x: (
        module(nn.utils.rnn.pack_padded_sequence(x, torch.tensor([40, 20])))[0].data.pow(2).mean()
    ),
    "steps": steps,
}
