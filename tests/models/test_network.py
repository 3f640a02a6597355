"""The gradient of every shape, as a function of all its parameters, by fastrnn.gradcheck."""

import numpy as np
import pytest

import fastrnn
from fastrnn.models import RNNClassifier, RNNGenerator, RNNRegressor, RNNTagger, Seq2Seq, network
from tests.support.fitted import fit

VALUES = np.random.default_rng(0)
LENGTHS = [4, 1, 6, 3]
VECTORS = [VALUES.standard_normal((t, 2)) for t in LENGTHS]
WORDS = ["abca", "b", "acbbac", "cba"]
SHAPES = {
    "classifier": (RNNClassifier, {}, (VECTORS, [0, 1, 2, 1])),
    "classifier, both": (RNNClassifier, {"bidirectional": True}, (WORDS, [0, 1, 2, 1])),
    "classifier, weights": (RNNClassifier, {"class_weight": "balanced"}, (WORDS, [0, 1, 2, 1])),
    "tagger, weights": (RNNTagger, {"class_weight": {"a": 3}}, (VECTORS, WORDS)),
    "regressor": (RNNRegressor, {}, (WORDS, VALUES.standard_normal((4, 2)))),
    "tagger": (RNNTagger, {}, (VECTORS, WORDS)),
    "generator": (RNNGenerator, {}, (WORDS,)),
    "text": (RNNGenerator, {"batch_size": 2, "truncate": None}, ("abcabbcabaccab",)),
    "vectors": (RNNGenerator, {}, (VALUES.standard_normal((4, 2)), WORDS)),
    "seq2seq": (Seq2Seq, {}, (VECTORS, WORDS[::-1])),
    "seq2seq, both": (Seq2Seq, {"bidirectional": True}, (WORDS, WORDS[::-1])),
}


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("shape", SHAPES)
def test_gradients(shape, cell):
    kind, options, data = SHAPES[shape]
    model = kind(4, cell=cell, num_layers=2, epochs=1, dtype="float64", **options)
    seen = fit(model, *data)
    rows = np.arange(len(seen.lengths))
    live = [part.params[name] for part in seen.parts for name in part.params]

    def loss(*params):
        for into, param in zip(live, params, strict=True):
            into[...] = param
        [found] = seen.losses(rows, True)
        grads = [grad for part in found.gradients() for grad in part.values()]
        return np.float64(found.value), lambda d: tuple(d * grad for grad in grads)

    inputs = tuple(param.copy() for param in live)
    report = fastrnn.gradcheck(loss, inputs, mode="project", n_projections=3)
    assert report.ok


@pytest.mark.parametrize("kind", [fastrnn.RNN, fastrnn.LSTM, fastrnn.GRU])
def test_reader(kind):
    rnn = kind(3, 4, 2, bidirectional=True, dtype=np.float64, seed=0)
    known, unknown = np.array([[0, 2], [1, 1]]), np.array([[0, 3], [3, 1]])
    assert network.reader(rnn, known.reshape(-1)) is rnn
    assert network.reader(rnn, np.full((2, 3), 7.0)) is rnn
    reader = network.reader(rnn, unknown.reshape(-1))
    vectors = np.eye(4)[unknown][..., :3]
    for got, expected in zip(reader(unknown), rnn(vectors), strict=True):
        for one, other in zip(np.atleast_1d(got), np.atleast_1d(expected), strict=True):
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-14)
    assert np.array_equal(reader(known)[0], rnn(known)[0])
    with pytest.raises(IndexError):
        rnn(unknown)
