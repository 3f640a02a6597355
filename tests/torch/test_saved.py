"""What a gradient reads belongs to torch's autograd: freed, changed, offloaded, recomputed.

The oracle is torch's own module, or the same gradient without the disturbance.
"""

import copy
import tracemalloc

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.autograd.graph import allow_mutation_on_saved_tensors, save_on_cpu, saved_tensors_hooks  # noqa: E402
from torch.utils.checkpoint import checkpoint  # noqa: E402

import fastrnn.torch  # noqa: E402
from tests.support.torch_calls import CASES, WAYS, Run, alive, module_of  # noqa: E402
from tests.support.torch_modules import KINDS, LAYERS, flat  # noqa: E402

IN_PLACE = {
    "add_": lambda t: t.add_(1),
    "mul_": lambda t: t.mul_(0.5),
    "relu_": torch.relu_,
    "ReLU": nn.ReLU(inplace=True),
    "masked_fill_": lambda t: t.masked_fill_(t > 0, 0.3),
    "unsqueeze_": lambda t: t.unsqueeze_(0),
    "item": lambda t: t.__setitem__(0, 1.0),
}


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
