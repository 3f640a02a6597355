"""What a gradient reads belongs to torch's autograd: freed, changed, offloaded, recomputed.

The oracle is torch's own module, or the same gradient without the disturbance.
"""

import copy
import gc
import tracemalloc

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.autograd.graph import allow_mutation_on_saved_tensors, save_on_cpu, saved_tensors_hooks  # noqa: E402
from torch.utils.checkpoint import checkpoint  # noqa: E402

import fastrnn.torch  # noqa: E402
from tests.support.torch_modules import F64, KINDS, LAYERS, flat, ours  # noqa: E402

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
IN_PLACE = {
    "add_": lambda t: t.add_(1),
    "mul_": lambda t: t.mul_(0.5),
    "relu_": torch.relu_,
    "ReLU": nn.ReLU(inplace=True),
    "masked_fill_": lambda t: t.masked_fill_(t > 0, 0.3),
    "unsqueeze_": lambda t: t.unsqueeze_(0),
    "item": lambda t: t.__setitem__(0, 1.0),
}


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


@pytest.mark.filterwarnings("ignore:LSTM with projections")
@pytest.mark.parametrize(("kind", "option"), CASES)
def test_what_is_handed_out_may_be_changed_in_place(kind, option):
    _, module = module_of(kind, option)
    for name, change in IN_PLACE.items():
        for target in range(len(Run(module, option).results)):
            run = Run(module, option)
            copies = [result.clone() for result in run.results]
            change(copies[target])
            want = run.gradients(copies)
            run = Run(module, option)
            change(run.results[target])
            for one, other in zip(
                run.gradients(), want, strict=True
            ):  # deferred steps add up later
                torch.testing.assert_close(one, other, msg=lambda m, at=(name, target): f"{at} {m}")


@pytest.mark.filterwarnings("ignore:LSTM with projections")
@pytest.mark.parametrize(("kind", "option"), CASES)
def test_what_is_handed_out_may_be_written_to_behind_autograd(kind, option):
    _, module = module_of(kind, option)
    want = Run(module, option).gradients()
    for target in range(len(Run(module, option).results)):
        run = Run(module, option)
        run.results[target].detach().numpy()[...] = float("nan")
        d = [torch.arange(r.numel(), dtype=r.dtype).view(r.shape).cos() for r in run.results]
        wanted = [leaf for leaf in run.leaves if leaf.requires_grad]
        got = torch.autograd.grad(run.results, wanted, d)
        for one, other in zip(got, want, strict=True):
            torch.testing.assert_close(one, other)


@pytest.mark.filterwarnings("ignore:LSTM with projections")
@pytest.mark.parametrize(("kind", "option"), CASES)
def test_what_torch_lets_change_after_a_call_may_change(kind, option):
    """Inputs, states, weights: where torch does not raise, neither do we, and agree with it."""
    reference, module = module_of(kind, option)
    outcomes = []
    for one in (reference, module):
        found = {}
        names = [name for name, _ in one.named_parameters()]
        for name in ["x", *(f"state {i}" for i in range(len(Run(one, option).states))), *names]:
            fresh = copy.deepcopy(one)
            run = Run(fresh, option)
            target = {"x": run.x, **dict(fresh.named_parameters())}.get(name)
            with torch.no_grad():
                (run.states[int(name[-1])] if target is None else target).add_(1)
            try:
                found[name] = run.gradients()
            except RuntimeError as error:
                if "inplace" not in str(error):
                    raise
        outcomes.append(found)
    want, got = outcomes
    if option == "checkpoint":  # torch has none: what is recomputed reads everything
        want = {}
    assert want.keys() <= got.keys()
    tolerance = 1e-5 if option == "float32" else 1e-12
    for name, gradients in want.items():
        if "dropout" not in option:
            torch.testing.assert_close(got[name], gradients, rtol=tolerance, atol=tolerance)


def test_the_gradient_of_a_gradient_does_read_biases():
    _, module = module_of("GRU", "plain")
    run = Run(module, "plain")
    with torch.no_grad():
        module.bias_hh_l0.add_(1)
    loss = run.results[0].sum()
    with pytest.raises(RuntimeError, match="gradient of a gradient, a weight or a bias"):
        torch.autograd.grad(loss, run.leaves[0], create_graph=True)


def alive():
    """Return bytes in arrays, as tracemalloc sees them, and in tensors that Python can reach."""
    gc.collect()
    arrays = tracemalloc.DomainFilter(True, np.lib.tracemalloc_domain)
    traced = tracemalloc.take_snapshot().filter_traces([arrays]).statistics("filename")
    tensors = [t for t in gc.get_objects() if type(t) in (torch.Tensor, nn.Parameter)]
    places = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}
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


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
def test_backward_frees_what_was_kept(kind, way):
    if "Cell" in kind and way != "steps":
        return
    layer, x = getattr(fastrnn.torch, kind)(16, 32), torch.randn(40, 2, 16)
    WAYS[way](layer, x).backward()
    tracemalloc.start()
    try:
        before, kept = alive(), []
        for _ in range(3):
            loss = WAYS[way](layer, x)
            loss.backward()
            kept.append(loss)
        assert alive() - before < 8_000  # an output has 10,240 bytes, the rest has more
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(("kind", "option"), CASES)
@pytest.mark.filterwarnings("ignore:LSTM with projections")
def test_the_gradient_reads_what_hooks_return(kind, option):
    _, module = module_of(kind, option)
    want = Run(module, option).gradients()

    def pack(tensor):  # to another place, and turned over
        copied = tensor.detach().clone()
        axes = list(range(copied.dim()))[::-1]
        return copied.permute(axes).contiguous().permute(axes)

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        run = Run(module, option)
    for changed in (run.x, *run.states, *run.results, *module.parameters()):
        changed.data.fill_(float("nan"))
    d = [torch.arange(r.numel(), dtype=r.dtype).view(r.shape).cos() for r in run.results]
    wanted = [leaf for leaf in run.leaves if leaf.requires_grad]
    for one, other in zip(torch.autograd.grad(run.results, wanted, d), want, strict=True):
        torch.testing.assert_close(one, other)
    with save_on_cpu():
        run = Run(module_of(kind, option)[1], option)
    for one, other in zip(run.gradients(), want, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("wrong", [lambda t: t.double(), lambda t: t.flatten()[:1].clone()])
def test_hooks_that_return_something_else_are_refused(kind, wrong):
    layer, x = getattr(fastrnn.torch, kind)(16, 32), torch.randn(*[5] * ("Cell" not in kind), 3, 16)
    for _ in range(2):  # the second call of a cell goes another way
        with saved_tensors_hooks(wrong, lambda tensor: tensor):
            output = flat(layer(x))[0]
        with pytest.raises(RuntimeError, match="a hook on saved tensors returned"):
            output.sum().backward()


@pytest.mark.parametrize("kind", KINDS)
def test_torchs_permission_to_change_saved_tensors(kind):
    layer, x = getattr(fastrnn.torch, kind)(16, 32), torch.randn(*[5] * ("Cell" not in kind), 3, 16)
    flat(layer(x))[0].sum().backward()
    want = [p.grad.clone() for p in layer.parameters()]
    layer.zero_grad()
    with allow_mutation_on_saved_tensors():
        inner = x * 1
        output = flat(layer(inner))[0]
        inner.zero_()
        output.sum().backward()
    torch.testing.assert_close([p.grad for p in layer.parameters()], want)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "dropout": 0.5}], ids=["plain", "deep"])
def test_checkpoints_of_torch_keep_nothing_and_change_no_bit(kind, way, options):
    layer, x = getattr(fastrnn.torch, kind)(16, 32, **options), torch.randn(40, 2, 16)
    results = []
    for recomputed in (False, True):
        layer.zero_grad()
        WAYS[way](layer, x).backward()  # compiles
        layer.zero_grad()
        torch.manual_seed(2)
        tracemalloc.start()
        try:
            before = alive()
            if recomputed:
                loss = checkpoint(WAYS[way], layer, x, use_reentrant=False)
                assert alive() - before < 8_000
            else:
                loss = WAYS[way](layer, x)
            loss.backward()
        finally:
            tracemalloc.stop()
        results.append([loss.detach(), *(p.grad.clone() for p in layer.parameters())])
    assert all(map(torch.equal, *results))
