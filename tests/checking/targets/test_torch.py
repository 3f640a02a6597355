"""gradcheck of torch functions and modules: right ones pass, wrong ones are named."""

import random

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.autograd import Function  # noqa: E402
from torch.nn import functional as F  # noqa: E402
from torch.nn.utils.rnn import pack_padded_sequence  # noqa: E402

import fastrnn.torch  # noqa: E402
from fastrnn.checking import GradcheckError, gradcheck  # noqa: E402
from fastrnn.checking.targets.dispatch import problem_of  # noqa: E402
from fastrnn.kernels import threads as pool  # noqa: E402

both = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["f32", "f64"])


def drawn(*shape, dtype=torch.float32):
    """Return a tensor of a shape, the same at every call."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(len(shape))).to(dtype)


def names_of(target, *inputs):
    return [variable.name for variable in problem_of(target, inputs).variables]


class Sigmoid(Function):
    """sigmoid(x @ w.T), right."""

    @staticmethod
    def forward(ctx, x, w):
        ctx.save_for_backward(x, w)
        return torch.sigmoid(x @ w.t())

    @staticmethod
    def backward(ctx, d):
        x, w = ctx.saved_tensors
        y = torch.sigmoid(x @ w.t())
        d = d * y * (1 - y)
        return d @ w, d.t() @ x


def wrong(change):
    """Return it with another backward: change(dx, dw, d, ctx) -> gradients."""

    def backward(ctx, d):
        return change(*Sigmoid.backward(ctx, d), d, ctx)

    return type("Wrong", (Sigmoid,), {"backward": staticmethod(backward)}).apply


class Power(Function):
    """x ** k, in the newer style."""

    @staticmethod
    def forward(x, k):
        return x**k

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(inputs[0])
        ctx.k = inputs[1]

    @staticmethod
    def backward(ctx, d):
        return d * ctx.k * ctx.saved_tensors[0] ** (ctx.k - 1), None


class Tagger(nn.Module):
    """Words to tags."""

    def __init__(self, rnn):
        super().__init__()
        self.embedding, self.rnn, self.head = nn.Embedding(5, 3), rnn, nn.Linear(4, 2)

    def forward(self, words):
        return self.head(self.rnn(self.embedding(words))[0])


class Stateful(nn.Module):
    """A cell that keeps its state between calls."""

    def __init__(self):
        super().__init__()
        self.cell, self.state, self.calls = nn.GRUCell(3, 2), None, 0

    def forward(self, x):
        state = None if self.state is None else self.state.detach()
        self.state, self.calls = self.cell(x, state), self.calls + 1
        return self.state


class Tied(nn.Module):
    """One weight twice, one frozen, one without axes."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(3, 3), nn.Linear(3, 3, bias=False)
        self.b.weight = self.a.weight
        self.scale = nn.Parameter(torch.tensor(0.3))
        self.frozen = nn.Parameter(torch.ones(3), requires_grad=False)

    def forward(self, x):
        return self.b(torch.tanh(self.a(x))) * self.scale * self.frozen


# What a user may have, each with its inputs.
MODULES = {
    "linear": lambda: (nn.Linear(3, 4), drawn(2, 3)),
    "tagger": lambda: (Tagger(nn.LSTM(3, 2, bidirectional=True)), torch.tensor([[0, 1], [4, 0]])),
    "batch norm": lambda: (nn.BatchNorm1d(3), drawn(5, 3)),
    "attention": lambda: (nn.TransformerEncoderLayer(4, 2, 6, batch_first=True), drawn(2, 2, 4)),
    "attention, eval": lambda: (
        nn.TransformerEncoderLayer(4, 2, 6, batch_first=True).eval(),
        drawn(2, 2, 4),
    ),
    "in place": lambda: (nn.Sequential(nn.ReLU(inplace=True), nn.Linear(3, 2)), drawn(2, 3)),
    "parametrized": lambda: (nn.utils.parametrizations.weight_norm(nn.Linear(3, 4)), drawn(2, 3)),
    "sparse": lambda: (nn.Embedding(4, 2, sparse=True), torch.tensor([1, 1, 3])),
    "stateful": lambda: (Stateful(), drawn(2, 3)),
    "tied": lambda: (Tied(), drawn(2, 3)),
    "packed": lambda: (nn.GRU(3, 2), pack_padded_sequence(drawn(4, 2, 3), torch.tensor([4, 2]))),
}
FUNCTIONS = {
    "written by hand": (Sigmoid.apply, drawn(4, 3), drawn(2, 3)),
    "its class": (Sigmoid, drawn(4, 3), drawn(2, 3)),
    "setup_context": (Power.apply, drawn(4), 3),
    "kinks": (torch.relu, torch.tensor([0.0, 1.0, -1.0, 2.0])),
    "nested": (
        lambda x, hc: {"a": x * hc[0], "b": [hc[1]["k"], x.argmax(), None]},
        drawn(3),
        (drawn(3), {"k": drawn(3)}),
    ),
    "an input comes back": (lambda x, y: (x, x * y), drawn(3), drawn(3)),
    "no axes": (lambda x: x**3, drawn()),
    "complex outputs": (torch.fft.rfft, drawn(6)),
    "calls autograd": (
        lambda x: torch.autograd.grad((x**3).sum(), x, create_graph=True)[0],
        drawn(3),
    ),
    "dropout": (lambda x: F.dropout(x, 0.5) ** 2, drawn(30)),
    "views": (lambda x: x.view(-1) ** 2, drawn(2, 3)),
    "unused": (lambda x, mask: x * (mask > 0), drawn(3), drawn(3)),
}
WRONG = {
    "sign": lambda dx, dw, d, ctx: (dx, -dw),
    "term": lambda dx, dw, d, ctx: (dx, d.t() @ ctx.saved_tensors[0]),
    "none": lambda dx, dw, d, ctx: (dx, None),
    "transposed": lambda dx, dw, d, ctx: (dx, dw.t()),
    "scaled": lambda dx, dw, d, ctx: (dx, dw * 1.0001),
}


@both
@pytest.mark.parametrize("name", MODULES)
def test_right_modules(name, dtype):
    torch.manual_seed(0)
    module, x = MODULES[name]()
    module, x = module.to(dtype), x.to(dtype) if name == "packed" or x.is_floating_point() else x
    report = gradcheck(module, x)
    assert report.kind == "torch module"
    assert report.target == type(module).__name__
    assert [v.name for v in report.variables][-1:] == [  # its parameters are among them
        [n for n, p in module.named_parameters() if p.requires_grad][-1]
    ]


@both
@pytest.mark.parametrize("name", FUNCTIONS)
def test_right_functions(name, dtype):
    target, *inputs = FUNCTIONS[name]
    inputs = torch.utils._pytree.tree_map_only(torch.Tensor, lambda t: t.to(dtype), inputs)
    assert gradcheck(target, inputs).kind == "torch function"


@both
@pytest.mark.parametrize("name", WRONG)
def test_wrong_functions(name, dtype):
    with pytest.raises(GradcheckError) as error:
        gradcheck(wrong(WRONG[name]), (drawn(2, 2, dtype=dtype), drawn(2, 2, dtype=dtype) + 1))
    report = error.value.report
    assert {v.name: bool(v.wrong) for v in report.variables} == {"x": False, "w": True}
    assert report.worst.name.startswith("w[")
    assert report.target == "Wrong"


def test_what_else_is_wrong_has_its_name():
    def failed(target, *inputs):
        report = gradcheck(target, inputs, raise_exception=False)
        return {p.name for p in report.properties if not p.ok}

    class Writes(Function):
        @staticmethod
        def forward(ctx, x):
            x.mul_(2)  # without mark_dirty
            return x.clone()

        @staticmethod
        def backward(ctx, d):
            return 2 * d

    class Undefined(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.set_materialize_grads(False)
            return 2 * x, 3 * x

        @staticmethod
        def backward(ctx, d, e):
            return 2 * d + 3 * e

    def in_place(dx, dw, d, ctx):
        d.zero_()
        return dx, dw

    def accumulating(dx, dw, d, ctx):
        ctx.total = getattr(ctx, "total", 0) + dw
        return dx, ctx.total

    x, w = drawn(4, 3), drawn(2, 3)
    assert "inputs untouched" in failed(Writes.apply, drawn(3))
    assert "inputs untouched" in failed(wrong(in_place), x, w)
    assert "repeatable" in failed(wrong(accumulating), x, w)
    assert "repeatable" in failed(lambda x: x * np.random.default_rng().random(), x)
    assert failed(Undefined.apply, drawn(3)) == {"missing cotangents"}
    detached = gradcheck(lambda x: (x**2).detach(), x, raise_exception=False)
    assert detached.variables[0].wrong == 12
    partly = gradcheck(lambda x: (x**2, x.detach()), x)
    assert partly.notes == ["not checked, as they require no gradient: outputs [1]"]


@pytest.mark.parametrize("mode", ["full", "sample", "project"])
def test_wrong_modules_are_found_in_every_mode(mode):
    class Wrong(nn.Linear):
        def forward(self, x):
            return super().forward(x) + (x @ self.weight.t()).detach()

    report = gradcheck(Wrong(3, 2), drawn(4, 3), mode=mode, raise_exception=False)
    assert {v.name for v in report.variables if v.wrong} == {"x", "weight"}


@both
@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM", "RNNCell", "GRUCell", "LSTMCell"])
def test_our_modules_run_their_kernels(kind, dtype, runs):
    torch.manual_seed(0)
    module = getattr(fastrnn.torch, kind)(3, 2).to(dtype)
    shape = (2, 3) if "Cell" in kind else (4, 2, 3)
    before = runs()
    problem = problem_of(module, (drawn(*shape, dtype=dtype),))
    started = runs()
    assert started > before
    problem.forward(problem.precise)
    assert runs() == started + 1
    problem.vjp(problem.values)
    assert runs() == started + 2
    chosen = pool._pool.chosen
    assert gradcheck(module, drawn(*shape, dtype=dtype), second_order=True)
    assert pool._pool.chosen == chosen  # torch's number of threads is still followed


def draw_recurrent(seed):
    """Return a recurrent module, of torch or ours, and inputs."""
    r = random.Random(seed)
    torch.manual_seed(seed)
    ours, dtype = r.random() < 0.5, r.choice([torch.float32, torch.float64])
    kind = r.choice(["RNN", "GRU", "LSTM"])
    i, h, t, b, layers = (r.randint(1, 3) for _ in range(5))
    options = {
        "num_layers": layers,
        "bidirectional": r.random() < 0.4,
        "bias": r.random() < 0.8,
        "batch_first": r.random() < 0.4,
        "dropout": 0.4 * (layers > 1),
    }
    module = getattr(fastrnn.torch if ours else nn, kind)(i, h, **options, dtype=dtype)
    x = torch.randn((b, t, i) if options["batch_first"] else (t, b, i), dtype=dtype)
    state = torch.randn(2, layers * (1 + options["bidirectional"]), b, h, dtype=dtype).unbind()
    state = (r.choice([None, state if kind == "LSTM" else state[0]]),)
    lengths = (np.array([r.randint(0, t) for _ in range(b)]),) * (ours and r.random() < 0.5)
    return module, (x, *state, *lengths), r.choice(["full", "sample", "project"])


@pytest.mark.parametrize("seed", range(24))
def test_right_recurrent_modules(seed):
    module, inputs, mode = draw_recurrent(seed)
    assert gradcheck(module, inputs, mode=mode, seed=seed)


def test_names():
    lstm = nn.LSTM(3, 8, 2, bidirectional=True, batch_first=True)
    state = (drawn(4, 2, 8), drawn(4, 2, 8))
    of_lstm = {v.name: v for v in problem_of(lstm, (drawn(2, 5, 3), state)).variables}
    weight = of_lstm["weight_hh_l1_reverse"]
    assert weight.called((11, 7)) == "weight_hh_l1_reverse[gate f, unit 3, from 7]"
    assert of_lstm["input"].called((1, 2, 0)) == "input[row 1, t 2, feature 0]"
    assert of_lstm["input"].time == 1
    assert of_lstm["hx[1]"].called((3, 1, 6)) == "hx[1][layer 3, row 1, unit 6]"
    tagger = Tagger(fastrnn.torch.GRU(3, 4))
    nested = {v.name: v for v in problem_of(tagger, (torch.tensor([[1]]),)).variables}
    assert (
        nested["rnn.weight_ih_l0"].called((4, 1))
        == "rnn.weight_ih_l0[gate z, unit 0, from input 1]"
    )
    assert nested["head.weight"].called((1, 3)) == "head.weight[1, 3]"
    assert names_of(Sigmoid.apply, drawn(4, 3), drawn(2, 3)) == ["x", "w"]
    assert names_of(Power, drawn(4), 3) == ["x"]
    assert names_of(torch.add, drawn(2), drawn(2)) == ["inputs[0]", "inputs[1]"]
    assert names_of(lambda *xs: xs[0], drawn(2)) == ["inputs[0]"]
    assert names_of(FUNCTIONS["nested"][0], *FUNCTIONS["nested"][1:]) == [
        "x",
        "hc[0]",
        "hc[1]['k']",
    ]
    assert names_of(Tied(), drawn(2, 3)) == ["x", "scale", "a.weight", "a.bias"]


def test_which_inputs_are_variables():
    a, b = drawn(3, 3), drawn(3, 3)
    assert names_of(torch.matmul, a, b) == ["inputs[0]", "inputs[1]"]
    report = gradcheck(lambda x, y: x @ y, (a.requires_grad_(), b))
    assert [v.name for v in report.variables] == ["x"]
    assert report.notes == ["constant, as they require no gradient: y"]
    assert gradcheck(nn.Linear(3, 2), b, wrt="bias").variables[0].checked == 2


def test_random_numbers():
    """Dropout's masks are those of both precisions; other random numbers are not."""
    x = drawn(40)
    assert not gradcheck(lambda x: F.dropout(x, 0.4), x).notes
    (note,) = gradcheck(lambda x: x * torch.rand_like(x), x).notes
    assert "float64" in note
    assert not gradcheck(lambda x: x * torch.rand_like(x), x.double()).notes
    masks = [problem_of(nn.Dropout(), (x,), seed).vjp([x.numpy()])[0][0] for seed in (1, 1, 2)]
    assert np.array_equal(masks[0], masks[1])
    assert not np.array_equal(masks[0], masks[2])


def test_nothing_of_the_user_changes():
    module = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Dropout(0.5), Stateful())
    x = drawn(4, 3).requires_grad_()
    module(x).sum().backward()
    before = {name: t.clone() for name, t in module.state_dict().items()}
    grads = [p.grad.clone() for p in module.parameters()]
    state, gradient, value = module[3].state, x.grad.clone(), x.detach().clone()
    random_state = torch.get_rng_state()
    with torch.inference_mode():
        assert gradcheck(module, x)
    assert all(torch.equal(before[name], t) for name, t in module.state_dict().items())
    assert all(map(torch.equal, grads, (p.grad for p in module.parameters())))
    assert module[3].state is state
    assert module[3].calls == 1
    assert module.training
    assert x.requires_grad
    assert torch.equal(x.grad, gradient)
    assert torch.equal(x, value)
    assert torch.equal(torch.get_rng_state(), random_state)
    assert torch.get_default_dtype() == torch.float32


@pytest.mark.parametrize(
    ("target", "inputs", "error", "text"),
    [
        (torch.relu, drawn(3).half(), TypeError, r"inputs\[0\] is torch.float16; .*\.double\(\)"),
        (torch.abs, drawn(3) * 1j, TypeError, "view_as_real"),
        (torch.relu, drawn(3).to("meta"), TypeError, r"on meta; .*\.cpu\(\)"),
        (torch.relu, drawn(2, 2).to_sparse(), TypeError, r"to_dense\(\)"),
        (
            nn.Linear(3, 2).bfloat16(),
            drawn(3),
            TypeError,
            r"weight is torch.bfloat16; .*module.double",
        ),
        (nn.Linear(3, 2), (np.ones(3),), TypeError, r"torch.from_numpy\(input\)"),
        ((torch.relu, torch.relu), drawn(3), TypeError, "NumPy arrays"),
        (lambda x: x.argmax(), drawn(3), TypeError, "no floating tensor"),
        (lambda x: x @ drawn(3), drawn(3), TypeError, "does not run in float64"),
        (torch.relu, torch.arange(3), ValueError, "no gradient to check"),
    ],
)
def test_refusals(target, inputs, error, text):
    with pytest.raises(error, match=text):
        gradcheck(target, inputs)


def test_what_a_target_makes_itself_follows_it_to_float64():
    assert gradcheck(lambda x: torch.eye(3) @ x, drawn(3, 2))


@pytest.mark.filterwarnings("ignore:Lazy modules")
def test_a_lazy_module_is_refused():
    with pytest.raises(ValueError, match="call the module once"):
        gradcheck(nn.LazyLinear(2), drawn(2, 3))
