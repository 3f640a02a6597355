"""`fastrnn train` and `fastrnn sample`: what they print, the files they leave, and Ctrl-C."""

import re
import time
from pathlib import Path

import pytest

from fastrnn.cli.character_model import load, sample
from fastrnn.nn.registry import CELL_NAMES, layer_class
from tests.support.commands import SECONDS, SMALL, interrupt, run, start


class TestTrain:
    def test_log(self, text, tmp_path, capsys):
        assert run("train", text, *SMALL, "--steps", "20", "--out", tmp_path / "m") == 0
        out, err = capsys.readouterr()
        assert err == ""
        assert not {"\r", "\x1b"} & set(out)
        lines = out.splitlines()
        assert lines[0].startswith("lstm, 1 x 5 hidden units, ")
        steps = [line for line in lines if line.startswith("step ")]
        assert len(steps) == 10
        assert steps[-1].startswith("step 20 of 20: ")
        assert "bits per character" in steps[-1]
        assert "characters/s" in steps[-1]
        validation = next(line for line in lines if line.startswith("validation: "))
        assert validation.endswith(" bits per character, on the last 56 characters")
        assert lines[-1] == f"saved; for more: fastrnn sample {tmp_path / 'm'}"
        written = "".join(sample(load(tmp_path / "m")))
        assert written in out

    @pytest.mark.parametrize("cell", CELL_NAMES)
    def test_options_reach_the_model(self, cell, text, tmp_path):
        options = ["--cell", cell, "--layers", "2", "--optimizer", "sgd", "--seed", "7"]
        assert run("train", text, *SMALL, *options, "--steps", 1, "--out", tmp_path / "m") == 0
        rnn = load(tmp_path / "m").rnn
        assert type(rnn) is layer_class(cell)[0]
        assert rnn.params["weight_hh_l1"].shape[1] == 5

    def test_resume_saves_where_it_came_from(self, text, model, capsys):
        assert run("train", text, "--resume", model, "--steps", "5") == 0
        assert "step 5 of 5" in capsys.readouterr().out
        assert run("train", text, "--resume", model, "--steps", "4") == 2
        assert "is already at 5" in capsys.readouterr().err

    def test_resume_elsewhere(self, text, model, tmp_path, monkeypatch):
        before = Path(model).read_bytes()
        out = tmp_path / "other"
        assert run("train", text, "--resume", model, "--steps", "5", "--out", out) == 0
        assert Path(model).read_bytes() == before
        load(out)

    def test_keeps_an_earlier_model(self, text, model, capsys):
        earlier = Path(model).read_bytes()
        assert run("train", text, *SMALL, "--steps", "4", "--out", model) == 0
        assert "kept as" in capsys.readouterr().out
        assert Path(model + ".previous").read_bytes() == earlier
        assert Path(model).read_bytes() != earlier

    def test_default_file(self, text, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        assert run("train", text, *SMALL, "--steps", "1") == 0
        load(Path("model.safetensors"))


class TestSample:
    def test_prints_the_prompt_and_what_follows(self, model, capsys):
        assert run("sample", model, "--prompt", "[bold]", "--length", "50") == 0
        out, err = capsys.readouterr()
        written = "".join(sample(load(Path(model)), "[bold]", 50))
        assert (out, err) == (f"[bold]{written}\n", "")

    def test_options(self, model, capsys):
        outs = []
        for options in (["--seed", "1"], ["--seed", "2"], ["--temperature", "0"]):
            assert run("sample", model, *options) == 0
            outs.append(capsys.readouterr().out)
        assert len(set(outs)) == 3

    def test_greedy_takes_no_chance(self, model, capsys):
        outs = set()
        for seed in ("1", "2"):
            assert run("sample", model, "--temperature", "0", "--seed", seed) == 0
            outs.add(capsys.readouterr().out)
        assert len(outs) == 1

    def test_closed_pipe(self, model):
        process = start("sample", model, "--length", "1000000")
        assert process.stdout.read(1)
        process.stdout.close()
        assert process.stderr.read() == ""
        process.stderr.close()
        assert process.wait(SECONDS) == 141


class TestInterrupt:
    """Ctrl-C: status 130, and the model as the last completed step left it."""

    def test_while_training(self, text, tmp_path, capsys):
        path = tmp_path / "m"
        process = start("train", text, *SMALL, "--steps", "20000", "--out", path)
        while not process.stdout.readline().startswith("step 2000 of 20000"):
            assert process.poll() is None
        _, err = interrupt(process)
        load(path)
        stopped = re.search(rf"stopped after step (\d+), .* --resume {path}\n", err)
        step = int(stopped[1])
        assert 2000 <= step < 20000
        assert run("train", text, "--resume", path, "--steps", step + 2) == 0
        assert f"step {step + 2} of {step + 2}" in capsys.readouterr().out
        assert sorted(tmp_path.iterdir()) == [path, Path(text)]

    def test_before_the_first_step(self, text, tmp_path):
        path = tmp_path / "m"
        process = start("train", text, *SMALL, "--steps", "1000000", "--out", path)
        while not path.exists():
            time.sleep(0.001)
        interrupt(process)
        load(path)

    def test_sample(self, model):
        process = start("sample", model, "--length", "100000000")
        assert process.stdout.read(10)
        interrupt(process)
