"""Updates: clipped, refused where they diverge, and what the optimiser is given.

That the numbers are right is test_torch.py's, going on bit for bit test_checkpoint.py's.
"""

import numpy as np
import pytest

from fastrnn import optim
from fastrnn.models import RNNClassifier, RNNRegressor, training
from fastrnn.models.network import Loss
from fastrnn.models.options import OPTIMIZERS
from tests.support.small_fits import made, weights


class TestUpdates:
    def test_diverging(self):
        x = [np.full((5, 1), 1e30)] * 4
        model = RNNRegressor(4, cell="relu", lr=1.0, clip_norm=None)
        with pytest.raises(FloatingPointError, match=r"diverged at epoch 0: .*lower lr or clip_n"):
            model.fit(x, np.full(4, 1e30))
        assert np.isfinite(np.concatenate([w.ravel() for w in weights(model)])).all()

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
