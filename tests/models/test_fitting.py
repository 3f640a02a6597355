"""Fits as a whole: what they record, when they stop, which parameters they leave.

That the numbers are right is test_torch.py's.
"""

import math

import numpy as np
import pytest

from fastrnn import optim
from fastrnn.models import NotFittedError, RNNRegressor, batches, training
from tests.support.fitted import fit
from tests.support.small_fits import every, made, same, weights


def interrupted(model, data, monkeypatch, at, what=KeyboardInterrupt):
    """Fit, with an exception in epoch `at`, after an update; return the parameters of each."""
    advance, found, updates = training.Trainer.advance, [], []

    def counted(trainer):
        if len(found) < trainer.epoch:
            found.append(weights(model))
        if trainer.epoch == at and updates[-1:] == [at]:
            raise what("stop")
        updates.append(trainer.epoch)
        return advance(trainer)

    monkeypatch.setattr(training.Trainer, "advance", counted)
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
        assert warned[0].filename == __file__
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
        model.predict(data[0])  # after an update

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
        _, held_out = batches.split(24, 0.5, random)
        kept = training.evaluate(seen.losses, seen.lengths, held_out)
        assert math.isclose(kept, min(model.history_["validation_loss"]), rel_tol=1e-5)


def left(model):
    """Return what a fit has set."""
    return [name for name in vars(model) if name.endswith("_")]


class TestFailing:
    """What a fit leaves: after an epoch the best one, before that nothing at all."""

    @every
    @pytest.mark.parametrize("what", [FloatingPointError, OSError, MemoryError])
    def test_in_the_first_epoch(self, name, what, monkeypatch):
        model, data = made(name, epochs=5)
        with pytest.raises(what, match="stop"):
            interrupted(model, data, monkeypatch, 0, what)
        assert not left(model)
        with pytest.raises(NotFittedError):
            model.predict(data[0])
        monkeypatch.undo()
        again, _ = made(name, epochs=5)
        assert same(weights(model.fit(*data)), weights(again.fit(*data)))

    @every
    @pytest.mark.parametrize("what", [FloatingPointError, OSError])
    def test_later(self, name, what, monkeypatch):
        model, data = made(name, epochs=5, lr=0.3)
        with pytest.raises(what, match="stop"):
            interrupted(model, data, monkeypatch, 3, what)
        losses = model.history_["loss"]
        assert len(losses) == 3
        monkeypatch.undo()
        until, _ = made(name, epochs=1 + int(np.argmin(losses)), lr=0.3)
        assert same(weights(model), weights(until.fit(*data)))

    @every
    def test_of_a_model_that_was_fitted(self, name, monkeypatch):
        """It is as after a fit that failed: nothing of the fit before is left, nor half of it."""
        model, data = made(name)
        for breaking in ({"lr": -1.0}, {"hidden_size": 0}, {"cell": "none"}):
            model.set_params(epochs=1, hidden_size=6, cell="gru", lr=0.01).fit(*data)
            with pytest.raises(ValueError, match=next(iter(breaking))):
                model.set_params(**breaking).fit(*data)
            assert not left(model)
        model.set_params(cell="gru").fit(*data)
        with pytest.raises(ValueError, match=r"X\[0\] is None|X is None"):
            model.fit(None, *data[1:]) if len(data) == 1 else model.fit([None] * 24, data[1])
        assert not left(model)

    def test_a_callback_that_raises(self):
        def verbose(done, of):
            if done == 2:
                raise RuntimeError("stop")

        model, data = made("classifier", epochs=9, verbose=verbose)
        with pytest.raises(RuntimeError, match="stop"):
            model.fit(*data)
        assert len(model.history_["loss"]) == 2
        model.predict(data[0])

    def test_parameters_that_are_not_finite(self, monkeypatch):
        """After the last update no loss tells of them."""
        monkeypatch.setattr(optim.Adam, "step", lambda self, grads: _spoil(model))
        model, data = made("classifier", epochs=1, batch_size=100)
        with pytest.raises(
            FloatingPointError, match=r"diverged at epoch 0: rnn\.weight_ih_l0 is no"
        ):
            model.fit(*data)
        assert not left(model)

    @pytest.mark.parametrize(("cell", "lr"), [("relu", 1e6), ("relu", 1e15), ("lstm", 1e20)])
    def test_an_epoch_whose_last_update_spoils_all(self, cell, lr):
        """Its loss, which is that before the update, is fine."""
        model = RNNRegressor(4, cell=cell, lr=lr, epochs=9, batch_size=100)
        x = np.random.default_rng(0).random((8, 5, 2))
        with pytest.raises(FloatingPointError, match="training diverged at epoch 1"):
            model.fit(x, x[:, 0, 0])
        assert not left(model)

    def test_a_validation_loss_that_is_not_finite(self, monkeypatch):
        found = iter([0.5, math.nan])
        monkeypatch.setattr(training, "evaluate", lambda *args: next(found))
        model, data = made("classifier", epochs=9, validation_fraction=0.25)
        with pytest.raises(FloatingPointError, match="at epoch 1: the validation loss is nan"):
            model.fit(*data)
        assert model.history_["validation_loss"] == [0.5]


def _spoil(model):
    model.rnn_.params["weight_ih_l0"][0, 0] = np.inf
