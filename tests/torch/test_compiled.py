"""fastrnn.torch under torch.compile: one node, no break, torch's numbers.

The graph is looked at before a backend has it (aot_eager); the default backend, which wants a C++
compiler, is tried where there is one.
"""

import copy
import shutil
import time

import pytest

from tests.support.processes import python

torch = pytest.importorskip("torch")

from torch._dynamo.testing import CompileCounterWithBackend  # noqa: E402
from torch.library import opcheck  # noqa: E402

import fastrnn.torch  # noqa: E402
from fastrnn.torch import compiled  # noqa: E402

every_kind = pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
F64 = torch.float64
pytestmark = [
    pytest.mark.filterwarnings("ignore:LSTM with projections is not supported"),
    # Torch's own, of its compiler.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


@pytest.fixture(autouse=True)
def fresh():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


class Model(torch.nn.Module):
    def __init__(self, kind, **options):
        super().__init__()
        torch.manual_seed(0)
        self.below = torch.nn.Linear(3, 4, dtype=F64)
        self.layer = getattr(torch.nn, kind)(4, 8, dtype=F64, **options)

    def forward(self, x, *arguments):
        output, state = self.layer(self.below(x), *arguments)
        return torch.tanh(output), state


def compile_model(kind, backend="aot_eager", **options):
    """Return torch's model, and a compiled one of ours with a count of its graphs."""
    model, counter = Model(kind, **options), CompileCounterWithBackend(backend)
    accelerated = fastrnn.torch.accelerate(copy.deepcopy(model))
    return model, torch.compile(accelerated, fullgraph=True, backend=counter), counter


def nodes(counter):
    return [n for graph in counter.graphs for n in graph.graph.nodes if "recurrence" in str(n)]


def flat(result):
    return [result] if isinstance(result, torch.Tensor) else [t for r in result for t in flat(r)]


def assert_trains_alike(model, accelerated, x, *arguments):
    results = []
    for one in (model, accelerated):
        one.zero_grad()
        leaf = x.clone().requires_grad_()
        outputs = flat(one(leaf, *arguments))
        torch.autograd.backward(outputs, [torch.cos(o.detach()) for o in outputs])
        results.append([*outputs, leaf.grad, *(p.grad for p in one.parameters())])
    for want, got in zip(*results, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-12)


@every_kind
@pytest.mark.parametrize(
    "options",
    [{}, {"num_layers": 2, "bidirectional": True, "batch_first": True}, {"bias": False}],
    ids=["plain", "deep", "no_bias"],
)
def test_it_is_one_node_and_trains_as_torch(kind, options):
    model, accelerated, counter = compile_model(kind, **options)
    x = torch.randn(5, 2, 3, dtype=F64)
    assert_trains_alike(model, accelerated, x)
    assert_trains_alike(model, accelerated, x)
    assert counter.frame_count == 1
    assert len(nodes(counter)) == 1
    with torch.no_grad():
        torch.testing.assert_close(accelerated(x), model(x), rtol=1e-12, atol=1e-12)


@every_kind
def test_states_and_lengths(kind):
    model, accelerated, counter = compile_model(
        kind, **({"proj_size": 5} if kind == "LSTM" else {})
    )
    x, h = torch.randn(5, 2, 3, dtype=F64), torch.randn(1, 2, 5 if kind == "LSTM" else 8, dtype=F64)
    hx = (h, torch.randn(1, 2, 8, dtype=F64)) if kind == "LSTM" else h
    assert_trains_alike(model, accelerated, x, hx)
    lengths = torch.tensor([5, 0])
    eager = fastrnn.torch.accelerate(copy.deepcopy(model))
    assert_trains_alike(eager, accelerated, x, hx, lengths)
    row = tuple(s[:, 0] for s in hx) if kind == "LSTM" else hx[:, 0]
    assert_trains_alike(model, accelerated, x[:, 0], row)
    assert len(nodes(counter)) == counter.frame_count


# Of a tensor that Dynamo looks at.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
def test_lengths_are_not_forgotten_where_torch_computes():
    module = fastrnn.torch.GRU(3, 4, dtype=torch.bfloat16)
    x, lengths = torch.ones(5, 2, 3, dtype=torch.bfloat16), [5, 2]
    output, _ = torch.compile(module, backend="aot_eager")(x, lengths=lengths)
    torch.testing.assert_close(output, module(x, lengths=lengths)[0])
    assert not output[2:, 1].any()


def test_any_length_compiles_at_once():
    model, accelerated, counter = compile_model("LSTM")
    begin = time.perf_counter()
    for T in (3, 4, 17, 20_000):
        x = torch.randn(T, 2, 3, dtype=F64)
        torch.testing.assert_close(accelerated(x)[0], model(x)[0], rtol=1e-12, atol=1e-12)
    assert counter.frame_count <= 2  # of one length, then of any
    assert time.perf_counter() - begin < 60  # unrolled it would take hours


def test_dropout_draws_new_masks():
    _, accelerated, _ = compile_model("GRU", num_layers=2, dropout=0.5)
    x = torch.randn(5, 2, 3, dtype=F64)
    first, second = (accelerated(x)[0] for _ in range(2))
    assert not torch.equal(first, second)
    (first.sum() + second.sum()).backward()
    accelerated.eval()
    torch.testing.assert_close(accelerated(x)[0], accelerated(x)[0], rtol=0, atol=0)


def test_everything_dropped():
    model, accelerated, _ = compile_model("GRU", num_layers=2, dropout=1.0)
    assert_trains_alike(model, accelerated, torch.randn(5, 2, 3, dtype=F64))


@pytest.mark.skipif(shutil.which("g++") is None, reason="the default backend needs a C++ compiler")
@every_kind
def test_the_default_backend(kind, monkeypatch, tmp_path):
    """Which reuses memory as soon as it may: of arguments that were copied, of the output."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    for options in ({"num_layers": 2}, {"batch_first": True, "bidirectional": True}):
        model, accelerated, _ = compile_model(kind, backend="inductor", **options)
        x = torch.randn(2, 5, 3, dtype=F64).transpose(0, 1)
        assert_trains_alike(model, accelerated, x)
        assert_trains_alike(model, accelerated, x.contiguous())


@pytest.mark.parametrize("kind", ["RNNCell", "LSTMCell", "GRUCell"])
def test_cells_are_traced_through_torchs_own_path(kind):
    torch.manual_seed(0)
    reference = getattr(torch.nn, kind)(3, 4)
    cell = fastrnn.torch.accelerate(copy.deepcopy(reference))
    call = torch.compile(cell, fullgraph=True, backend="aot_eager")
    x = torch.randn(2, 3)
    torch.testing.assert_close(call(x), reference(x))


def test_torchs_own_modules_are_refused_as_before():
    with pytest.raises(torch._dynamo.exc.Unsupported, match="RNN, GRU, or LSTM"):
        torch.compile(torch.nn.LSTM(3, 4), fullgraph=True)(torch.randn(5, 2, 3))
    assert not torch._dynamo.config.allow_rnn


def test_importing_does_not_import_dynamo_and_compiling_later_works():
    """The import takes a second; here it is already there, so in a process of its own."""
    code = """
import sys, torch, fastrnn.torch
assert "torch._dynamo" not in sys.modules
model = fastrnn.torch.GRU(3, 4)
x = torch.randn(5, 2, 3)
expected = model(x)[0]
assert torch.equal(torch.compile(model, fullgraph=True, backend="aot_eager")(x)[0], expected)
print("one graph")
"""
    assert python(code) == "one graph"


def test_wrong_arguments_are_torchs_errors():
    _, accelerated, _ = compile_model("GRU")
    for wrong in (torch.randn(5, 2, 2, dtype=F64), torch.randn(5, 2, 3)):
        with pytest.raises((RuntimeError, torch._dynamo.exc.Unsupported)):
            accelerated(wrong)


def arguments(mode, keep=True):
    layer = torch.nn.LSTM if mode == "LSTM" else torch.nn.GRU
    torch.manual_seed(0)
    weights = [p.detach().requires_grad_() for p in layer(4, 8, 2, dtype=F64).parameters()]
    x = torch.randn(5, 2, 4, dtype=F64, requires_grad=True)
    shapes = [(2, 2, 8)] * (1 + (mode == "LSTM"))
    states = [torch.randn(shape, dtype=F64, requires_grad=True) for shape in shapes]
    reset = torch.eye(5, 2) > 0 if mode == "LSTM" else None
    options = mode, 4, 8, 2, True, False, False, 0, None, None, keep
    return x, states, weights, [], None, reset, *options


@pytest.mark.parametrize("mode", ["LSTM", "GRU"])
def test_torchs_checks_of_an_operation(mode):
    opcheck(
        torch.ops.fastrnn.recurrence_v4.default,
        arguments(mode),
        test_utils=("test_schema", "test_autograd_registration", "test_faketensor"),
    )


@pytest.mark.parametrize("mode", ["LSTM", "GRU"])
def test_nothing_but_the_arguments_is_read_for_the_gradient(mode):
    x, states, weights, *rest = arguments(mode)
    masks = [torch.rand(5, 2, 8, dtype=F64)]
    first = [t.detach().clone() for t in (x, *states, *weights, *masks)]

    def call(tensors):
        x, others = tensors[0], tensors[1:]
        return x, others[: len(states)], others[len(states) : -1], [others[-1]], *rest[1:]

    *results, token = torch.ops.fastrnn.recurrence_v4(*call(first))
    d = [torch.ones_like(r) for r in results]
    want = torch.ops.fastrnn.recurrence_v4_backward(d, token, *call(first)[:-3])
    elsewhere = [t.clone() for t in first]
    for tensor in (*first, *results):
        tensor.fill_(float("nan"))
    got = torch.ops.fastrnn.recurrence_v4_backward(d, token, *call(elsewhere)[:-3])
    for one, other in zip(got, want, strict=True):
        assert torch.equal(one, other)


@every_kind
@pytest.mark.parametrize("checkpoint", ["auto", 300])
def test_checkpoints(kind, checkpoint):
    model, accelerated, counter = compile_model(kind)
    accelerated.layer.checkpoint = checkpoint
    assert_trains_alike(model, accelerated, torch.randn(1400, 3, 3, dtype=F64))
    assert len(nodes(counter)) == 1
    output, _ = accelerated(torch.randn(1400, 3, 3, dtype=F64))
    [kept] = compiled._kept.values()
    assert kept.tape.residuals[0].checkpoint_every
    output.sum().backward()


def test_what_is_kept_lives_as_long_as_its_token():
    before = len(compiled._kept)
    *results, token = torch.ops.fastrnn.recurrence_v4(*arguments("LSTM"))
    assert len(compiled._kept) == before + 1
    gradients = torch.autograd.grad(results[0].sum(), results[0])
    del gradients, results, token
    assert len(compiled._kept) == before


def test_a_copy_of_the_token_is_as_good():
    """Somebody who moves saved tensors about, to the disk say: computed again."""
    x, states, weights, *rest = arguments("LSTM")
    *results, token = torch.ops.fastrnn.recurrence_v4(x, states, weights, *rest)
    d = [torch.ones_like(r) for r in results]
    call = (x, states, weights, *rest[:-3])
    want = torch.ops.fastrnn.recurrence_v4_backward(d, token, *call)
    copied = token.clone()
    del results, token
    got = torch.ops.fastrnn.recurrence_v4_backward(d, copied, *call)
    for one, other in zip(got, want, strict=True):
        assert torch.equal(one, other)


@every_kind
def test_what_is_handed_out_may_be_changed_and_backward_frees_the_rest(kind):
    (model, accelerated, _), x = compile_model(kind), torch.randn(5, 2, 3, dtype=F64)
    for change in (torch.relu_, torch.Tensor.t_, lambda t: t.detach().numpy().fill(0.2)):
        gradients = []
        for one in (model.layer, torch.compile(accelerated.layer, backend="aot_eager")):
            one.zero_grad()
            output, state = one(torch.cat([x, x], 2)[..., :4])
            change(output[0])
            change(flat(state)[0][0])
            (output.cos().sum() + flat(state)[0].sum()).backward()
            gradients.append([p.grad.clone() for p in one.parameters()])
        torch.testing.assert_close(*gradients, rtol=1e-12, atol=1e-12)
    losses = [accelerated(x)[0].sum() for _ in range(3)]
    torch.autograd.backward(losses)
    assert not compiled._kept


@every_kind
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("bidirectional", [True, False])
def test_the_shapes_that_weights_must_have(kind, bias, bidirectional):
    projected = [{}, {"proj_size": 3}] if kind == "LSTM" else [{}]
    for options in projected:
        options |= {"bias": bias, "bidirectional": bidirectional}
        module = getattr(fastrnn.torch, kind)(4, 8, 3, **options)
        assert compiled._weight_shapes(module) == [tuple(p.shape) for p in module.parameters()]
