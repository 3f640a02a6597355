"""A fit that was interrupted or killed, and goes on from its checkpoint: the same to the bit."""

import json
import signal
import subprocess
import sys

import numpy as np
import pytest

from fastrnn import models, optim
from fastrnn.models import training
from tests.support.commands import ENVIRONMENT, SECONDS
from tests.support.interrupted import (
    OPTIONS,
    Stop,
    assert_same_fit,
    counted_fit,
    every_case,
    fitted,
    interrupted,
)
from tests.support.model_files import contents
from tests.support.small_fits import made


@every_case
def test_is_the_uninterrupted_fit(name, case, tmp_path, monkeypatch):
    whole, count = counted_fit(name, case, monkeypatch)
    at = {1, 2, count // 3, count // 2, count}
    # Each interrupted update is made again.
    stop = Stop(monkeypatch, {k + n for n, k in enumerate(sorted(at))})
    for _ in at:
        interrupted(name, case, checkpoint=tmp_path / "m")
    assert_same_fit(fitted(name, case, checkpoint=tmp_path / "m"), whole, name)
    assert stop.done == count + len(at)


@every_case
def test_killed_at_any_moment(name, case, tmp_path, monkeypatch):
    """The file as some update left it, without what is done when a process ends in peace."""
    whole, count = counted_fit(name, case, monkeypatch)
    monkeypatch.setattr(training, "SAVE_EVERY", -1.0)
    path, kept = tmp_path / "m", []
    run = training.Trainer.run

    def watched(trainer, done, *, save, **options):
        def save_and_keep():
            save()
            kept.append(path.read_bytes())

        run(trainer, done, save=save_and_keep, **options)

    with monkeypatch.context() as patch:
        patch.setattr(training.Trainer, "run", watched)
        assert_same_fit(fitted(name, case, checkpoint=str(path)), whole, name)
    assert len(kept) > count
    for number in {0, 1, len(kept) // 3, len(kept) // 2, len(kept) - 2, len(kept) - 1}:
        path.write_bytes(kept[number])
        assert_same_fit(fitted(name, case, checkpoint=path), whole, name)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_killed_processes(number, tmp_path):
    code = f"""
import signal
from fastrnn.models import training
from tests.support.small_fits import made
signal.signal(signal.SIGINT, signal.default_int_handler)
training.SAVE_EVERY = 0.01
options = dict(num_layers=2, dropout=0.5, checkpoint={str(tmp_path / "m")!r})
options["verbose"] = lambda *done: print(*done, flush=True)
model, data = made("classifier", epochs=100_000, **options)
model.fit(*data)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )
    while not process.stdout.readline().startswith("100 "):
        assert process.poll() is None, process.stderr.read()
    process.send_signal(number)
    _, err = process.communicate(timeout=SECONDS)
    if number == signal.SIGINT:
        assert process.returncode == 0
        assert "UserWarning: Training interrupted by user." in err
    done = len(models.load(tmp_path / "m").history_["loss"])
    options = {"num_layers": 2, "dropout": 0.5, "epochs": done + 3}
    resumed, data = made("classifier", checkpoint=tmp_path / "m", **options)
    whole, _ = made("classifier", **options)
    assert_same_fit(resumed.fit(*data), whole.fit(*data), "classifier")


def test_ctrl_c_while_parameters_are_written(tmp_path, monkeypatch):
    """It waits until all of them are."""
    whole, calls = fitted("classifier", "plain"), []
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    step = optim.Adam._update

    def watched(*args):
        step(*args)
        calls.append(args)
        if len(calls) == 27:  # of 6 parameters an update
            signal.raise_signal(signal.SIGINT)

    try:
        with monkeypatch.context() as patch:
            patch.setattr(optim.Adam, "_update", watched)
            interrupted("classifier", "plain", checkpoint=tmp_path / "m")
    finally:
        signal.signal(signal.SIGINT, before)
    assert len(calls) == 30
    facts = json.loads(contents(tmp_path / "m")[1]["training"])
    assert facts["step"] == 5
    resumed = fitted("classifier", "plain", checkpoint=tmp_path / "m")
    assert_same_fit(resumed, whole, "classifier")


def test_more_epochs(tmp_path):
    fitted("tagger", "plain", checkpoint=tmp_path / "m")
    longer = fitted("tagger", "plain", checkpoint=tmp_path / "m", epochs=5)
    assert_same_fit(longer, fitted("tagger", "plain", epochs=5), "tagger")


@pytest.mark.parametrize("case", OPTIONS)
def test_a_finished_fit_is_read(case, tmp_path, monkeypatch):
    first = fitted("seq2seq", case, checkpoint=tmp_path / "m")
    stop = Stop(monkeypatch, ())
    again = fitted("seq2seq", case, checkpoint=tmp_path / "m")
    assert stop.done == 0
    assert_same_fit(again, first, "seq2seq")


def test_without_a_seed(tmp_path, monkeypatch):
    """The run goes on that was begun, its split and dropout included."""
    options = {"seed": None, "checkpoint": tmp_path / "m", "epochs": 6}
    with monkeypatch.context() as patch:
        Stop(patch, {8})
        interrupted("classifier", "dropout, early stopping", **options)
    half = (tmp_path / "m").read_bytes()
    one = fitted("classifier", "dropout, early stopping", **options)
    (tmp_path / "m").write_bytes(half)
    other = fitted("classifier", "dropout, early stopping", **options)
    assert_same_fit(one, other, "classifier")
    (tmp_path / "m").unlink()
    new = fitted("classifier", "dropout, early stopping", **options)
    assert new.history_["loss"] != one.history_["loss"]


def test_functions_as_options(tmp_path, monkeypatch):
    called = []
    options = {"init": lambda rnn: None, "verbose": lambda *done: called.append(done)}
    with monkeypatch.context() as patch:
        Stop(patch, {9})
        interrupted("classifier", "plain", checkpoint=tmp_path / "m", **options)
    resumed = fitted("classifier", "plain", checkpoint=tmp_path / "m", **options)
    assert called == [(1, 3), (2, 3), (3, 3)]
    assert_same_fit(resumed, fitted("classifier", "plain"), "classifier")


def test_after_divergence(tmp_path, monkeypatch):
    """The file has the last update that was completed, and going on diverges again."""
    clipped, count = training.clipped, []

    def diverging(*args, at, **options):
        count.append(at)
        if len(count) == 9:
            raise FloatingPointError(f"training diverged at {at}")
        return clipped(*args, at=at, **options)

    with monkeypatch.context() as patch:
        patch.setattr(training, "clipped", diverging)
        with pytest.raises(FloatingPointError):
            fitted("classifier", "plain", checkpoint=tmp_path / "m")
    resumed = fitted("classifier", "plain", checkpoint=tmp_path / "m")
    assert_same_fit(resumed, fitted("classifier", "plain"), "classifier")


@pytest.mark.parametrize("name", ["classifier", "regressor", "tagger"])
@pytest.mark.parametrize("case", OPTIONS)
def test_with_weights(name, case, tmp_path, monkeypatch):
    weight = np.arange(24) % 4
    options = OPTIONS[case] | ({} if name == "regressor" else {"class_weight": "balanced"})

    def fitted_with(weights, **more):
        model, data = made(name, **options, **more)
        return model.fit(*data, sample_weight=weights)

    path = tmp_path / "m"
    whole = fitted_with(weight)
    with monkeypatch.context() as patch:
        Stop(patch, {5})
        with pytest.warns(UserWarning, match="interrupted"):
            fitted_with(weight, checkpoint=path)
    kept = path.read_bytes()
    for other in (weight[::-1], None):
        with pytest.raises(ValueError, match="of another fit: the data is not the same"):
            fitted_with(other, checkpoint=path)
    assert path.read_bytes() == kept
    assert_same_fit(fitted_with(weight, checkpoint=path), whole, name)
