"""`fastrnn train` and `fastrnn sample`: what they print, the files they leave, and Ctrl-C."""

import os
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

    def test_keeps_every_earlier_model(self, text, model, capsys):
        path, made = Path(model), [Path(model).read_bytes()]
        for number, steps in enumerate(("4", "5", "6"), 1):
            assert run("train", text, *SMALL, "--steps", steps, "--out", model) == 0
            kept = f"{model}.previous" + (f".{number}" if number > 1 else "")
            assert f"{model} exists already; it is kept as {kept}\n" in capsys.readouterr().out
            assert Path(kept).read_bytes() == made[-1]
            made.append(path.read_bytes())
        assert len({*made}) == 4
        assert len([*path.parent.iterdir()]) == 5

    def test_the_same_command_twice(self, text, tmp_path, monkeypatch, capsys):
        monkeypatch.chdir(tmp_path)
        for _ in range(2):
            assert run("train", text, *SMALL, "--steps", "1") == 0
        out = capsys.readouterr().out
        assert "model.safetensors exists already; it is kept as model.safetensors.previous\n" in out

    @pytest.mark.parametrize("content", ["no model", None])
    def test_what_is_no_model_is_not_overwritten(self, content, text, tmp_path, capsys):
        other = Path(text)
        if content is not None:
            other = tmp_path / "thesis.txt"
            other.write_text(content)
        before = other.read_bytes()
        assert run("train", text, *SMALL, "--steps", "1", "--out", other) == 2
        err = capsys.readouterr().err
        assert (
            f"{other} exists and is no model, so it is not overwritten; give another --out" in err
        )
        assert err.count("\n") == 1
        assert other.read_bytes() == before
        assert {*tmp_path.iterdir()} == {other, Path(text)}

    def test_an_empty_file_is_free(self, text, tmp_path):
        """As mktemp makes them."""
        (tmp_path / "m").touch()
        assert run("train", text, *SMALL, "--steps", "1", "--out", tmp_path / "m") == 0
        assert {*tmp_path.iterdir()} == {tmp_path / "m", Path(text)}

    @pytest.mark.parametrize("way", ["itself", "symlink", "hard link", "relative", "other"])
    @pytest.mark.filterwarnings("ignore:.* names .hard links.*:UserWarning")
    def test_resume_into_itself(self, way, text, model, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        path, out, before = Path(model), tmp_path / "out", Path(model).read_bytes()
        if way == "symlink":
            out.symlink_to("m")
        elif way == "hard link":
            os.link(path, out)
        elif way == "relative":
            out = Path("m")
        elif way == "itself":
            out = path
        assert run("train", text, "--resume", model, "--steps", "5", "--out", out) == 0
        load(out)
        assert (path.read_bytes() == before) == (way in ("hard link", "other"))
        assert out.is_symlink() == (way == "symlink")
        assert not [*tmp_path.glob("*.previous")]
        assert not [*tmp_path.glob(".*")]

    @pytest.mark.parametrize("resumed", ["m", "m.previous"])
    def test_a_full_disk_destroys_nothing(
        self, resumed, text, model, tmp_path, monkeypatch, capsys
    ):
        assert run("train", text, *SMALL, "--steps", "4", "--out", model) == 0
        before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
        assert {*before} == {"m", "m.previous", "text"}

        def full(number):
            raise OSError(28, "No space left on device")

        capsys.readouterr()
        with monkeypatch.context() as patched:
            patched.setattr("os.fsync", full)
            for options in ([*SMALL], ["--resume", tmp_path / resumed]):
                assert run("train", text, *options, "--steps", "9", "--out", model) == 2
                err = capsys.readouterr().err
                assert err == f"fastrnn: [Errno 28] No space left on device: '{model}'\n"
                assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before

    def test_two_runs_with_one_file(self, text, tmp_path, monkeypatch, capsys):
        path = tmp_path / "m"
        process = start("train", text, *SMALL, "--steps", "10000000", "--out", path)
        while not path.exists():
            assert process.poll() is None
            time.sleep(0.001)
        (tmp_path / "link").symlink_to("m")
        monkeypatch.chdir(tmp_path)
        for out in (path, "m", "link"):
            for options in ([], ["--resume", "m"]):
                assert run("train", text, *options, "--out", out) == 2
                err = capsys.readouterr().err
                assert err.startswith(f"fastrnn: {out} is being written by process {process.pid}; ")
                assert err.count("\n") == 1
        interrupt(process)
        assert {*tmp_path.iterdir()} == {path, Path(text), tmp_path / "link"}

    @pytest.mark.skipif(os.name != "posix", reason="POSIX's signals")
    def test_a_killed_run_blocks_nobody(self, text, tmp_path):
        process = start("train", text, *SMALL, "--steps", "10000000", "--out", tmp_path / "m")
        while not (tmp_path / "m").exists():
            assert process.poll() is None
            time.sleep(0.001)
        process.kill()
        process.communicate()
        assert (
            run("train", text, "--resume", tmp_path / "m", "--steps", 10**7 + 1, "--lr", "3") == 2
        )
        load(tmp_path / "m")
        assert {*tmp_path.iterdir()} == {tmp_path / "m", Path(text)}

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
