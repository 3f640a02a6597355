"""Every shape, trained here and in torch from the same start on the same batches: the same losses.

float64, to 1e-9, over several epochs; ragged lengths, all cells, stacked, both directions, clipped,
with decay and truncated; and the parameters at the end. The torch side is fitted.py's.
"""

import numpy as np
import pytest

from fastrnn.models import RNNClassifier, RNNGenerator, RNNRegressor, RNNTagger, Seq2Seq
from tests.support.compare import assert_close
from tests.support.fitted import (
    fit,
    in_torch,
    last_state,
    one_hot,
    step_losses,
    top,
    train_in_torch,
)

torch = pytest.importorskip("torch")

SMALL = {"dtype": "float64", "epochs": 3, "batch_size": 3, "lr": 1e-2, "seed": 3}
RANDOM = np.random.default_rng(0)
LENGTHS = [3, 9, 1, 7, 7, 2, 5, 8]
VECTORS = [RANDOM.standard_normal((t, 3)) for t in LENGTHS]
WORDS = ["".join(RANDOM.choice(list("abcd"), t)) for t in LENGTHS]
FLOATS = [torch.tensor(x) for x in VECTORS]

both = pytest.mark.parametrize(
    "options",
    [
        {},
        {
            "cell": "gru",
            "num_layers": 2,
            "optimizer": "sgd",
            "lr": 0.1,
            "lr_decay": 0.7,
            "optimizer_options": {"momentum": 0.9, "nesterov": True},
        },
        {"cell": "relu", "clip_norm": 0.05, "optimizer": "rmsprop"},
        {
            "cell": "rnn",
            "clip_value": 0.01,
            "clip_norm": None,
            "optimizer": "adamw",
            "validation_fraction": 0.3,
        },
        {"truncate": 3, "num_layers": 2, "clip_value": 0.02, "clip_norm": 0.06},
        {"cell": "gru", "truncate": 1},
    ],
    ids=lambda options: "-".join(map(str, options.values())) or "plain",
)
two_directions = pytest.mark.parametrize(
    "options",
    [{"bidirectional": True}, {"bidirectional": True, "cell": "gru", "num_layers": 2}],
    ids=["lstm", "gru"],
)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Torch on one thread: what it does here is small."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def assert_same(model, seen, modules, history):
    """Compare the histories and, where no best epoch was put back, what was learnt."""
    for name, expected in history.items():
        if expected:
            got = np.array(model.history_[name])
            assert_close(got, np.array(expected), atol=1e-9, rtol=1e-9, name=name)
    assert len(model.history_["loss"]) == model.epochs
    if history["validation_loss"]:
        return
    for part, module in zip(seen.parts, modules, strict=True):
        for name, weight in module.named_parameters():
            assert_close(part.params[name], weight.detach().numpy(), atol=1e-8, name=name)


def check_classifier(options):
    y = [word.count("a") % 3 for word in WORDS]
    model = RNNClassifier(6, **SMALL | options)
    seen = fit(model, WORDS, y)
    rnn, head = modules = in_torch(seen)
    inputs = [one_hot(["abcd".index(c) for c in word], 4) for word in WORDS]

    def losses(rows):
        answers = [head(top(rnn, last_state(rnn, inputs[n], model.truncate))) for n in rows]
        right = torch.tensor([y[n] for n in rows])
        yield torch.nn.functional.cross_entropy(torch.stack(answers), right), len(rows)

    assert_same(model, seen, modules, train_in_torch(model, modules, losses, seen.lengths))


@both
def test_classifier(options):
    check_classifier(options)


@two_directions
def test_classifier_of_two_directions(options):
    check_classifier(options)


@both
def test_regressor(options):
    y = np.random.default_rng(1).standard_normal((len(LENGTHS), 2))
    model = RNNRegressor(6, **SMALL | options)
    seen = fit(model, VECTORS, y)
    rnn, head = modules = in_torch(seen)

    def losses(rows):
        answers = [head(top(rnn, last_state(rnn, FLOATS[n], model.truncate))) for n in rows]
        yield torch.nn.functional.mse_loss(torch.stack(answers), torch.tensor(y[rows])), len(rows)

    assert_same(model, seen, modules, train_in_torch(model, modules, losses, seen.lengths))


def check_tagger(options):
    tags = [np.random.default_rng(t).integers(0, 3, t) for t in LENGTHS]
    model = RNNTagger(6, **SMALL | {"bidirectional": False} | options)
    seen = fit(model, VECTORS, tags)
    rnn, head = modules = in_torch(seen)

    def losses(rows):
        right = [torch.tensor(tags[n]) for n in rows]
        inputs = [FLOATS[n] for n in rows]
        return step_losses(rnn, head, inputs, right, model.truncate, [None] * len(rows))

    assert_same(model, seen, modules, train_in_torch(model, modules, losses, seen.lengths))


@both
def test_tagger(options):
    check_tagger(options)


@two_directions
def test_tagger_of_two_directions(options):
    check_tagger(options)


def with_boundaries(words):
    """Return what a decoder reads, one-hot, and what it has to say."""
    indices = [["abcd".index(c) for c in word] for word in words]
    return [one_hot([4, *row], 5) for row in indices], [torch.tensor([*row, 4]) for row in indices]


@both
def test_generator_of_sequences(options):
    model = RNNGenerator(6, **SMALL | {"truncate": None} | options)
    seen = fit(model, WORDS)
    rnn, head = modules = in_torch(seen)
    inputs, right = with_boundaries(WORDS)

    def losses(rows):
        some = [inputs[n] for n in rows], [right[n] for n in rows]
        return step_losses(rnn, head, *some, model.truncate, [None] * len(rows))

    assert_same(model, seen, modules, train_in_torch(model, modules, losses, seen.lengths))


@both
def test_generator_from_vectors(options):
    vectors = np.random.default_rng(2).standard_normal((len(WORDS), 3))
    model = RNNGenerator(6, **SMALL | {"truncate": None} | options)
    seen = fit(model, vectors, WORDS)
    rnn, head, bridge = modules = in_torch(seen)
    inputs, right = with_boundaries(WORDS)

    def losses(rows):
        states = []
        for n in rows:
            h = bridge(torch.tensor(vectors[n])).reshape(model.num_layers, 1, 6)
            states.append((h, torch.zeros_like(h)) if model.cell == "lstm" else h)
        some = [inputs[n] for n in rows], [right[n] for n in rows]
        yield from step_losses(rnn, head, *some, model.truncate, states)

    assert_same(model, seen, modules, train_in_torch(model, modules, losses, seen.lengths))


@pytest.mark.parametrize("truncate", [None, 4, 7])
@pytest.mark.parametrize("validation_fraction", [0.0, 0.2])
def test_generator_of_a_text(truncate, validation_fraction):
    text = "".join(np.random.default_rng(3).choice(list("abcd"), 100))
    own = {"truncate": truncate, "validation_fraction": validation_fraction}
    model = RNNGenerator(6, **SMALL | own)
    seen = fit(model, text)
    rnn, head = modules = in_torch(seen)
    indices = torch.tensor(["abcd".index(c) for c in text])
    learnt = 80 if validation_fraction else 100
    length = (learnt - 1) // 3  # of a stream; there are three
    whole = length // (truncate or length) * (truncate or length)

    def losses(rows):
        begins = [n * length for n in rows]
        inputs = [one_hot(indices[b : b + whole].tolist(), 4) for b in begins]
        right = [indices[b + 1 : b + whole + 1] for b in begins]
        return step_losses(rnn, head, inputs, right, truncate, [None] * 3)

    def validate():
        held_out = indices[80:]
        # Sections have all 20 symbols before them as context: as if it were read in one go.
        inputs = [one_hot(held_out[:-1].tolist(), 4)]
        return step_losses(rnn, head, inputs, [held_out[1:]], None, [None])

    history = train_in_torch(
        model, modules, losses, seen.lengths, validate if validation_fraction else None
    )
    assert_same(model, seen, modules, history)


def check_seq2seq(options):
    model = Seq2Seq(6, **SMALL | options)
    seen = fit(model, VECTORS, WORDS)
    encoder, decoder, head = modules = in_torch(seen)
    inputs, right = with_boundaries(WORDS)

    def joined(s):
        return torch.cat([s[0::2], s[1::2]], 2) if model.bidirectional else s

    def losses(rows):
        states = []
        for n in rows:
            state = last_state(encoder, FLOATS[n], model.truncate)
            states.append(tuple(map(joined, state)) if model.cell == "lstm" else joined(state))
        some = [inputs[n] for n in rows], [right[n] for n in rows]
        yield from step_losses(decoder, head, *some, model.truncate, states)

    assert_same(model, seen, modules, train_in_torch(model, modules, losses, seen.lengths))


@both
def test_seq2seq(options):
    check_seq2seq(options)


@two_directions
def test_seq2seq_of_two_directions(options):
    check_seq2seq(options)
