"""Training with layers, losses and optimisers: torch's losses, and the textbook's example learnt.

The parts are judged in files of their own. The trainer of the models and of the command line is not
used here: see tests/models/test_training.py.
"""

import numpy as np
import pytest

import fastrnn
from fastrnn.cells import CELLS, lstm
from tests.support.compare import assert_close
from tests.support.configurations import layer_class, torch_class

VOCABULARY, HIDDEN, STEPS, T, B = 11, 13, 20, 16, 4


def batches():
    rng = np.random.default_rng(0)
    text = rng.integers(0, VOCABULARY, (STEPS, T + 1, B))
    follows = (text[:, :-1] * 3 + 1) % VOCABULARY  # something to learn
    text[:, 1:] = np.where(rng.random((STEPS, T, B)) < 0.7, follows, text[:, 1:])
    return text


def train(layer, head):
    """Return the losses and the norms before clipping of 20 steps of truncated BPTT."""
    losses, norms, state = [], [], None
    optimizer = fastrnn.optim.RMSprop([layer.params, head.params], lr=1e-2)
    for text in batches():
        (output, state), pull_layer = layer.vjp(text[:-1], state)
        logits, pull_head = head.vjp(output)
        loss, d_logits = fastrnn.losses.softmax_cross_entropy(logits, text[1:])
        above = pull_head(d_logits)
        grads = [pull_layer(above.input).params, above.params]
        norms.append(fastrnn.optim.clip_grad_norm(grads, 0.25))
        optimizer.step(grads)
        losses.append(loss)
    return np.array(losses), np.array(norms)


def train_in_torch(torch, layer, head):
    losses, norms, state = [], [], None
    params = [*layer.parameters(), *head.parameters()]
    optimizer = torch.optim.RMSprop(params, lr=1e-2)
    for text in batches():
        x = torch.nn.functional.one_hot(torch.tensor(text[:-1]), VOCABULARY).double()
        output, state = layer(x, state)
        state = tuple(s.detach() for s in state) if isinstance(state, tuple) else state.detach()
        logits = head(output)
        loss = torch.nn.functional.cross_entropy(
            logits.reshape(-1, VOCABULARY), torch.tensor(text[1:].reshape(-1))
        )
        optimizer.zero_grad()
        loss.backward()
        norms.append(float(torch.nn.utils.clip_grad_norm_(params, 0.25)))
        optimizer.step()
        losses.append(loss.item())
    return np.array(losses), np.array(norms)


@pytest.mark.parametrize("depth", [1, 2], ids=["one", "two"])
@pytest.mark.parametrize("cell", CELLS, ids=[cell.name for cell in CELLS])
def test_the_losses_are_torchs(cell, depth):
    torch, torch_kind, own = torch_class(cell)
    kind, _ = layer_class(cell)
    layer = kind(VOCABULARY, HIDDEN, depth, **own, dtype=np.float64, seed=0)
    head = fastrnn.Linear(HIDDEN, VOCABULARY, dtype=np.float64, seed=1)
    theirs = torch_kind(VOCABULARY, HIDDEN, depth, **own).double()
    their_head = torch.nn.Linear(HIDDEN, VOCABULARY).double()
    for ours, module in ((layer, theirs), (head, their_head)):
        module.load_state_dict({n: torch.tensor(p) for n, p in ours.state_dict().items()})
    losses, norms = train(layer, head)
    expected, expected_norms = train_in_torch(torch, theirs, their_head)
    assert_close(losses, expected, atol=1e-10, name="losses")
    assert_close(norms, expected_norms, atol=1e-10, name="norms")
    assert norms.max() > 0.25 > norms.min() / 4  # the clip was at work
    assert losses[-3:].mean() < losses[:3].mean() - 0.02  # and so was learning
    for name, weight in theirs.named_parameters():
        assert_close(layer.params[name], weight.detach().numpy(), atol=1e-9, name=name)


@pytest.mark.parametrize("one_hot", [False, True], ids=["vectors", "indices"])
def test_textbook_hello(one_hot):
    """From h, e, l, l predict e, l, l, o; only a memory can tell the first l from the second."""
    vocabulary = "helo"
    x = np.array([[vocabulary.index(c)] for c in "hell"])  # (T, B) = (4, 1)
    targets = np.array([[vocabulary.index(c)] for c in "ello"])
    if not one_hot:
        x = np.eye(4, dtype=np.float32)[x]
    rnn, head = fastrnn.RNN(4, 3, seed=0), fastrnn.Linear(3, 4, seed=0)
    optimizer = fastrnn.optim.SGD([rnn.params, head.params], lr=0.1)
    for _ in range(500):
        (output, _), pull_rnn = rnn.vjp(x)
        logits, pull_head = head.vjp(output)
        loss, d_logits = fastrnn.losses.softmax_cross_entropy(logits, targets, reduction="sum")
        above = pull_head(d_logits)
        optimizer.step([pull_rnn(above.input).params, above.params])
    assert loss < 0.5
    logits = head(rnn(x)[0])
    assert "".join(vocabulary[k] for k in logits.argmax(axis=-1)[:, 0]) == "ello"
    stream, read = rnn.stream(), ""
    for c in "hell":  # as it would be used: one character at a time
        read += vocabulary[head(stream(np.array([vocabulary.index(c)]))).argmax()]
    assert read == "ello"


def test_an_lstm_remembers_over_fifty_steps():
    """Which of two signs came first, 50 steps ago: what a vanished gradient cannot teach."""
    rng = np.random.default_rng(0)
    layer = fastrnn.LSTM(2, 8, seed=0)
    layer.params["bias_ih_l0"][8:16] = 5  # remember at first
    head = fastrnn.Linear(8, 2, seed=0)
    optimizer = fastrnn.optim.Adam([layer.params, head.params], lr=1e-2)
    assert layer.cell is lstm.CELL
    for _ in range(150):
        x = rng.normal(0, 0.1, (50, 16, 2)).astype(np.float32)
        targets = rng.integers(0, 2, 16)
        x[0, :, 0] += 2.0 * targets - 1
        x[0, :, 1] += 1  # here it comes
        (_, (h_n, _)), pull_layer = layer.vjp(x)
        logits, pull_head = head.vjp(h_n[0])
        loss, d_logits = fastrnn.losses.softmax_cross_entropy(logits, targets)
        above = pull_head(d_logits)
        grads = [pull_layer(None, (above.input[None], None)).params, above.params]
        fastrnn.optim.clip_grad_norm(grads, 1.0)
        optimizer.step(grads)
    assert loss < 0.1
    assert (logits.argmax(axis=-1) == targets).all()
