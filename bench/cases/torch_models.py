"""Whole models as people write them in torch, before and after `fastrnn.torch.accelerate`.

Training is a whole step: forward, loss, backward, Adam. Inference is forward alone. Both sides run
the same code on the same numbers, and are compared before they are timed. Single layers, other
libraries and the machine's limit are measured with the shapes of shapes.py.
"""

import copy
from collections.abc import Callable
from typing import Any, NamedTuple

from bench.cases.contender import Missing
from bench.tools.timing import interleaved

try:
    import torch
    from torch import nn
    from torch.nn import functional as F
    from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
except ImportError:
    raise Missing("torch is not installed") from None

import fastrnn.torch


class Tagger(nn.Module):
    """A tag for each word of a sentence (Huang, Xu & Yu 2015): packed, both directions."""

    def __init__(self, kind, hidden, tags=17, words=10_000):
        super().__init__()
        self.words = nn.Embedding(words, 100)
        self.layer = getattr(nn, kind)(100, hidden, batch_first=True, bidirectional=True)
        self.tags = nn.Linear(2 * hidden, tags)

    def forward(self, sentences, lengths):
        packed = pack_padded_sequence(self.words(sentences), lengths, True, enforce_sorted=False)
        output, _ = pad_packed_sequence(self.layer(packed)[0], batch_first=True)
        return self.tags(output)

    def example(self, batch=32, longest=60):
        lengths = torch.randint(5, longest + 1, (batch,))
        lengths[0] = longest
        return torch.randint(10_000, (batch, longest)), lengths

    def loss(self, sentences, lengths):
        scores = self(sentences, lengths).transpose(1, 2)
        valid = torch.arange(sentences.shape[1]) < lengths[:, None]
        return F.cross_entropy(scores, torch.where(valid, sentences % 17, -100))


class Forecaster(nn.Module):
    """The next day of some series from the last week, hour by hour."""

    def __init__(self, kind, hidden, layers=2):
        super().__init__()
        self.layer = getattr(nn, kind)(8, hidden, layers, batch_first=True)
        self.head = nn.Linear(hidden, 24)

    def forward(self, series):
        return self.head(self.layer(series)[0][:, -1])

    def example(self, batch=64, time=168):
        return (torch.randn(batch, time, 8),)

    def loss(self, series):
        return F.mse_loss(self(series), series[:, :24, 0])


class LanguageModel(nn.Module):
    """The next character; sequences of one length, so nothing is packed."""

    def __init__(self, kind, hidden, characters=100):
        super().__init__()
        self.characters = nn.Embedding(characters, hidden)
        self.layer = getattr(nn, kind)(hidden, hidden)
        self.next = nn.Linear(hidden, characters)

    def forward(self, text):
        return self.next(self.layer(self.characters(text))[0])

    def example(self, batch=32, time=100):
        return (torch.randint(100, (time, batch)),)

    def loss(self, text):
        return F.cross_entropy(self(text[:-1]).flatten(0, 1), text[1:].flatten())


class Policy(nn.Module):
    """An agent with a memory in one environment: a step at a time (actor-critic, 20 steps)."""

    def __init__(self, kind, hidden):
        super().__init__()
        self.eyes = nn.Linear(16, 64)
        self.layer = getattr(nn, kind)(64, hidden)
        self.actor, self.critic = nn.Linear(hidden, 4), nn.Linear(hidden, 1)

    def step(self, seen, hx):
        output, hx = self.layer(torch.tanh(self.eyes(seen)), hx)
        return self.actor(output), self.critic(output), hx

    def forward(self, episode):
        hx, actions = None, []
        for seen in episode:
            scores, _, hx = self.step(seen, hx)
            actions.append(scores.argmax())
        return torch.stack(actions)

    def example(self, time=20):
        return (torch.randn(time, 1, 1, 16),)

    def loss(self, episode):
        hx, terms = None, []
        for seen in episode:
            scores, value, hx = self.step(seen, hx)
            logs = F.log_softmax(scores.flatten(), 0)
            reward = seen.flatten()[0]
            terms.append(F.mse_loss(value.flatten()[0], reward) - logs[1] * (reward - value.item()))
        return torch.stack(terms).mean()


class Layer(nn.Module):
    """The recurrent part of a policy alone, step by step."""

    def __init__(self, kind, hidden):
        super().__init__()
        self.layer = getattr(nn, kind)(64, hidden)

    def forward(self, episode):
        hx, outputs = None, []
        for seen in episode:
            output, hx = self.layer(seen, hx)
            outputs.append(output)
        return torch.cat(outputs)

    def example(self, time=20):
        return (torch.randn(time, 1, 1, 64),)

    def loss(self, episode):
        return self(episode).square().mean()


class Case(NamedTuple):
    """A model and its bar: the speed-up that training and inference should have."""

    model: Callable[[], Any]
    bar: float


CASES = {
    "tagger, BiLSTM 256, packed": Case(lambda: Tagger("LSTM", 256), 4),
    "tagger, BiGRU 256, packed": Case(lambda: Tagger("GRU", 256), 4),
    "forecaster, GRU 2 x 128": Case(lambda: Forecaster("GRU", 128), 3),
    "forecaster, RNN 2 x 128": Case(lambda: Forecaster("RNN", 128), 3),
    "language model, LSTM 256": Case(lambda: LanguageModel("LSTM", 256), 1.3),
    "language model, LSTM 512": Case(lambda: LanguageModel("LSTM", 512), 1.3),
    "language model, GRU 256": Case(lambda: LanguageModel("GRU", 256), 3),
    "policy, LSTM 128": Case(lambda: Policy("LSTM", 128), 3),
    "policy, GRU 128": Case(lambda: Policy("GRU", 128), 3),
    "20 steps, LSTM 128": Case(lambda: Layer("LSTM", 128), 3),
    "20 steps, GRU 128": Case(lambda: Layer("GRU", 128), 3),
    "20 steps, RNN 128": Case(lambda: Layer("RNN", 128), 3),
    "20 steps, LSTMCell 128": Case(lambda: _of_cells("LSTMCell"), 3),
    "20 steps, GRUCell 128": Case(lambda: _of_cells("GRUCell"), 3),
    "20 steps, RNNCell 128": Case(lambda: _of_cells("RNNCell"), 3),
}


def _of_cells(kind):
    model = Layer("RNN", 128)
    model.layer = _Alone(getattr(nn, kind)(64, 128))
    return model


class _Alone(nn.Module):
    """A cell as a layer of one step."""

    def __init__(self, cell):
        super().__init__()
        self.cell = cell

    def forward(self, seen, hx):
        hx = self.cell(seen[0], hx)
        return (hx[0] if isinstance(hx, tuple) else hx), hx


def ready(case: Case) -> dict[str, dict[str, Callable]]:
    """Return `mode -> contender -> run`, after checking that both compute the same.

    Raises:
        ArithmeticError: they do not.
    """
    torch.manual_seed(0)
    plain = case.model()
    models = {"torch": plain, "fastrnn": fastrnn.torch.accelerate(copy.deepcopy(plain))}
    example, runs = plain.example(), {"train": {}, "inference": {}}
    trained = {}
    for contender, model in models.items():
        optimiser = torch.optim.Adam(model.parameters())

        def train(model=model, optimiser=optimiser):
            optimiser.zero_grad()
            loss = model.loss(*example)
            loss.backward()
            optimiser.step()
            return loss

        def infer(model=model):
            with torch.inference_mode():
                return model(*example)

        runs["train"][contender], runs["inference"][contender] = train, infer
        gradients = infer().float(), train().detach(), *(p.grad for p in model.parameters())
        trained[contender] = gradients
    for got, want in zip(trained["fastrnn"], trained["torch"], strict=True):
        error = float((got - want).abs().max() / max(1.0, float(want.abs().max())))
        if not error < 1e-3:
            raise ArithmeticError(f"off by {error:.1e}")
    return runs


def measure(names, rounds: int = 7, seconds: float = 0.15):
    """Yield `name, bar, mode, seconds of torch, seconds with fastrnn` for cases by name."""
    for name in names:
        for mode, runs in ready(CASES[name]).items():
            times = interleaved(runs, rounds, seconds)
            torchs, ours = (sorted(times[name])[rounds // 2] for name in ("torch", "fastrnn"))
            yield name, CASES[name].bar, mode, torchs, ours
