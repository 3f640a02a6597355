"""Probabilities, prompts, and draws that follow the probabilities."""

import numpy as np
import pytest

import fastrnn
from fastrnn.models import sampling

LOGITS = np.array([[1.0, 2.0, -1e4], [1e4, 0.0, 3.0]])


def test_softmax():
    odds = sampling.softmax(LOGITS)
    assert np.allclose(odds.sum(axis=-1), 1)
    assert np.isclose(odds[0, 1] / odds[0, 0], np.e)
    assert odds[1].tolist() == [1, 0, 0]
    assert sampling.softmax(LOGITS.astype(np.float32)).dtype == np.float32


def test_log_softmax():
    found = sampling.log_softmax(LOGITS.astype(np.float32))
    assert found.dtype == np.float64
    assert np.isclose(found[0, 1] - found[0, 0], 1)
    assert found[0, 2] < -9000
    assert np.allclose(np.exp(found), sampling.softmax(LOGITS))


def test_prompted():
    assert sampling.prompted("cab", "abc") == [2, 0, 1]
    assert sampling.prompted([7, 5], np.array([5, 7])) == [1, 0]
    assert sampling.prompted("", "abc") == sampling.prompted([], np.array([5])) == []
    with pytest.raises(ValueError, match="has characters that the model has never seen: 'x'"):
        sampling.prompted("axx", "abc")
    with pytest.raises(ValueError, match="expected a str"):
        sampling.prompted(["a"], "abc")
    assert sampling.prompted("axb", "abc", unknown=300) == [0, 300, 1]
    with pytest.raises(ValueError, match=r"the prompt\[1\] is None"):
        sampling.prompted([5, None], np.array([5, 7]))


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_draws_follow_the_probabilities(temperature):
    """Of a network that says the same after every symbol."""
    rnn, head = fastrnn.GRU(3, 2, seed=0), fastrnn.Linear(2, 3)
    odds = np.array([0.6, 0.3, 0.1])
    head.params["weight"][...] = 0
    head.params["bias"][...] = np.log(odds)
    options = {"length": 20_000, "temperature": temperature, "seed": 0}
    drawn = list(sampling.continued(rnn, head, [0], **options))
    expected = odds ** (1 / temperature) / (odds ** (1 / temperature)).sum()
    assert np.allclose(np.bincount(drawn) / 20_000, expected, atol=0.01)


def test_a_state_to_start_in():
    """Going on from the state that a prompt leads to is going on from the prompt."""
    rnn, head = fastrnn.LSTM(3, 8, 2, seed=0), fastrnn.Linear(8, 3, seed=0)
    for param in head.params.values():
        np.multiply(param, 20, out=param)
    options = {"length": 30, "temperature": 1.0, "seed": 1}
    _, state = rnn(np.array([[0], [1]]))
    from_state = list(sampling.continued(rnn, head, [2], state=state, **options))
    assert from_state == list(sampling.continued(rnn, head, [0, 1, 2], **options))
    assert len(set(from_state)) > 1
