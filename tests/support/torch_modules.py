"""Modules of fastrnn.torch beside torch's own, and all that a call of one gives; needs torch.

Nothing is asserted here but equality.
"""

import copy

import torch

import fastrnn.torch
from tests.support.compare import assert_close
from tests.support.states import members

F64 = torch.float64
LAYERS = ["RNN", "LSTM", "GRU"]
KINDS = [*LAYERS, *[f"{kind}Cell" for kind in LAYERS]]


def ours(module):
    return fastrnn.torch.accelerate(copy.deepcopy(module))


def everything(module, x, hx, lengths=None, packed=False):
    """Run a module and return all it computes and all gradients, from seeded cotangents."""
    x = x.clone().requires_grad_()
    hx = None if hx is None else tuple(h.clone().requires_grad_() for h in members(hx))
    module.zero_grad()
    argument = x
    if packed:
        argument = torch.nn.utils.rnn.pack_padded_sequence(
            x, torch.tensor(lengths), module.batch_first, enforce_sorted=False
        )
    given = hx if hx is None or isinstance(module, torch.nn.LSTM) else hx[0]
    torch.manual_seed(1)
    if lengths is not None and not packed:
        output, state = module(x, given, lengths=lengths)
    else:
        output, state = module(argument, given)
    if packed:
        time = x.shape[1 if module.batch_first else 0]
        output, _ = torch.nn.utils.rnn.pad_packed_sequence(
            output, module.batch_first, total_length=time
        )
    results = [output, *members(state)]
    cotangents = [torch.sin(torch.arange(r.numel(), dtype=r.dtype)).view(r.shape) for r in results]
    torch.autograd.backward(results, cotangents)
    return [r.detach() for r in results] + [t.grad for t in (x, *(hx or ()), *module.parameters())]


def compare(got, expected):
    for i, (one, other) in enumerate(zip(got, expected, strict=True)):
        assert_close(one.numpy(), other.numpy(), atol=1e-12, rtol=1e-12, name=f"array {i}")


def pair(kind, width=16, hidden=32, **options):
    torch.manual_seed(0)
    reference = getattr(torch.nn, kind)(width, hidden, dtype=F64, **options)
    return reference, fastrnn.torch.accelerate(copy.deepcopy(reference))


def steps(module, xs, hx):
    """Run a module step by step; return the emitted h of each step, and the last state."""
    outputs = []
    for x in xs:
        if isinstance(module, torch.nn.RNNBase):
            output, hx = module(x, hx)
        else:
            hx = module(x, hx)
            output = members(hx)[0]
        outputs.append(output)
    return outputs, members(hx)


def inputs(kind, number, width=16, batch=(1,)):
    torch.manual_seed(1)
    time = () if "Cell" in kind else (1,)
    return [torch.randn(*time, *batch, width, dtype=F64) for _ in range(number)]


def assert_same_gradients(module, reference):
    for (name, got), want in zip(module.named_parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(got.grad, want.grad, rtol=1e-12, atol=1e-12, msg=name)


def module_and_input(kind, **options):
    torch.manual_seed(0)
    module = getattr(fastrnn.torch, kind)(3, 2, dtype=torch.float64, **options)
    shape = (3,) if "Cell" in kind else (4, 2, 3)
    return module, torch.randn(*shape, dtype=torch.float64, requires_grad=True)


def flat(result):
    if isinstance(result, torch.Tensor):
        return (result,)
    return tuple(t for r in result for t in flat(r))
