"""torchrl's modules, tensordicts to run them on, and all that a call gives; needs torchrl.

Nothing is asserted here.
"""

import torch
import torchrl.modules
from tensordict import TensorDict

from fastrnn.torch.hosts.torchrl import network_of

F64 = torch.float64
KINDS = ["LSTM", "GRU"]
KEYS = {"LSTM": ["h", "c"], "GRU": ["h"]}


def module_of(kind, where=torchrl.modules, **options):
    torch.manual_seed(0)
    options = {"default_recurrent_mode": True, "num_layers": 1, **options}
    return getattr(where, f"{kind}Module")(
        input_size=3,
        hidden_size=5,
        in_keys=["x", *KEYS[kind]],
        out_keys=["y", *(("next", key) for key in KEYS[kind])],
        **options,
    ).double()


def rows_of(module, shape, share, seed=0, stored=True):
    """Return a tensordict with drawn input, starts and stored states, zero where a row goes on."""
    generator = torch.Generator().manual_seed(seed)

    def drawn(*sizes):
        return torch.randn(*shape, *sizes, dtype=F64, generator=generator)

    starts = torch.rand(*shape, 1, generator=generator) < share
    rows = TensorDict({"x": drawn(3), "is_init": starts}, shape)
    network = network_of(module)
    slots = network.num_layers * (1 + network.bidirectional)
    for key in KEYS["GRU" if isinstance(network, torch.nn.GRU) else "LSTM"] if stored else []:
        width = network.proj_size if key == "h" and network.proj_size else 5
        state = drawn(slots, width)
        begins = starts.clone()
        begins[..., :1, :] = False
        rows[key] = state.masked_fill(begins[..., None], 0)
    return rows


def everything(module, rows):
    """Return output, last states and all gradients, from seeded cotangents, and all states."""
    rows = rows.clone()
    x = rows["x"].requires_grad_()
    module.zero_grad()
    rows = module(rows)
    keys = module.out_keys[1:]
    states = [rows[key] for key in keys]
    time = len(rows.shape)
    results = [rows["y"], *(s.select(time - 1, -1) for s in states)]
    cotangents = [torch.sin(torch.arange(r.numel(), dtype=F64)).view(r.shape) for r in results]
    torch.autograd.backward(results, cotangents)
    gradients = [x.grad, *(p.grad for p in module.parameters())]
    return [r.detach() for r in results] + gradients, [s.detach() for s in states]
