"""fastrnn/demos/adding.py in its short form: which networks solve it."""

import numpy as np

from fastrnn.demos import adding
from tests.support.demonstrated import short_form


def test_the_task():
    x, y = adding.sequences(500, 30, np.random.default_rng(0))
    assert x.shape == (500, 30, 2)
    assert np.array_equal(x[..., 1].sum(axis=1), np.full(500, 2))
    for one, answer in zip(x, y, strict=True):
        assert np.isclose(one[one[:, 1] == 1, 0].sum(), answer)
    assert np.isclose(np.mean((y - 1) ** 2), adding.VARIANCE, rtol=0.1)
    marks = x[..., 1].mean(axis=0)  # anywhere
    assert marks.min() > 0.02


def test_the_short_form():
    told = []
    [measure] = short_form(adding, told, width=90).measures
    errors = measure.values
    assert errors["LSTM"] < 0.02
    assert errors["GRU"] < 0.02
    assert errors["tanh"] > 0.1
    assert list(errors) == [*adding.NETWORKS, "always 1"]
    assert {network for network, *_ in told} == {*adding.NETWORKS}
