"""The model file of the character language model, and that a resumed run goes on bit for bit."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
import safetensors.numpy

from fastrnn import charlm
from tests.support.compare import assert_close
from tests.support.trained import CONFIG, TEXT, ignore, trained


def contents(path):
    with safetensors.safe_open(path, framework="numpy") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()


def assert_same_file(got, expected):
    (tensors, metadata), (wanted, wanted_metadata) = contents(got), contents(expected)
    assert metadata == wanted_metadata
    assert tensors.keys() == wanted.keys()
    for name in wanted:
        assert tensors[name].dtype == wanted[name].dtype, name
        assert tensors[name].tobytes() == wanted[name].tobytes(), name


def rewrite(path, tensors=None, metadata=None):
    """Change a model file; None removes an entry."""
    for old, new in zip(parts := contents(path), (tensors or {}, metadata or {}), strict=True):
        old.update(new)
        for name in [name for name, value in old.items() if value is None]:
            del old[name]
    path.write_bytes(safetensors.numpy.save(*parts))


class TestResume:
    @pytest.mark.parametrize("optimizer", charlm.OPTIMIZERS)
    @pytest.mark.parametrize("cell", charlm.LAYERS)
    def test_is_the_uninterrupted_run(self, cell, optimizer, tmp_path):
        config = replace(CONFIG, cell=cell, layers=2, optimizer=optimizer)
        trained(tmp_path / "whole", config)
        trained(tmp_path / "half", replace(config, steps=3))
        trainer = charlm.Trainer.resume(tmp_path / "half", TEXT, {"steps": 6, "layers": 2})
        trainer.run(tmp_path / "rest", ignore)
        assert_same_file(tmp_path / "rest", tmp_path / "whole")

    def test_across_the_end_of_the_streams(self, tmp_path):
        config = replace(CONFIG, seq_len=30, steps=7)  # two chunks to a stream
        trained(tmp_path / "whole", config)
        trained(tmp_path / "part", replace(config, steps=1))
        for steps in range(2, 8):
            trainer = charlm.Trainer.resume(tmp_path / "part", TEXT, {"steps": steps})
            trainer.run(tmp_path / "part", ignore)
        assert_same_file(tmp_path / "part", tmp_path / "whole")

    def test_a_finished_run_stays_as_it_is(self, tmp_path):
        trained(tmp_path / "m")
        charlm.Trainer.resume(tmp_path / "m", TEXT, {}).run(tmp_path / "again", ignore)
        assert_same_file(tmp_path / "again", tmp_path / "m")

    @pytest.mark.parametrize(
        ("options", "text", "message"),
        [
            ({"hidden": 6}, TEXT, "m was trained with --hidden 5, not 6; leave the option out"),
            ({"seq_len": 8}, TEXT, "m was trained with --seq-len 4, not 8"),
            ({"lr": 0.5}, TEXT, "m was trained with --lr 0.01, not 0.5"),
            ({"steps": 5}, TEXT, "--steps 5 is the total, and .*m is already at 6"),
            ({}, TEXT + "a", "m was trained on another text; give the same files"),
        ],
    )
    def test_what_does_not_fit(self, options, text, message, tmp_path):
        trained(tmp_path / "m")
        with pytest.raises(ValueError, match=message):
            charlm.Trainer.resume(tmp_path / "m", text, options)

    @pytest.mark.parametrize(
        ("name", "replacement", "message"),
        [
            ("state.1", np.zeros((1, 3, 4), np.float32), r"state\.\* does not fit"),
            ("optimizer.step", None, r"m: optimizer\.\* does not fit: .*step"),
            ("rnn.weight_hh_l0", None, r"m: rnn\.\* does not fit: .*weight_hh_l0"),
        ],
    )
    def test_damaged_file(self, name, replacement, message, tmp_path):
        trained(tmp_path / "m")
        rewrite(tmp_path / "m", {name: replacement})
        with pytest.raises(ValueError, match=message):
            charlm.Trainer.resume(tmp_path / "m", TEXT, {})

    def test_state_is_missing(self, tmp_path):
        trained(tmp_path / "m")
        rewrite(tmp_path / "m", {"state.0": None, "state.1": None})
        with pytest.raises(ValueError, match=r"state\.\* does not fit"):
            charlm.Trainer.resume(tmp_path / "m", TEXT, {})


class TestFile:
    def test_contents(self, tmp_path):
        trainer = trained(tmp_path / "m")
        tensors, metadata = contents(tmp_path / "m")
        assert json.loads(metadata["vocabulary"]) == sorted(set(TEXT))
        assert json.loads(metadata["config"]).items() >= asdict(CONFIG).items()
        model = trainer.model
        for prefix, params in (("rnn.", model.rnn.params), ("head.", model.head.params)):
            for name, param in params.items():
                assert_close(tensors[prefix + name], param, atol=0)

    def test_loads_what_was_saved(self, tmp_path):
        trainer = trained(tmp_path / "m")
        model = charlm.load(tmp_path / "m")
        assert model.vocabulary == trainer.model.vocabulary
        assert list(charlm.sample(model)) == list(charlm.sample(trainer.model))

    def test_saving_is_atomic(self, tmp_path, monkeypatch):
        path = tmp_path / "m"
        trainer = trained(path)
        before = path.read_bytes()
        trainer.advance()

        def no_space(descriptor):
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patched:
            patched.setattr("os.fsync", no_space)
            with pytest.raises(OSError, match="No space"):
                trainer.save(path)
        assert path.read_bytes() == before
        assert list(tmp_path.iterdir()) == [path]

    def test_a_link_stays_a_link(self, tmp_path):
        (tmp_path / "link").symlink_to(tmp_path / "m")
        trained(tmp_path / "link")
        assert (tmp_path / "link").is_symlink()
        charlm.load(tmp_path / "m")

    def test_saved_at_once_where_it_can_be(self, tmp_path):
        trainer = charlm.Trainer(CONFIG, TEXT)
        with pytest.raises(ValueError, match="is not a file, so no model can be saved there"):
            trainer.run(tmp_path, ignore)
        with pytest.raises(FileNotFoundError):
            trainer.run(tmp_path / "none" / "m", ignore)
        assert trainer.step == 0

    def test_missing(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"there is no file .*m; `fastrnn train"):
            charlm.load(tmp_path / "m")

    @pytest.mark.parametrize("raw", [b"", b"PK\3\4 no such thing", b"\xff" * 100])
    def test_not_safetensors(self, raw, tmp_path):
        (tmp_path / "m").write_bytes(raw)
        with pytest.raises(ValueError, match="m is no safetensors file, or a damaged one: "):
            charlm.load(tmp_path / "m")

    def test_truncated(self, tmp_path):
        trained(tmp_path / "m")
        (tmp_path / "m").write_bytes((tmp_path / "m").read_bytes()[:-1])
        with pytest.raises(ValueError, match="m is no safetensors file, or a damaged one: "):
            charlm.load(tmp_path / "m")

    def test_folder(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="there is no file"):
            charlm.load(tmp_path)

    @pytest.mark.parametrize(
        ("tensors", "metadata", "message"),
        [
            ({}, {"vocabulary": None}, "not from `fastrnn train`: it lacks 'vocabulary'"),
            ({}, {"config": None}, "not from `fastrnn train`: it lacks 'config'"),
            ({"head.weight": None}, {}, "not from `fastrnn train`: it lacks 'head.weight'"),
            ({}, {"config": "{}"}, "it lacks 'step'"),
            ({}, {"config": "{"}, "metadata that make no sense here"),
            ({}, {"config": "[]"}, "metadata that make no sense here"),
            ({}, {"config": '{"step": 1, "text": "", "x": 1}'}, "metadata that make .*'x'"),
            ({}, {"config": '{"step": 1, "text": "", "hidden": "5"}'}, "metadata that .*--hidden"),
            ({}, {"config": '{"step": -1, "text": ""}'}, "metadata that make .*step"),
            ({}, {"vocabulary": '["a"]'}, r"head.weight has shape \(6, 5\); expected .*\(1, 5\)"),
            ({}, {"vocabulary": "7"}, "metadata that make no sense here"),
            (
                {"rnn.weight_ih_l0": np.zeros((20, 7), np.float32)},
                {},
                r"m: rnn\.\* does not fit: .*weight_ih_l0",
            ),
            ({"head.bias": np.zeros(6)}, {}, r"m: head\.\* does not fit: .*bias"),
            ({"head.extra": np.zeros(6)}, {}, r"m: head\.\* does not fit: .*extra"),
        ],
    )
    def test_not_a_model(self, tensors, metadata, message, tmp_path):
        trained(tmp_path / "m")
        rewrite(tmp_path / "m", tensors, metadata)
        with pytest.raises(ValueError, match=message):
            charlm.load(tmp_path / "m")
