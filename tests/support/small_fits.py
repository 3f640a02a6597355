"""Models of every shape, small enough to be fitted in a test, and their data."""

import numpy as np
import pytest

from fastrnn.models import RNNClassifier, RNNGenerator, RNNRegressor, RNNTagger, Seq2Seq

RANDOM = np.random.default_rng(0)
X = ["".join(RANDOM.choice(list("ab"), t)) for t in RANDOM.integers(1, 8, 24)]
Y = [word.count("a") % 2 for word in X]
EVERY = {
    "classifier": (RNNClassifier, (X, Y)),
    "regressor": (RNNRegressor, (X, Y)),
    "tagger": (RNNTagger, (X, X)),
    "generator": (RNNGenerator, (X,)),
    "text": (RNNGenerator, ("\n".join(X * 9),)),
    "vectors": (RNNGenerator, (RANDOM.random((24, 3)), X)),
    "seq2seq": (Seq2Seq, (X, [word[::-1] for word in X])),
}
every = pytest.mark.parametrize("name", EVERY)
SMALL = {"batch_size": 4, "lr": 1e-2}
TEXT = {"truncate": 5}


def made(name, **options):
    kind, data = EVERY[name]
    return kind(6, **SMALL | (TEXT if name == "text" else {}) | options), data


def weights(model):
    return [p.copy() for part in model.parts.values() for p in part.params.values()]


def same(one, other):
    return all((a == b).all() for a, b in zip(one, other, strict=True))
