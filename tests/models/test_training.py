"""Updates: clipped, refused where they diverge, and what the optimiser is given.

That the numbers are right is test_torch.py's, going on bit for bit test_checkpoint.py's.
"""

import itertools

import numpy as np
import pytest

from fastrnn import optim
from fastrnn.models import RNNClassifier, RNNRegressor, training
from fastrnn.models.network import Loss
from fastrnn.models.options import OPTIMIZERS
from tests.support.small_fits import every, made, same, weights


class TestUpdates:
    def test_diverging(self):
        x = [np.full((5, 1), 1e30)] * 4
        model = RNNRegressor(4, cell="relu", lr=1.0, clip_norm=None)
        with pytest.raises(FloatingPointError, match=r"diverged at epoch 0: .*lower lr or clip_n"):
            model.fit(x, np.full(4, 1e30))
        assert not [name for name in vars(model) if name.endswith("_")]

    def test_clipped_by_value_and_then_by_norm(self):
        grads = [{"w": np.array([3.0, -4.0])}]
        loss = Loss(1.0, 1, lambda: [{"w": grads[0]["w"].copy()}])
        for norm, value, expected in [
            (None, None, [3, -4]),
            (None, 3.5, [3, -3.5]),
            (1.0, None, [0.6, -0.8]),
            (1.0, 3.0, [0.5**0.5, -(0.5**0.5)]),
        ]:
            found, before = training.clipped(loss, norm, value, at="", lower="")
            assert before == 5
            assert np.allclose(found[0]["w"], expected, atol=1e-5)

    def test_optimizer_options_reach_the_optimizer(self, monkeypatch):
        seen = {}

        class Watched(optim.SGD):
            def __init__(self, params, lr, **options):
                seen.update(options)
                super().__init__(params, lr, **options)

        monkeypatch.setitem(OPTIMIZERS, "sgd", Watched)
        monkeypatch.setattr(RNNClassifier, "_check_optimizer", lambda self: None)
        options = {"momentum": 0.5, "nesterov": True}
        model, data = made("classifier", epochs=1, optimizer="sgd", optimizer_options=options)
        model.fit(*data)
        assert seen == options


@every
def test_an_update_that_failed_is_made_again(name, monkeypatch):
    """The same one, dropout and the place in a batch included."""
    options = {"epochs": 2, "num_layers": 2, "dropout": 0.4}
    if name in ("tagger", "generator", "vectors", "seq2seq"):
        options |= {"truncate": 2, "bidirectional": False}
    plain, data = made(name, **options)
    plain.fit(*data)
    advance, clipped, calls = training.Trainer.advance, training.clipped, itertools.count()

    def failing(*args, **options):
        if next(calls) % 2 == 0:
            raise MemoryError
        return clipped(*args, **options)

    def repeated(trainer):
        with pytest.raises(MemoryError):
            advance(trainer)
        return advance(trainer)

    monkeypatch.setattr(training, "clipped", failing)
    monkeypatch.setattr(training.Trainer, "advance", repeated)
    again, _ = made(name, **options)
    again.fit(*data)
    assert same(weights(again), weights(plain))
    assert again.history_["loss"] == plain.history_["loss"]
