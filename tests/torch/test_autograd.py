"""fastrnn.torch under autograd: gradients of gradients, subsets of inputs, hooks, changes."""

import copy
import tracemalloc

import pytest

torch = pytest.importorskip("torch")

from torch.autograd import forward_ad  # noqa: E402

import fastrnn  # noqa: E402
import fastrnn.torch  # noqa: E402
from tests.support.torch_modules import KINDS, flat, module_and_input  # noqa: E402

every_kind = pytest.mark.parametrize("kind", KINDS)


@every_kind
def test_gradients_and_their_gradients(kind):
    module, x = module_and_input(kind)
    weight = next(module.parameters())
    names = [name for name, _ in module.named_parameters()]

    def call(x, weight):
        old = getattr(module, names[0])
        del module._parameters[names[0]]
        setattr(module, names[0], weight)
        try:
            return module(x)
        finally:
            delattr(module, names[0])
            module.register_parameter(names[0], old)

    leaves = (x, weight.detach().clone().requires_grad_())

    def results(*leaves):
        return flat(call(*leaves))

    assert torch.autograd.gradcheck(results, leaves)
    assert torch.autograd.gradgradcheck(results, leaves)


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")  # torch's own use of it
@every_kind
def test_gradients_that_are_no_plain_tensors(kind):
    """Batches of them, by either of torch's two vmaps, and tangents."""
    module, x = module_and_input(kind)

    def jacobian(vectorize):
        return torch.autograd.functional.jacobian(
            lambda x: flat(module(x))[0], x, vectorize=vectorize
        )

    expected = jacobian(vectorize=False)
    torch.testing.assert_close(jacobian(vectorize=True), expected)
    output = flat(module(x))[0]

    def pullback(d):
        return torch.autograd.grad(output, x, d, retain_graph=True)[0]

    d = torch.eye(output.numel(), dtype=x.dtype).view(-1, *output.shape)
    torch.testing.assert_close(torch.func.vmap(pullback)(d).view_as(expected), expected)
    with forward_ad.dual_level():
        d_x, tangent = forward_ad.unpack_dual(pullback(forward_ad.make_dual(d[0], d[1])))
    torch.testing.assert_close(d_x, pullback(d[0]))
    torch.testing.assert_close(tangent, pullback(d[1]))


@every_kind
def test_any_subset_may_want_gradients(kind):
    module, x = module_and_input(kind)
    for name, parameter in module.named_parameters():
        reference = copy.deepcopy(module)
        reference.requires_grad_(False)
        getattr(reference, name).requires_grad_()
        output = flat(reference(x.detach()))[0]
        output.sum().backward()
        flat(module(x.detach()))[0].sum().backward()
        torch.testing.assert_close(getattr(reference, name).grad, parameter.grad)
        assert all(p.grad is None for n, p in reference.named_parameters() if n != name)
        module.zero_grad()


@every_kind
def test_what_autograd_promises(kind):
    module, x = module_and_input(kind)
    output = flat(module(x))[0]
    once = torch.autograd.grad(output.sum(), x, retain_graph=True)[0]
    torch.testing.assert_close(torch.autograd.grad(output.sum(), x)[0], once)
    with pytest.raises(RuntimeError, match="second time"):
        torch.autograd.grad(output.sum(), x)
    seen = []
    output = flat(module(x))[0]
    output.register_hook(lambda d: seen.append(d) or 2 * d)
    output.sum().backward()
    torch.testing.assert_close(x.grad, 2 * once)
    assert len(seen) == 1
    output = flat(module(x))[0]
    (output * 1).sum().backward()
    torch.testing.assert_close(x.grad, 3 * once)  # added up
    output = flat(module(x))[0]
    with torch.no_grad():
        x.add_(1)
    with pytest.raises(RuntimeError, match="inplace"):
        output.sum().backward()


def test_a_step_between_forward_and_backward_is_noticed():
    module, x = module_and_input("GRU")
    output, _ = module(x)
    torch.optim.SGD(module.parameters(), lr=0.1).step()
    loss = output.sum()
    with torch.no_grad():
        module.weight_hh_l0.add_(1)
    with pytest.raises(RuntimeError, match="inplace"):
        loss.backward()


def test_the_gradient_of_a_gradient_through_dropout_is_refused():
    module, x = module_and_input("GRU", num_layers=2, dropout=0.5)
    (d_x,) = torch.autograd.grad(module.eval()(x)[0].sum(), x, create_graph=True)
    d_x.sum().backward()
    with pytest.raises(RuntimeError, match="gradient of a gradient through dropout is not there"):
        torch.autograd.grad(module.train()(x)[0].sum(), x, create_graph=True)
    output, _ = module(x)
    with pytest.raises(RuntimeError, match=r"gradient under vmap .* through dropout is not there"):
        torch.autograd.grad(output, x, torch.stack([output, output]), is_grads_batched=True)


def test_an_optimiser_made_before_trains_as_torch_does():
    torch.manual_seed(0)
    reference = torch.nn.Sequential(torch.nn.LSTM(3, 8, batch_first=True, dtype=torch.float64))
    model = copy.deepcopy(reference)
    x = torch.randn(4, 6, 3, dtype=torch.float64)
    losses = []
    for trained, swapped in ((reference, False), (model, True)):
        optimiser = torch.optim.Adam(trained.parameters(), lr=0.05)
        if swapped:
            fastrnn.torch.accelerate(trained)
        for _ in range(20):
            optimiser.zero_grad()
            loss = (trained(x)[0] ** 2).mean()
            loss.backward()
            optimiser.step()
        losses.append(loss.item())
    assert losses[1] == pytest.approx(losses[0], abs=1e-12)


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
@pytest.mark.parametrize("how", ["plain", "lengths", "packed", "dropout"])
def test_checkpoints_change_no_bit(kind, how):
    options = {"num_layers": 2, "dropout": 0.5} if how == "dropout" else {"num_layers": 2}
    module = getattr(fastrnn.torch, kind)(3, 20, **options)
    x, lengths = torch.randn(900, 4, 3), torch.tensor([900, 3, 411, 700])
    results = []
    for checkpoint in (None, 100, "auto"):
        module.checkpoint = checkpoint
        module.zero_grad()
        torch.manual_seed(1)
        leaf = x.clone().requires_grad_()
        if how == "packed":
            packed = torch.nn.utils.rnn.pack_padded_sequence(leaf, lengths, enforce_sorted=False)
            output = module(packed)[0].data
        else:
            output, _ = module(leaf, lengths=lengths if how == "lengths" else None)
        output.cos().sum().backward()
        results.append([output, leaf.grad, *(p.grad for p in module.parameters())])
    for other in results[1:]:
        for one, two in zip(results[0], other, strict=True):
            assert torch.equal(one, two)


def test_checkpoints_save_memory_and_travel_with_the_module():
    module = copy.deepcopy(fastrnn.torch.accelerate(torch.nn.LSTM(4, 16)))
    module.checkpoint, module.memory = "auto", 4 << 20
    module = copy.deepcopy(module)
    x, d_output = torch.randn(100_000, 1, 4), torch.ones(100_000, 1, 16)
    module(x)[0].backward(d_output)  # compiles
    tracemalloc.start()
    output, _ = module(x)
    output.backward(d_output)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2 * output.nbytes + (7 << 20)  # what is handed out is nobody else's
    module.memory = 100
    with pytest.raises(ValueError, match=r"LSTM: memory=100 bytes are too few"):
        module(x)


def test_an_input_without_a_gradient_costs_none():
    module, x = fastrnn.torch.GRU(64, 8), torch.randn(20_000, 1, 64)
    (output, _), d_output = module(x), torch.ones(20_000, 1, 8)
    output.backward(d_output, retain_graph=True)  # compiles
    tracemalloc.start()
    output.backward(d_output)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < x.nbytes  # what is left is BPTT's own work space
