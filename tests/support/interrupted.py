"""Fits that are interrupted, and whether two fits are the same to the bit."""

import numpy as np
import pytest

from fastrnn.models import RNNGenerator, training
from tests.support.small_fits import EVERY, made, weights

ALL = {
    "num_layers": 2,
    "dropout": 0.3,
    "validation_fraction": 0.25,
    "patience": 2,
    "lr": 0.05,
    "lr_decay": 0.9,
}
OPTIONS = {
    "plain": {"epochs": 3},
    "dropout, early stopping": {**ALL, "epochs": 30},
    "pieces": {"truncate": 2, "bidirectional": False, "num_layers": 2, "dropout": 0.3, "epochs": 2},
    "gru": {"cell": "gru", "optimizer": "rmsprop", "dtype": "float64", "epochs": 2},
}
CASES = [(name, case) for name in EVERY for case in OPTIONS]
every_case = pytest.mark.parametrize(("name", "case"), CASES, ids=": ".join)


def fitted(name, case, **options):
    model, data = made(name, **{**OPTIONS[case], **options})
    return model.fit(*data)


def interrupted(name, case, **options):
    with pytest.warns(UserWarning, match=r"interrupted by user\. To go on, fit again: .*m is kept"):
        return fitted(name, case, **options)


def assert_same_fit(got, expected, name):
    for one, other in zip(weights(got), weights(expected), strict=True):
        assert one.dtype == other.dtype
        assert one.tobytes() == other.tobytes()
    one, other = got.history_, expected.history_
    assert one.keys() == other.keys()
    assert {k: v for k, v in one.items() if k != "seconds"} == {
        k: v for k, v in other.items() if k != "seconds"
    }
    assert len(one.get("seconds", ())) == len(other.get("seconds", ()))
    assert said(got, name) == said(expected, name)


def said(model, name):
    x = EVERY[name][1][0]
    if isinstance(model, RNNGenerator) and name != "vectors":
        return model.generate(seed=1, length=20)
    answers = getattr(model, "predict_proba", model.predict)(x)
    return [np.asarray(answer).tobytes() for answer in answers]


class Stop:
    """Ctrl-C at some updates, counted over all fits: after the loss, before the parameters."""

    def __init__(self, monkeypatch, at):
        self.done, self.at, clipped = 0, at, training.clipped

        def counted(*args, **options):
            self.done += 1
            if self.done in self.at:
                raise KeyboardInterrupt
            return clipped(*args, **options)

        monkeypatch.setattr(training, "clipped", counted)


def counted_fit(name, case, monkeypatch):
    """Return the fit as it is without interruption, and how many updates it takes."""
    with monkeypatch.context() as patch:
        count = Stop(patch, ())
        model = fitted(name, case)
    return model, count.done
