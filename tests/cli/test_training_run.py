"""The run of `fastrnn train`: what it learns and reports, and that it goes on bit for bit."""

import hashlib
import itertools
import json
import math
import time
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest

import fastrnn
from fastrnn.cli.character_model import load, sample
from fastrnn.cli.training_run import TrainingRun
from fastrnn.models.options import OPTIMIZERS
from fastrnn.nn import sizes
from fastrnn.nn.registry import CELL_NAMES
from tests.support.compare import assert_close
from tests.support.model_files import assert_same_file, rewrite, safetensors
from tests.support.trained import CONFIG, TEXT, ignore, trained


class Step(NamedTuple):
    model: object
    optimizer: fastrnn.optim.Adam
    state: tuple
    loss: float


def by_hand(config):
    """Yield the same training, a step at a time."""
    model = TrainingRun(config, TEXT).model
    params = [model.rnn.params, model.head.params]
    optimizer = fastrnn.optim.Adam(params, lr=config.lr)
    index = [model.vocabulary.index(character) for character in TEXT]
    streams = [index[b * 89 : b * 89 + 90] for b in range(3)]  # (270 - 1) // 3 = 89, and one on
    state = None
    for step in itertools.count():
        t = step % 22 * 4
        x = np.array([[stream[t + k] for stream in streams] for k in range(4)])
        y = np.array([[stream[t + k + 1] for stream in streams] for k in range(4)])
        (output, state), pullback = model.rnn.vjp(x, state if t else None)
        logits, head_pullback = model.head.vjp(output)
        loss, d_logits = fastrnn.losses.softmax_cross_entropy(logits, y)
        d_head = head_pullback(d_logits)
        grads = [pullback(d_head.input).params, d_head.params]
        fastrnn.optim.clip_grad_norm(grads, config.clip)
        optimizer.step(grads)
        yield Step(model, optimizer, state, loss)


class TestTraining:
    @pytest.mark.parametrize("cell", CELL_NAMES)
    def test_is_truncated_bptt(self, cell):
        """The same losses as a loop written out here: streams, carried state, start over."""
        config = replace(CONFIG, cell=cell, clip=0.5)
        run, loop = TrainingRun(config, TEXT), by_hand(config)
        for _ in range(25):
            assert_close(np.float64(run.advance()), next(loop).loss / math.log(2), atol=1e-12)

    def test_learns(self, tmp_path):
        config = replace(CONFIG, hidden=16, seq_len=8, steps=150, lr=2e-2)
        run = trained(tmp_path / "m", config, "hello world\n" * 30)
        assert run.validate() < 0.1
        written = "".join(sample(run.model, "hel", 21, temperature=0))
        assert written == "lo world\nhello world\n"

    def test_reports_every_step(self, tmp_path):
        reports = []
        TrainingRun(CONFIG, TEXT).train(tmp_path / "m", reports.append)
        assert [report.step for report in reports] == [1, 2, 3, 4, 5, 6]
        assert reports[0].characters_per_second == 0
        assert all(report.characters_per_second > 0 for report in reports[1:])
        assert all(0 < report.bits_per_character < 6 for report in reports)

    def test_text_of_one_character(self, tmp_path):
        run = trained(tmp_path / "m", text="a" * 50)
        assert run.validate() == 0
        assert "".join(sample(run.model, length=3)) == "aaa"

    @pytest.mark.parametrize(("batch", "seq_len", "needed"), [(3, 4, 15), (1, 1, 11), (9, 1, 12)])
    def test_shortest_text(self, batch, seq_len, needed, tmp_path):
        config = replace(CONFIG, batch=batch, seq_len=seq_len)
        run = trained(tmp_path / "m", config, TEXT[:needed])
        assert math.isfinite(run.validate())
        with pytest.raises(ValueError, match=rf"{needed - 1} characters; .* need {needed}: give"):
            TrainingRun(config, TEXT[: needed - 1])

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"hidden": 10**9}, r"--hidden 1000000000, .*--seq-len 4: weights, .* need .*GB"),
            ({"layers": 10**8}, r"--layers 100000000, .*: weights, .* need .*GB"),
            ({"batch": 10**12}, "lower --batch or --seq-len"),
            ({"seq_len": 10**30}, "lower --batch or --seq-len"),
            (
                {"hidden": 200, "seq_len": 80},
                "--batch 3, --seq-len 80: weights, .* computed from need",
            ),
        ],
    )
    def test_sizes_that_cannot_be(self, options, message, monkeypatch):
        monkeypatch.setattr(sizes, "memory", lambda: 3 * 10**6 if "seq_len" in options else 10**10)
        before = time.monotonic()
        with pytest.raises(ValueError, match=message):
            TrainingRun(replace(CONFIG, **options), TEXT)
        assert time.monotonic() - before < 5

    def test_any_number_of_steps(self):
        TrainingRun(replace(CONFIG, steps=10**30), TEXT).advance()

    def test_empty_text(self):
        with pytest.raises(ValueError, match="the text has 0 characters"):
            TrainingRun(CONFIG, "")

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_divergence_updates_nothing(self, value):
        run = TrainingRun(CONFIG, TEXT)
        run.advance()
        run.model.head.params["bias"][0] = value
        before = {name: param.copy() for name, param in run.model.rnn.params.items()}
        with pytest.raises(FloatingPointError, match=r"diverged at step 2: .* lower --lr"):
            run.advance()
        assert run.step == 1
        for name, param in run.model.rnn.params.items():
            assert_close(param, before[name], atol=0, name=name)


class TestResume:
    @pytest.mark.parametrize("optimizer", OPTIMIZERS)
    @pytest.mark.parametrize("cell", CELL_NAMES)
    def test_is_the_uninterrupted_run(self, cell, optimizer, tmp_path):
        config = replace(CONFIG, cell=cell, layers=2, optimizer=optimizer)
        trained(tmp_path / "whole", config)
        trained(tmp_path / "half", replace(config, steps=3))
        run = TrainingRun.resume(tmp_path / "half", TEXT, {"steps": 6, "layers": 2})
        run.train(tmp_path / "rest", ignore)
        assert_same_file(tmp_path / "rest", tmp_path / "whole")

    def test_across_the_end_of_the_streams(self, tmp_path):
        config = replace(CONFIG, seq_len=30, steps=7)  # two chunks to a stream
        trained(tmp_path / "whole", config)
        trained(tmp_path / "part", replace(config, steps=1))
        for steps in range(2, 8):
            run = TrainingRun.resume(tmp_path / "part", TEXT, {"steps": steps})
            run.train(tmp_path / "part", ignore)
        assert_same_file(tmp_path / "part", tmp_path / "whole")

    def test_a_finished_run_stays_as_it_is(self, tmp_path):
        trained(tmp_path / "m")
        TrainingRun.resume(tmp_path / "m", TEXT, {}).train(tmp_path / "again", ignore)
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
            TrainingRun.resume(tmp_path / "m", text, options)

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
            TrainingRun.resume(tmp_path / "m", TEXT, {})

    @pytest.mark.parametrize(
        ("tensors", "message"),
        [
            (
                {"state.1": None},
                r"m: state\.\* does not fit: it has \['0'\]; expected \['0', '1'\]",
            ),
            ({"state.0": None}, r"m: state\.\* does not fit: it has \['1'\]"),
            ({"state.2": np.zeros((1, 3, 5), np.float32)}, r"m: state\.\* does not fit: .*'2'"),
            ({"state.1": np.zeros((1, 3, 5))}, r"m: state\.\* does not fit: state\.1 is float64"),
            ({"state.1": np.zeros((1, 4, 5), np.float32)}, r"m: state\.\* does not fit: state\.1"),
            ({"optimizer.step": np.array(7)}, r"m: optimizer\.step is not 6"),
            ({"optimizer.step": np.array(-7)}, r"m: optimizer\.step is not 6"),
            ({"optimizer.more": np.array(7)}, r"m: optimizer\.\* does not fit: .*more"),
            ({"optimizer.exp_avg.0.bias_hh_l0": None}, r"m: optimizer\.\* does not fit: .*exp_avg"),
            ({"evil.x": np.zeros(3)}, r"m: 'evil\.x' belongs to nothing here"),
            (
                {"rnn.bias_hh_l1": np.zeros(20, np.float32)},
                r"m: rnn\.\* does not fit: .*bias_hh_l1",
            ),
        ],
    )
    def test_one_tensor_less_or_more(self, tensors, message, tmp_path):
        trained(tmp_path / "m")
        rewrite(tmp_path / "m", tensors)
        with pytest.raises(ValueError, match=message):
            TrainingRun.resume(tmp_path / "m", TEXT, {})

    def test_another_vocabulary(self, tmp_path):
        trained(tmp_path / "m")
        rewrite(tmp_path / "m", metadata={"vocabulary": '["a", "b", "c", "d", "e", "f"]'})
        with pytest.raises(ValueError, match="m: its vocabulary is not that of the text"):
            TrainingRun.resume(tmp_path / "m", TEXT, {})

    def test_state_is_missing(self, tmp_path):
        trained(tmp_path / "m")
        rewrite(tmp_path / "m", {"state.0": None, "state.1": None})
        with pytest.raises(ValueError, match=r"state\.\* does not fit"):
            TrainingRun.resume(tmp_path / "m", TEXT, {})

    def test_a_file_of_the_first_version(self, tmp_path):
        """As it laid files out, written here by hand, past the end of the streams."""
        whole = TrainingRun(CONFIG, TEXT)
        bits = [whole.advance() for _ in range(30)]
        model, optimizer, state, _ = next(itertools.islice(by_hand(CONFIG), 24, None))
        parts = {"rnn": model.rnn.params, "head": model.head.params}
        parts |= {"optimizer": optimizer.state_dict(), "state": dict(zip("01", state, strict=True))}
        tensors = {f"{part}.{name}": array for part in parts for name, array in parts[part].items()}
        config = {
            "cell": "lstm",
            "hidden": 5,
            "layers": 1,
            "seq_len": 4,
            "batch": 3,
            "lr": 0.01,
            "steps": 25,
            "optimizer": "adam",
            "clip": 1.0,
            "seed": 0,
            "step": 25,
            "text": hashlib.sha256(TEXT.encode()).hexdigest(),
        }
        metadata = {"vocabulary": '["\\n", " ", "a", "b", "c", "d"]', "config": json.dumps(config)}
        (tmp_path / "m").write_bytes(safetensors.save(tensors, metadata))
        assert list(sample(load(tmp_path / "m"))) == list(sample(model))
        run = TrainingRun.resume(tmp_path / "m", TEXT, {"steps": 30})
        assert run.step == 25
        assert [run.advance() for _ in range(5)] == bits[25:]
