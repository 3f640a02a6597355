"""gradcheck of torch modules, torch's own and ours: right ones pass, wrong ones are named."""

import random

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn.utils.rnn import pack_padded_sequence  # noqa: E402

import fastrnn.torch  # noqa: E402
from fastrnn.checking import gradcheck  # noqa: E402
from fastrnn.checking.targets.dispatch import problem_of  # noqa: E402
from fastrnn.kernels import threads as pool  # noqa: E402
from tests.support.tensors import drawn, names_of  # noqa: E402

both = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["f32", "f64"])


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
    lengths = (np.array([t, *(r.randint(0, t) for _ in range(b - 1))]),) * (
        ours and r.random() < 0.5
    )
    return module, (x, *state, *lengths), r.choice(["full", "sample", "project"])


@pytest.mark.parametrize("seed", range(24))
def test_right_recurrent_modules(seed):
    module, inputs, mode = draw_recurrent(seed)
    assert gradcheck(module, inputs, mode=mode, seed=seed)


def test_names_of_modules():
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
    assert names_of(Tied(), drawn(2, 3)) == ["x", "scale", "a.weight", "a.bias"]


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


@pytest.mark.filterwarnings("ignore:Lazy modules")
def test_a_lazy_module_is_refused():
    with pytest.raises(ValueError, match="call the module once"):
        gradcheck(nn.LazyLinear(2), drawn(2, 3))
