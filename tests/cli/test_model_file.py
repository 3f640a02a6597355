"""The file of `fastrnn train`: what is in it, what it is read as, and what is refused.

That writing is atomic is test_file.py's in tests/models/.
"""

import json
import time
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
            *(
                ({}, {"vocabulary": text}, "metadata that make no sense here: the vocabulary")
                for text in (
                    "7",
                    "null",
                    "[]",
                    '"abcdef"',
                    '["a", "a", "b", "c", "d", "e"]',
                    '["b", "a", "c", "d", "e", "f"]',
                    '["a", "b", "c", "d", "e", "fg"]',
                    '["a", "b", "c", "d", "e", 6]',
                    '["a", "b", "c", "d", "e", ""]',
                    '["a", "b", "c", "d", "e", ["f"]]',
                )
            ),
            ({}, {"vocabulary": "[" * 100_000}, "metadata that make no sense here"),
            ({}, {"config": '{"a":' * 100_000}, "metadata that make no sense here"),
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

    @pytest.mark.parametrize("name", [*asdict(CONFIG), "step", "text"])
    @pytest.mark.parametrize(
        "value", [None, "x", [], {}, -1, 1.5, True, float("nan"), 10**40, [1], "missing"], ids=str
    )
    def test_options_that_cannot_be(self, name, value, tmp_path):
        trained(tmp_path / "m")
        config = json.loads(contents(tmp_path / "m")[1]["config"]) | {name: value}
        if value == "missing":
            del config[name]
        rewrite(tmp_path / "m", metadata={"config": json.dumps(config)})
        fine = {"text": ["x"], "lr": [1.5], "clip": [1.5], "seed": [10**40]}
        fine |= {option: [10**40] for option in ("seq_len", "batch", "steps", "step")}
        if value in fine.get(name, ()):
            load(tmp_path / "m")
            return
        with pytest.raises(ValueError, match=r"m(: | has metadata that | is not from `fastrnn)"):
            load(tmp_path / "m")

    @pytest.mark.parametrize("option", [{"hidden": 10**9}, {"layers": 10**8}, {"layers": 1000}])
    def test_sizes_that_cannot_be(self, option, tmp_path):
        """The shape of the head is made to fit."""
        trained(tmp_path / "m")
        config = json.loads(contents(tmp_path / "m")[1]["config"]) | option
        rewrite(tmp_path / "m", metadata={"config": json.dumps(config)})
        before = time.monotonic()
        for call in (load, lambda path: TrainingRun.resume(path, TEXT, {})):
            with pytest.raises(
                ValueError, match=r"m: .*(too large for its|head\.weight has shape)"
            ):
                call(tmp_path / "m")
        assert time.monotonic() - before < 5

    @pytest.mark.parametrize("dtype", ["F8_E4M3", "BF16", "F7_NEW"])
    def test_types_that_numpy_has_not(self, dtype, tmp_path):
        raw = b'{"head.weight":{"dtype":"%s","shape":[2],"data_offsets":[0,%d]}}'
        header = raw % (dtype.encode(), 4 if dtype == "BF16" else 2)
        data = len(header).to_bytes(8, "little") + header + bytes(4 if dtype == "BF16" else 2)
        (tmp_path / "m").write_bytes(data)
        for call in (load, lambda path: TrainingRun.resume(path, TEXT, {})):
            with pytest.raises(ValueError, match=f"m is no safetensors file, .*{dtype}"):
                call(tmp_path / "m")

    def test_one_damaged_byte(self, tmp_path):
        trained(tmp_path / "m")
        raw = (tmp_path / "m").read_bytes()
        chance = np.random.default_rng(0)
        for at, bit in zip(
            chance.integers(0, len(raw), 300), chance.integers(0, 8, 300), strict=True
        ):
            damaged = bytearray(raw)
            damaged[at] ^= 1 << int(bit)
            (tmp_path / "m").write_bytes(damaged)
            with pytest.raises(ValueError, match=r"m (is|has)"):
                load(tmp_path / "m")

    def test_weights_that_are_not_finite(self, tmp_path):
        trained(tmp_path / "m")
        rewrite(tmp_path / "m", {"head.bias": np.full(6, np.nan, np.float32)})
        with pytest.raises(ValueError, match=r"m: head\.bias is not finite: its training diverged"):
            load(tmp_path / "m")
