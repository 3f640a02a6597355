"""One text as streams to learn from, and its mean loss, against reading all of it in one go."""

import numpy as np
import pytest

import fastrnn
from fastrnn.models import text


@pytest.fixture(scope="module")
def network():
    return fastrnn.LSTM(6, 5, seed=0), fastrnn.Linear(5, 6, seed=1)


@pytest.mark.parametrize("length", [2, 3, 32, 33, 34, 500])
def test_every_symbol_given_all_before_it(length, network):
    rnn, head = network
    indices = np.random.default_rng(1).integers(0, 6, length)
    logits = head(rnn(indices[:-1, None])[0])[:, 0].astype(np.float64)
    chosen = logits[np.arange(length - 1), indices[1:]]
    expected = (np.log(np.exp(logits).sum(1)) - chosen).mean()
    assert np.isclose(text.mean_loss(rnn, head, indices), expected, rtol=0, atol=1e-5)


def test_a_long_text_counts_every_symbol_once(network):
    rnn, head = fastrnn.LSTM(6, 5, seed=0), fastrnn.Linear(5, 6)
    for param in head.params.values():
        param[...] = 0
    indices = np.random.default_rng(1).integers(0, 6, 20_001)
    assert np.isclose(text.mean_loss(rnn, head, indices), np.log(6), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("length", "rows", "steps", "whole"), [(25, 3, 4, 8), (25, 3, None, 8), (13, 3, 4, 4)]
)
def test_streams(length, rows, steps, whole):
    found = text.streams(np.arange(length), rows, steps)
    assert found.lengths.tolist() == [whole] * rows
    assert (np.diff(found.starts) == (length - 1) // rows).all()
    assert (found.starts + whole < length).all()  # the last target is there


@pytest.mark.parametrize(("rows", "steps", "needed"), [(3, 4, 13), (1, 1, 2), (5, None, 6)])
def test_the_shortest_text(rows, steps, needed):
    text.streams(np.arange(needed), rows, steps)
    message = f"the text has {needed - 1} symbols to learn from; .* need {needed}: give more"
    with pytest.raises(ValueError, match=message):
        text.streams(np.arange(needed - 1), rows, steps)


def test_split():
    indices = np.arange(25)
    learnt, held_out = text.split("Model", indices, 0.1)
    assert (learnt.tolist(), held_out.tolist()) == ([*range(22)], [22, 23, 24])
    learnt, held_out = text.split("Model", indices, 0.0)
    assert (len(learnt), len(held_out)) == (25, 0)
    with pytest.raises(ValueError, match=r"Model: validation_fraction = 0.01 of X is 1 symbol; ex"):
        text.split("Model", indices, 0.01)


def test_first_symbol():
    assert text.first_symbol("\nab") == 0
    assert text.first_symbol(" \nab") == 1
    assert text.first_symbol("ab") == 0
    assert text.first_symbol(np.array([3, 5])) == 0


@pytest.mark.parametrize(
    ("x", "expected"),
    [
        ("abc", True),
        (np.array([3, 5]), True),
        (["abc"], False),
        ([3, 5], False),
        (np.array([[3, 5]]), False),
        (np.array([0.5]), False),
        (np.array(["ab", "c"]), False),
    ],
    ids=repr,
)
def test_is_text(x, expected):
    assert text.is_text(x) == expected


def test_unknown_symbols_are_read_as_zeros_and_do_not_count(network):
    rnn, head = network
    indices = np.random.default_rng(1).integers(0, 7, 60)  # 6 is none of the network's
    assert (indices[1:] == 6).any()
    logits = head(rnn(np.eye(7, dtype=np.float32)[indices[:-1], None, :6])[0])[:, 0]
    counts = indices[1:] < 6
    logits, right = logits[counts].astype(np.float64), indices[1:][counts]
    expected = (np.log(np.exp(logits).sum(1)) - logits[np.arange(len(right)), right]).mean()
    assert np.isclose(text.mean_loss(rnn, head, indices), expected, rtol=0, atol=1e-5)
