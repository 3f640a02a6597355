"""The command line: what it prints, its exit statuses, and Ctrl-C, as a user would meet them."""

import os
import re
import signal
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

import pytest

import fastrnn
from fastrnn import charlm
from fastrnn.cli.app import main

SMALL = ["--hidden", "5", "--batch", "3", "--seq-len", "4"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(fastrnn.__file__).parents[1])}
SECONDS = 60  # far more than anything here takes, the compiler included
# A test runner in the background ignores Ctrl-C, and what it starts would inherit that.
START = """
import runpy, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
runpy.run_module("fastrnn", run_name="__main__")
"""


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text"
    path.write_text("the cat sat on the mat, and [bold]that[/bold] was that.\n" * 10)
    return str(path)


@pytest.fixture
def model(text, tmp_path, capsys):
    path = str(tmp_path / "m")
    assert run("train", text, *SMALL, "--steps", "3", "--out", path) == 0
    capsys.readouterr()
    return path


def run(*arguments):
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    return stop.value.code


def start(*arguments):
    return subprocess.Popen(
        [sys.executable, "-c", START, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )


def python(code):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=ENVIRONMENT, check=False
    )


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
        written = "".join(charlm.sample(charlm.load(tmp_path / "m")))
        assert written in out

    @pytest.mark.parametrize("cell", charlm.LAYERS)
    def test_options_reach_the_model(self, cell, text, tmp_path):
        options = ["--cell", cell, "--layers", "2", "--optimizer", "sgd", "--seed", "7"]
        assert run("train", text, *SMALL, *options, "--steps", 1, "--out", tmp_path / "m") == 0
        rnn = charlm.load(tmp_path / "m").rnn
        assert type(rnn) is charlm.LAYERS[cell]
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
        charlm.load(out)

    def test_keeps_an_earlier_model(self, text, model, capsys):
        earlier = Path(model).read_bytes()
        assert run("train", text, *SMALL, "--steps", "4", "--out", model) == 0
        assert "kept as" in capsys.readouterr().out
        assert Path(model + ".previous").read_bytes() == earlier
        assert Path(model).read_bytes() != earlier

    def test_default_file(self, text, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        assert run("train", text, *SMALL, "--steps", "1") == 0
        charlm.load(Path("model.safetensors"))


class TestSample:
    def test_prints_the_prompt_and_what_follows(self, model, capsys):
        assert run("sample", model, "--prompt", "[bold]", "--length", "50") == 0
        out, err = capsys.readouterr()
        written = "".join(charlm.sample(charlm.load(Path(model)), "[bold]", 50))
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
        assert process.wait(SECONDS) == 1


class TestErrors:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["train", "{tmp}/none"], "No such file or directory"),
            (["train", "{tmp}/latin"], "is not UTF-8: byte 0xe9 at position 3"),
            (["train", "{tmp}/short"], "the text has 4 characters"),
            (["train", "{text}", "--hidden", "0"], "--hidden must be"),
            (["train", "{text}", "--lr", "nan"], "--lr must be"),
            (["train", "{text}", "--cell", "x"], "--cell must be one of"),
            (["train", "{text}", *SMALL, "--out", "{tmp}/no/m"], "No such file or directory"),
            (["train", "{text}", *SMALL, "--out", "{tmp}"], "is not a file"),
            (["train", "{text}", "--resume", "{tmp}/none"], "there is no file {tmp}/none"),
            (["train", "{text}", "--resume", "{tmp}/short"], "is no safetensors file"),
            (["train", "{text}", "--resume", "{model}", "--hidden", "6"], "with --hidden 5, not 6"),
            (["train", "--resume", "{model}"], "was trained on another text"),
            (["train", "{text}", *SMALL, "--lr", "1e38", "--steps", "50"], "diverged"),
            (["sample", "{tmp}/none"], "there is no file {tmp}/none"),
            (["sample", "{tmp}"], "there is no file {tmp}"),
            (["sample", "{model}", "--prompt", "ß"], "never seen: 'ß'"),
            (["sample", "{model}", "--temperature", "nan"], "the temperature must be"),
            (["sample", "{model}", "--length", "-1"], "the length must not"),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, list) else "",
    )
    def test_one_line_and_status_2(self, arguments, message, text, model, tmp_path, capsys):
        (tmp_path / "latin").write_bytes(b"caf\xe9")
        (tmp_path / "short").write_text("abc\n")
        places = {"tmp": tmp_path, "text": text, "model": model}
        if arguments[0] == "train" and not {"--out", "--resume"} & set(arguments):
            arguments = [*arguments, "--out", "{tmp}/new"]
        assert run(*(argument.format(**places) for argument in arguments)) == 2
        err = capsys.readouterr().err
        assert err.startswith("fastrnn: ")
        assert message.format(**places) in err
        assert err.count("\n") == 1

    @pytest.mark.parametrize(
        "arguments", [["train", "--hidden", "many"], ["train", "--wide"], ["sample"], ["dance"]]
    )
    def test_usage(self, arguments, capsys):
        assert run(*arguments) == 2
        err = capsys.readouterr().err
        assert "Usage: " in err
        assert "Traceback" not in err


class TestInterrupt:
    """Ctrl-C: status 130, and the model as the last completed step left it."""

    def interrupt(self, process):
        process.send_signal(signal.SIGINT)
        asked = time.monotonic()
        out, err = process.communicate(timeout=SECONDS)
        assert process.returncode == 130, err
        assert time.monotonic() - asked < 5
        assert "Traceback" not in out + err
        return out, err

    def test_while_training(self, text, tmp_path, capsys):
        path = tmp_path / "m"
        process = start("train", text, *SMALL, "--steps", "20000", "--out", path)
        while not process.stdout.readline().startswith("step 2000 of 20000"):
            assert process.poll() is None
        _, err = self.interrupt(process)
        charlm.load(path)
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
        self.interrupt(process)
        charlm.load(path)

    def test_sample(self, model):
        process = start("sample", model, "--length", "100000000")
        assert process.stdout.read(10)
        self.interrupt(process)


def test_info(capsys):
    assert run("info") == 0
    rows = dict(line.split("  ", 1) for line in capsys.readouterr().out.splitlines())
    rows = {name: value.strip() for name, value in rows.items()}
    assert rows["fastrnn"] == fastrnn.__version__
    assert rows["threads"].startswith(f"{fastrnn.get_num_threads()}, ")
    assert rows.keys() >= {"python", "numba", "llvmlite", "numpy", "torch", "cache folder"}
    assert all(rows.values())


def test_version(capsys):
    """One version, in one place, and the changelog has it."""
    assert run("--version") == 0
    assert capsys.readouterr().out == f"fastrnn {fastrnn.__version__}\n"
    changelog = Path(fastrnn.__file__).parents[1] / ".github" / "CHANGELOG.md"
    if changelog.exists():
        assert f"\n## {fastrnn.__version__} (" in changelog.read_text()
    try:
        installed = metadata.version("fastrnn")
    except metadata.PackageNotFoundError:
        pytest.skip("fastrnn is not installed, only found on the path: no metadata to compare")
    assert installed == fastrnn.__version__


def test_no_arguments_is_help(capsys):
    run()
    out, err = capsys.readouterr()
    assert all(command in out + err for command in ("train", "sample", "info"))


@pytest.mark.parametrize("package", ["typer", "rich", "safetensors"])
def test_without_the_extra(package):
    done = python(
        f"import sys, runpy; sys.modules[{package!r}] = None; "
        "runpy.run_module('fastrnn', run_name='__main__')"
    )
    assert done.returncode == 2
    assert done.stderr == f'fastrnn: the commands need {package}: pip install "fastrnn[cli]"\n'


def test_the_library_needs_no_extra():
    done = python(
        "import sys, fastrnn; fastrnn.LSTM; "
        "print({'typer', 'rich', 'safetensors'} & {*sys.modules})"
    )
    assert (done.stdout, done.stderr) == ("set()\n", "")
