"""The training loop: what it records, when it stops, which parameters it leaves.

That its numbers are right is test_models_torch.py's.
"""

import contextlib
import io
import math

import numpy as np
import pytest

from fastrnn import optim
from fastrnn.models import RNNClassifier, RNNGenerator, RNNRegressor, RNNTagger, Seq2Seq, training
from fastrnn.models.options import OPTIMIZERS
from tests.support.fitted import fit

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
    return [p.copy() for part in model._parts.values() for p in part.params.values()]


def same(one, other):
    return all((a == b).all() for a, b in zip(one, other, strict=True))


def interrupted(model, data, monkeypatch, at, what=KeyboardInterrupt):
    """Fit, with an exception in epoch `at`, after an update; return the parameters of each."""
    step, found, updates = training._update, [], []

    def counted(options, optimizer, loss, epoch):
        if len(found) < epoch:
            found.append(weights(model))
        if epoch == at and updates[-1:] == [at]:
            raise what("stop")
        updates.append(epoch)
        return step(options, optimizer, loss, epoch)

    monkeypatch.setattr(training, "_update", counted)
    model.fit(*data)
    return found


class TestHistory:
    @every
    @pytest.mark.parametrize("fraction", [0.0, 0.25])
    def test_one_entry_an_epoch(self, name, fraction):
        model, data = made(name, epochs=3, lr_decay=0.5, validation_fraction=fraction)
        history = model.fit(*data).history_
        expected = {"loss", "lr", "gradient_norm", "seconds"}
        assert history.keys() == expected | ({"validation_loss"} if fraction else set())
        assert {len(entries) for entries in history.values()} == {3}
        assert history["lr"] == [1e-2, 5e-3, 2.5e-3]
        assert all(type(x) is float and x > 0 for entries in history.values() for x in entries)
        again = made(name, epochs=1)
        assert len(again[0].fit(*again[1]).fit(*again[1]).history_["loss"]) == 1

    @every
    def test_it_learns(self, name):
        model, data = made(name, epochs=15)
        losses = model.fit(*data).history_["loss"]
        assert losses[-1] < 0.97 * losses[0]

    @every
    def test_a_seed_is_a_run(self, name):
        runs = []
        for seed in (1, 1, 2):
            model, data = made(name, epochs=2, seed=seed, num_layers=2, dropout=0.3)
            runs.append((model.fit(*data).history_["loss"], weights(model)))
        assert runs[0][0] == runs[1][0] != runs[2][0]
        assert same(runs[0][1], runs[1][1])
        assert not same(runs[0][1], runs[2][1])

    def test_no_seed_is_another_run_each_time(self):
        runs = []
        for _ in range(2):
            model, data = made("classifier", epochs=1, seed=None)
            runs.append(weights(model.fit(*data)))
        assert not same(*runs)

    @every
    def test_dropout_is_for_training_only(self, name):
        model, data = made(name, epochs=1, num_layers=2, dropout=0.5, lr=1e-30)
        seen = fit(model, *data)
        rows = np.arange(len(seen.lengths))
        means = {training.evaluate(seen.losses, seen.lengths, rows) for _ in range(2)}
        assert len(means) == 1
        drawn = {next(seen.losses(rows, True)).value for _ in range(2)}
        assert len(drawn) == 2


class TestStopping:
    @every
    def test_ctrl_c_puts_the_best_epoch_back(self, name, monkeypatch):
        model, data = made(name, epochs=50)
        with pytest.warns(UserWarning, match=r"Training interrupted by user\.") as warned:
            epochs = interrupted(model, data, monkeypatch, 4)
        assert name == "text" or warned[0].filename == __file__
        losses = model.history_["loss"]
        assert len(losses) == len(epochs) == 4
        assert same(weights(model), epochs[int(np.argmin(losses))])

    def test_ctrl_c_with_validation(self, monkeypatch):
        model, data = made("classifier", epochs=50, validation_fraction=0.25, lr=1.0)
        with pytest.warns(UserWarning, match="interrupted"):
            epochs = interrupted(model, data, monkeypatch, 9)
        best = int(np.argmin(model.history_["validation_loss"]))
        assert best < len(epochs) - 1  # else this would show nothing
        assert same(weights(model), epochs[best])

    def test_ctrl_c_in_the_first_epoch(self, monkeypatch):
        model, data = made("classifier")
        with pytest.warns(UserWarning, match="interrupted"):
            assert interrupted(model, data, monkeypatch, 0) == []
        assert set(model.history_) == set()
        model.predict(X)  # after an update

    def test_divergence_keeps_the_best_epoch(self, monkeypatch):
        model, data = made("classifier", epochs=50)
        with pytest.raises(FloatingPointError, match="stop"):
            interrupted(model, data, monkeypatch, 3, FloatingPointError)
        losses = model.history_["loss"]
        assert len(losses) == 3
        before = weights(model)
        assert np.isfinite(np.concatenate([w.ravel() for w in before])).all()
        again, _ = made("classifier", epochs=1 + int(np.argmin(losses)))
        monkeypatch.undo()
        assert same(weights(again.fit(*data)), before)

    def test_early_stopping(self):
        options = {"validation_fraction": 0.25, "lr": 0.1}
        whole, data = made("classifier", epochs=40, **options)
        losses = whole.fit(*data).history_["validation_loss"]
        stopped, _ = made("classifier", epochs=40, patience=3, **options)
        found = stopped.fit(*data).history_["validation_loss"]
        assert found == losses[: len(found)]
        assert len(found) < 40
        best = int(np.argmin(found))
        assert len(found) == best + 1 + 3
        until, _ = made("classifier", epochs=best + 1, **options)
        assert same(weights(until.fit(*data)), weights(stopped))

    def test_the_validation_loss_is_that_of_the_parameters_kept(self):
        model, data = made("tagger", epochs=8, validation_fraction=0.5, lr=0.2)
        seen = fit(model, *data)
        random = np.random.default_rng(np.random.SeedSequence(0, spawn_key=(1,)))
        _, held_out = training.batches.split(24, 0.5, random)
        kept = training.evaluate(seen.losses, seen.lengths, held_out)
        assert math.isclose(kept, min(model.history_["validation_loss"]), rel_tol=1e-5)


class TestUpdates:
    def test_diverging(self):
        x = [np.full((5, 1), 1e30)] * 4
        model = RNNRegressor(4, cell="relu", lr=1.0, clip_norm=None)
        with pytest.raises(FloatingPointError, match=r"diverged at epoch 0: .*lower lr or clip_n"):
            model.fit(x, np.full(4, 1e30))
        assert np.isfinite(np.concatenate([w.ravel() for w in weights(model)])).all()

    def test_clipped_by_value_and_then_by_norm(self):
        grads = [{"w": np.array([3.0, -4.0])}]
        loss = training.Loss(1.0, 1, lambda: [{"w": grads[0]["w"].copy()}])
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


@pytest.mark.parametrize("fraction", [0.0, 0.25])
def test_verbose_shows_a_bar(fraction):
    pytest.importorskip("rich")
    model, data = made("classifier", epochs=2, verbose=True, validation_fraction=fraction)
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        model.fit(*data)
    assert "epoch 2 of 2" in out.getvalue()
    assert f"loss {model.history_['loss'][-1]:.4g}" in out.getvalue()
    assert ("validation" in out.getvalue()) == bool(fraction)


def test_verbose_without_rich(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "rich", None)
    model, data = made("classifier", verbose=True)
    with pytest.raises(ModuleNotFoundError, match=r'verbose=True needs rich: pip install "fastrnn'):
        model.fit(*data)
