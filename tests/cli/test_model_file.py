"""The file of `fastrnn train`: what is in it, what it is read as, and what is refused.

That writing is atomic is test_file.py's in tests/models/.
"""

import json
from dataclasses import asdict

import numpy as np
import pytest

from fastrnn.cli.character_model import load, sample
from fastrnn.cli.training_run import TrainingRun
from tests.support.compare import assert_close
from tests.support.model_files import contents, rewrite
from tests.support.trained import CONFIG, TEXT, ignore, trained


class TestFile:
    def test_contents(self, tmp_path):
        run = trained(tmp_path / "m")
        tensors, metadata = contents(tmp_path / "m")
        assert json.loads(metadata["vocabulary"]) == sorted(set(TEXT))
        assert json.loads(metadata["config"]).items() >= asdict(CONFIG).items()
        model = run.model
        for prefix, params in (("rnn.", model.rnn.params), ("head.", model.head.params)):
            for name, param in params.items():
                assert_close(tensors[prefix + name], param, atol=0)

    def test_loads_what_was_saved(self, tmp_path):
        run = trained(tmp_path / "m")
        model = load(tmp_path / "m")
        assert model.vocabulary == run.model.vocabulary
        assert list(sample(model)) == list(sample(run.model))

    def test_saved_at_once_where_it_can_be(self, tmp_path):
        run = TrainingRun(CONFIG, TEXT)
        with pytest.raises(ValueError, match="is not a file, so no model can be saved there"):
            run.train(tmp_path, ignore)
        with pytest.raises(FileNotFoundError):
            run.train(tmp_path / "none" / "m", ignore)
        assert run.step == 0

    def test_missing(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"there is no file .*m; `fastrnn train"):
            load(tmp_path / "m")

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
            load(tmp_path / "m")
