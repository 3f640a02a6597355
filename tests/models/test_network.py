"""The gradient of every shape, as a function of all its parameters, by fastrnn.gradcheck."""

import numpy as np
import pytest

import fastrnn
from fastrnn.models import RNNClassifier, RNNGenerator, RNNRegressor, RNNTagger, Seq2Seq
from tests.support.fitted import fit

VALUES = np.random.default_rng(0)
LENGTHS = [4, 1, 6, 3]
VECTORS = [VALUES.standard_normal((t, 2)) for t in LENGTHS]
WORDS = ["abca", "b", "acbbac", "cba"]
SHAPES = {
    "classifier": (RNNClassifier, {}, (VECTORS, [0, 1, 2, 1])),
    "classifier, both": (RNNClassifier, {"bidirectional": True}, (WORDS, [0, 1, 2, 1])),
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
