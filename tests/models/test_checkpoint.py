"""The file of a fit: when it is written, what it is read as, and what is refused.

That a fit goes on from it bit for bit is test_resume.py's.
"""

import json
import sys

import numpy as np
import pytest

from fastrnn import models
from fastrnn.models import RNNClassifier, RNNGenerator, training
from tests.support.interrupted import OPTIONS, Stop, assert_same_fit, fitted, interrupted
from tests.support.model_files import contents, rewrite
from tests.support.small_fits import EVERY, made


class TestFile:
    @pytest.mark.parametrize("name", EVERY)
    @pytest.mark.parametrize("case", OPTIONS)
    def test_is_a_model(self, name, case, tmp_path, monkeypatch):
        with monkeypatch.context() as patch:
            Stop(patch, {5})
            half = interrupted(name, case, checkpoint=tmp_path / "m")
        assert_same_fit(models.load(tmp_path / "m"), half, name)
        finished = fitted(name, case, checkpoint=tmp_path / "m")
        loaded = type(finished).load(tmp_path / "m")
        assert_same_fit(loaded, finished, name)
        assert loaded.checkpoint is None

    def test_saved_every_minute(self, tmp_path, monkeypatch):
        now, saved = [0.0], []
        monkeypatch.setattr(training.time, "monotonic", lambda: now[0])
        clipped, write = training.clipped, models.checkpoint.file.write

        def slow(*args, **options):
            now[0] += 25
            return clipped(*args, **options)

        def watched(path, *rest):
            saved.append(now[0])
            write(path, *rest)

        monkeypatch.setattr(training, "clipped", slow)
        monkeypatch.setattr(models.checkpoint.file, "write", watched)
        fitted("classifier", "plain", epochs=1, checkpoint=tmp_path / "m")
        assert saved == [0, 75, 150, 150]

    def test_written_before_the_first_update(self, tmp_path, monkeypatch):
        count = Stop(monkeypatch, ())
        with pytest.raises(FileNotFoundError):
            fitted("classifier", "plain", checkpoint=tmp_path / "none" / "m")
        with pytest.raises(ValueError, match="is not a file, so no model can be saved there"):
            fitted("classifier", "plain", checkpoint=tmp_path)
        assert count.done == 0

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"lr": 0.5}, r"is of another fit: lr was 0\.01 and is 0\.5\. Give another path"),
            ({"cell": "gru", "seed": 1}, "cell was 'lstm' and is 'gru'; seed was 0 and is 1"),
            ({"validation_fraction": 0.5}, r"validation_fraction was 0\.0 and is 0\.5"),
            ({"epochs": 2}, "epochs = 2 is the total, and the checkpoint .*m is already at 3"),
        ],
    )
    def test_other_options(self, options, message, tmp_path):
        fitted("classifier", "plain", checkpoint=tmp_path / "m")
        with pytest.raises(ValueError, match=f"^RNNClassifier: .*{message}"):
            fitted("classifier", "plain", checkpoint=tmp_path / "m", **options)

    @pytest.mark.parametrize(
        "change",
        [
            lambda x, y: (x[:-1], y[:-1]),
            lambda x, y: (x[::-1], y[::-1]),
            lambda x, y: (x, [1 - label for label in y]),
            lambda x, y: (x, ["no" if label else "yes" for label in y]),
            lambda x, y: ([word.replace("a", "c") for word in x], y),
        ],
    )
    def test_other_data(self, change, tmp_path):
        model, data = made("classifier", epochs=1, checkpoint=tmp_path / "m")
        model.fit(*data)
        with pytest.raises(ValueError, match="of another fit: the data is not the same"):
            model.fit(*change(*data))
        assert not hasattr(model, "history_")

    def test_another_end_of_a_text(self, tmp_path):
        text = "hello world\n" * 20
        options = {"truncate": 5, "batch_size": 4, "epochs": 1, "validation_fraction": 0.1}
        model = RNNGenerator(5, **options, checkpoint=tmp_path / "m").fit(text)
        with pytest.raises(ValueError, match="of another fit: the data is not the same"):
            model.fit(text[:-1] + "h")

    def test_another_model(self, tmp_path):
        fitted("classifier", "plain", checkpoint=tmp_path / "m")
        with pytest.raises(ValueError, match="of another fit: it is of a RNNClassifier"):
            fitted("tagger", "plain", checkpoint=tmp_path / "m")

    def test_a_file_that_is_no_checkpoint(self, tmp_path):
        fitted("classifier", "plain").save(tmp_path / "m")
        before = (tmp_path / "m").read_bytes()
        with pytest.raises(ValueError, match=r"m exists and is not the checkpoint of a fit: it la"):
            fitted("classifier", "plain", checkpoint=tmp_path / "m")
        assert (tmp_path / "m").read_bytes() == before
        (tmp_path / "m").write_bytes(b"what")
        with pytest.raises(ValueError, match="m is no safetensors file"):
            fitted("classifier", "plain", checkpoint=tmp_path / "m")

    @pytest.mark.parametrize("name", ["rnn.weight_hh_l0", "optimizer.step", "head.bias"])
    def test_an_array_is_missing(self, name, tmp_path):
        fitted("classifier", "plain", checkpoint=tmp_path / "m")
        rewrite(tmp_path / "m", {f"training.{name}": None})
        with pytest.raises(ValueError, match=r"m is damaged: .* does not fit"):
            fitted("classifier", "plain", checkpoint=tmp_path / "m")

    @pytest.mark.parametrize(
        "name",
        [
            "head.bias",
            "rnn.weight_ih_l0",
            "training.best.head.bias",
            "training.best.rnn.weight_hh_l0",
            "training.rnn.bias_hh_l0",
            "training.optimizer.exp_avg.0.weight_hh_l0",
            "training.state.0",
            "training.state.1",
        ],
    )
    @pytest.mark.parametrize("change", ["missing", "renamed", "one more", "shape", "dtype"])
    def test_another_array(self, name, change, tmp_path):
        """In the middle of a batch, of which a piece has been read."""
        options = {"truncate": 2, "bidirectional": False, "epochs": 2, "checkpoint": tmp_path / "m"}
        fitted("tagger", "plain", **options)
        array = contents(tmp_path / "m")[0][name]
        changed = {name: None} if change in ("missing", "renamed") else {}
        if change in ("renamed", "one more"):
            changed[name + "x"] = array
        if change in ("shape", "dtype"):
            other = array.astype(np.float64) if change == "dtype" else np.concatenate([array] * 2)
            changed[name] = other
        rewrite(tmp_path / "m", changed)
        with pytest.raises(ValueError, match=r"m is damaged: "):
            fitted("tagger", "plain", **options | {"epochs": 3})

    def test_one_fit_at_a_time(self, tmp_path):
        told = []

        def second(*done):
            with pytest.raises(
                BlockingIOError, match="m is being written by another run of this p"
            ):
                fitted("classifier", "plain", checkpoint=tmp_path / "m")
            told.append(done)

        whole = fitted("classifier", "plain", checkpoint=tmp_path / "m", verbose=second)
        assert told == [(1, 3), (2, 3), (3, 3)]
        assert_same_fit(
            fitted("classifier", "plain", checkpoint=tmp_path / "m"), whole, "classifier"
        )
        assert [path.name for path in tmp_path.iterdir()] == ["m"]

    def test_given_back_after_an_error(self, tmp_path):
        def error(*done):
            raise ZeroDivisionError

        for _ in range(2):
            with pytest.raises(ZeroDivisionError):
                fitted("classifier", "plain", checkpoint=tmp_path / "m", verbose=error)
            assert [path.name for path in tmp_path.iterdir()] == ["m"]

    @pytest.mark.parametrize(
        ("name", "text", "message"),
        [
            ("training", "[" * 100_000, "m is damaged: "),
            ("training", "{}", "m exists and is not the checkpoint of a fit: it lacks 'data'"),
            ("training", "{", "m is damaged: "),
            ("training", "[]", "m is damaged: "),
            ("learnt", "{}", "m exists and is not the checkpoint of a fit: it lacks 'history_'"),
            ("learnt", "[]", "m is damaged: "),
            ("options", "[]", "m is damaged: "),
        ],
    )
    def test_damaged_metadata(self, name, text, message, tmp_path):
        fitted("classifier", "plain", checkpoint=tmp_path / "m")
        rewrite(tmp_path / "m", metadata={name: text})
        with pytest.raises(ValueError, match=message):
            fitted("classifier", "plain", checkpoint=tmp_path / "m")

    @pytest.mark.parametrize(
        ("fact", "value", "message"),
        [
            ("random", 3, "m is damaged: "),
            ("random", {"bit_generator": "MT19937"}, "m is damaged: "),
            ("batch", 999, "m is damaged: there is no batch 999 of 6"),
            ("batch", -1, "m is damaged: there is no batch -1"),
            ("piece", 7, "there is no piece 7 of batch 0"),
            ("best", None, "m is damaged: "),
            ("best", {"loss": "x", "stale": 0}, "m is damaged: there is no best epoch"),
            ("best", {"loss": 0.5, "stale": 0.5}, "m is damaged: there is no best epoch"),
            ("epoch", 2, "m is damaged: its history is not of 2 epochs"),
            ("epoch", -1, "m is damaged: there is no epoch -1"),
            ("epoch", True, "m is damaged: there is no epoch True"),
            ("step", 3, r"m is damaged: optimizer\.step is not 3"),
            ("step", 10**40, r"m is damaged: optimizer\.step is not 1000"),
            ("step", 1.5, r"m is damaged: there is no step 1\.5"),
            ("piece", None, "m is damaged: there is no piece None"),
            ("seconds", 10**400, "m is damaged: "),
            ("dropout", {"tail": {}}, "m is damaged: "),
            ("seed", "x", "m is damaged: "),
        ],
    )
    def test_damaged_facts(self, fact, value, message, tmp_path):
        fitted("tagger", "plain", checkpoint=tmp_path / "m")
        training = json.loads(contents(tmp_path / "m")[1]["training"]) | {fact: value}
        rewrite(tmp_path / "m", metadata={"training": json.dumps(training)})
        with pytest.raises(ValueError, match=message):
            fitted("tagger", "plain", checkpoint=tmp_path / "m", epochs=5)

    def test_needs_the_extra(self, monkeypatch, tmp_path):
        monkeypatch.setitem(sys.modules, "fastrnn.models.checkpoint", None)
        monkeypatch.delitem(sys.modules, "fastrnn.models.checkpoint")
        monkeypatch.delitem(sys.modules, "fastrnn.models.file")
        monkeypatch.delattr(models, "file")
        monkeypatch.setitem(sys.modules, "safetensors", None)
        monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
        with pytest.raises(ModuleNotFoundError, match=r'pip install "fastrnn\[cli\]"'):
            fitted("classifier", "plain", checkpoint=tmp_path / "m")


def test_parameters_and_copies(tmp_path):
    model = RNNClassifier(4, checkpoint=str(tmp_path / "m"))
    assert model.get_params()["checkpoint"] == str(tmp_path / "m")
    assert model.clone().checkpoint == model.checkpoint
    assert "checkpoint=" in repr(model)
    with pytest.raises(TypeError, match="RNNClassifier: checkpoint has to be a path, got 3"):
        model.set_params(checkpoint=3).fit(["a", "b"], [0, 1])


def test_options_that_are_younger_than_the_file(tmp_path):
    """They had what is now their default."""
    fitted("classifier", "plain", checkpoint=tmp_path / "m")
    options = json.loads(contents(tmp_path / "m")[1]["options"])
    del options["unknown"], options["class_weight"]
    rewrite(tmp_path / "m", metadata={"options": json.dumps(options)})
    fitted("classifier", "plain", checkpoint=tmp_path / "m")
    with pytest.raises(ValueError, match="class_weight was None and is 'balanced'"):
        fitted("classifier", "plain", checkpoint=tmp_path / "m", class_weight="balanced")


def test_options_of_earlier_versions(tmp_path):
    """They had lists for tuples."""
    options = {"optimizer_options": {"betas": (0.5, 0.9)}, "checkpoint": tmp_path / "m"}
    fitted("classifier", "plain", **options)
    metadata = contents(tmp_path / "m")[1]
    old = json.loads(metadata["options"]) | {"optimizer_options": {"betas": [0.5, 0.9]}}
    assert old != json.loads(metadata["options"])
    rewrite(tmp_path / "m", metadata={"options": json.dumps(old)})
    fitted("classifier", "plain", **options)
    with pytest.raises(ValueError, match="is of another fit: optimizer_options was"):
        fitted("classifier", "plain", **options | {"optimizer_options": {"betas": (0.5, 0.8)}})
