"""Small layers of every cell, and sequences for them, as targets of the gradient checker."""

import numpy as np

from tests.support.configurations import layer_class

RNG = np.random.default_rng(0)
T, B, I, H = 4, 3, 2, 3  # noqa: E741
OPTIONS = [{}, {"num_layers": 2, "bidirectional": True}, {"batch_first": True}, {"bias": False}]


def made(cell, dtype=np.float64, **options):
    kind, own = layer_class(cell)
    return kind(I, H, **own, **options, dtype=dtype, seed=1)


def sequence(layer, dtype=np.float64):
    shape = (B, T, I) if layer.batch_first else (T, B, I)
    return RNG.standard_normal(shape).astype(dtype)
