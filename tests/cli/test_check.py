"""`fastrnn gradcheck`: its targets, what it prints and writes, its exit statuses, and Ctrl-C."""

import itertools
import json
import shutil
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from fastrnn.cells import CELLS
from fastrnn.checking import GradcheckReport, selftest
from fastrnn.cli import check as command
from fastrnn.cli import check_target
from fastrnn.nn import stack
from tests.cli.test_app import SECONDS, run, start

NUMBERS = itertools.count()
SLOW = """
import time
import numpy as np

print("imported", flush=True)

def slow(x):
    time.sleep(0.01)
    return 2 * x, lambda d: 2 * d

slow.inputs = np.ones(100_000)
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A current folder of its own, and the import path as it was."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    monkeypatch.delenv("NO_COLOR", raising=False)
    return tmp_path


@pytest.fixture
def module(folder):
    """The name of a module with targets in the current folder, which no test has imported yet."""
    name = f"targets_{next(NUMBERS)}"
    shutil.copy(Path(__file__).parents[1] / "support" / "users_targets.py", folder / f"{name}.py")
    return name


@pytest.fixture
def wrong_lstm(monkeypatch):
    """Layers whose gradient of the recurrent weight has one gate too large."""
    pull = stack.StackCall.__call__

    def pullback(self, *cotangents):
        grads = pull(self, *cotangents)
        grads.params["weight_hh_l0"][5:10] *= 1.01
        return grads

    monkeypatch.setattr(stack.StackCall, "__call__", pullback)


@pytest.fixture
def checks(monkeypatch):
    """What would be checked, (name, target, inputs, options); nothing is, and all is right."""
    calls = []

    def check(name, target, inputs, **options):
        calls.append((name, target, inputs, options))
        return GradcheckReport(name, "layer", "", "full", 0)

    monkeypatch.setattr(command, "check", check)
    return calls


def strict(text):
    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


class TestCells:
    def test_every_cell_has_a_name(self):
        assert {cell.name for cell in CELLS} | {"rnn"} == {*check_target.LAYERS}

    @pytest.mark.parametrize("name", check_target.LAYERS)
    def test_right(self, name, capsys):
        assert run("gradcheck", name, "--hidden", "3", "--seq", "4", "--batch", "2") == 0
        out, err = capsys.readouterr()
        assert err == ""
        relu = "nonlinearity='relu', " * name.endswith("relu")
        layer = f"{name[:4].rstrip('_').upper()}(4, 3, {relu}dtype=float64)"
        assert out.startswith(f"gradcheck of {layer}: ")
        assert "weight_hh_l0" in out
        assert "\x1b" not in out

    def test_wrong(self, wrong_lstm, capsys):
        assert run("gradcheck", "lstm", "--dtype", "float32") == 1
        out, err = capsys.readouterr()
        assert err == ""
        assert "FAILED: wrong gradient of weight_hh_l0" in out
        assert "worst: weight_hh_l0[gate f, unit " in out

    def test_options_reach_the_check(self, checks):
        options = {
            "--input": 3,
            "--hidden": 6,
            "--seq": 5,
            "--batch": 2,
            "--layers": 2,
            "--proj": 4,
            "--dropout": 0.5,
            "--dtype": "float32",
            "--method": "central",
            "--mode": "sample",
            "--samples": 7,
            "--projections": 8,
            "--seed": 9,
        }
        flags = ["--bidirectional", "--lengths", "--second-order"]
        assert run("gradcheck", "LSTM", *flags, *itertools.chain(*options.items())) == 0
        [(name, layer, (x, (h_0, c_0), lengths), given)] = checks
        assert name == "LSTM"
        assert (layer.input_size, layer.hidden_size, layer.num_layers) == (3, 6, 2)
        assert (layer.proj_size, layer.dropout, layer.bidirectional) == (4, 0.5, True)
        assert (x.shape, h_0.shape, c_0.shape) == ((5, 2, 3), (4, 2, 4), (4, 2, 6))
        assert {a.dtype for a in (x, h_0, c_0, *layer.params.values())} == {np.dtype(np.float32)}
        assert h_0.all()
        assert lengths[0] == 5
        assert lengths.shape == (2,)
        assert given.pop("progress")
        assert given == {
            "method": "central",
            "mode": "sample",
            "n_samples": 7,
            "seed": 9,
            "n_projections": 8,
            "second_order": True,
        }

    def test_defaults(self, checks):
        assert run("gradcheck", "gru") == 0
        [(_, layer, (x, h_0, lengths), given)] = checks
        assert (x.shape, x.dtype, h_0.shape, lengths) == ((7, 3, 4), np.float64, (1, 3, 5), None)
        assert (layer.num_layers, layer.bidirectional) == (1, False)
        assert (given["method"], given["mode"], given["seed"]) == ("auto", "full", 0)

    def test_one_hot(self, checks):
        assert run("gradcheck", "rnn_relu", "--one-hot") == 0
        [(_, layer, (x, _, _), _)] = checks
        assert (x.shape, x.dtype.kind, layer.nonlinearity) == ((7, 3), "i", "relu")
        assert 0 <= x.min() <= x.max() < 4

    def test_seed(self, checks):
        for seed in (1, 1, 2):
            run("gradcheck", "rnn", "--seed", seed)
        weights = [layer.params["weight_ih_l0"] for _, layer, _, _ in checks]
        inputs = [x for _, _, (x, _, _), _ in checks]
        for one, same, other in (weights, inputs):
            assert np.array_equal(one, same)
            assert not np.array_equal(one, other)


class TestOwn:
    @pytest.mark.parametrize("name", ["right", "Holder.step", "pair"])
    def test_right(self, name, module, capsys):
        assert run("gradcheck", f"{module}:{name}") == 0
        out, err = capsys.readouterr()
        assert ": right, " in out
        assert err == ""

    def test_wrong(self, module, capsys):
        assert run("gradcheck", f"{module}:wrong") == 1
        out = capsys.readouterr().out
        assert "gradcheck of wrong: FAILED: wrong gradient of y" in out
        assert "1.01 times as large" in out

    def test_what_it_prints_is_not_in_the_report(self, module, capsys):
        assert run("gradcheck", f"{module}:prints", "--json", "-") == 0
        out, err = capsys.readouterr()
        assert strict(out)["ok"]
        assert {*err.splitlines()} == {"from the function"}

    def test_random(self, module, capsys):
        assert run("gradcheck", f"{module}:random") == 1
        assert "repeatable" in capsys.readouterr().out.splitlines()[0]

    @pytest.mark.filterwarnings("ignore::RuntimeWarning")
    def test_not_finite(self, module, capsys):
        assert run("gradcheck", f"{module}:not_finite", "--json", "-") == 1
        assert not strict(capsys.readouterr().out)["ok"]

    def test_the_beside_goes_before_the_attribute(self, folder, capsys):
        (folder / "both.py").write_text(
            "import numpy as np\ndef f(x): return 2 * x, lambda d: 2 * d\n"
            "f.inputs, f_inputs = np.ones(3), np.ones(4)\n"
        )
        assert run("gradcheck", "both:f", "--json", "-") == 0
        assert strict(capsys.readouterr().out)["variables"][0]["shape"] == [4]

    def test_torch_module(self, folder, capsys):
        pytest.importorskip("torch")
        pytest.importorskip("fastrnn.checking.targets.torch_module")
        (folder / "with_torch.py").write_text(
            "import torch\nlayer = torch.nn.Linear(3, 2).double()\n"
            "layer_inputs = (torch.ones(4, 3, dtype=torch.float64),)\n"
        )
        assert run("gradcheck", "with_torch:layer") == 0
        assert "weight" in capsys.readouterr().out


class TestErrors:
    """One line on stderr, and status 2."""

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ([], "what? One of rnn, "),
            (["dance"], "the target is 'dance'; expected one of rnn, "),
            (["lstm", "--hidden", "0"], "--hidden must be a whole number of at least 1; got 0"),
            (["lstm", "--samples", "0"], "--samples must be a whole number of at least 1; got 0"),
            (["lstm", "--seed", "-1"], "--seed must be a whole number of at least 0; got -1"),
            (["lstm", "--dtype", "int8"], "--dtype must be one of float32, float64; got 'int8'"),
            (["lstm", "--proj", "5"], "proj_size has to be smaller than hidden_size = 5"),
            (["gru", "--proj", "2"], "--proj: gru has no projection"),
            (["rnn_relu", "--proj", "2"], "--proj: rnn_relu has no projection"),
            (["lstm", "--dropout", "0.5"], "give --layers of at least 2"),
            (["lstm", "--dropout", "5", "--layers", "2"], "dropout should be a number in [0, 1]"),
            (["lstm", "--method", "best"], "method is 'best'; expected one of auto, "),
            (["lstm", "--mode", "fast"], "mode is 'fast'; expected one of full, "),
            (["lstm", "--hidden", "1000000"], "Unable to allocate"),
            (["lstm", "--json", "{tmp}/no/f.json"], "No such file or directory"),
            (["lstm", "--json", "{tmp}"], "Is a directory"),
            (["lstm", "--plot", "{tmp}/f.foo"], "expected a name that ends in .png, "),
            (["lstm", "--self-test"], "--self-test goes alone"),
            (["--self-test", "--json", "f"], "--self-test goes alone"),
            (["{m}:right", "--hidden", "4"], "{m}:right has inputs of its own: leave it out"),
            (["{m}:right", "--one-hot"], "--one-hot is for rnn, "),
            (["{m}:"], "expected module:function"),
            (["./{m}:right"], "expected module:function"),
            (["{m}.py:right"], "expected module:function"),
            (["nowhere_at_all:f"], "there is no module nowhere_at_all, neither in this folder"),
            (["{m}:wright"], "{m} has no wright; did you mean right?"),
            (["{m}:bare"], "{m}:bare has no inputs; write in {m}: bare_inputs = (x, ...)"),
            (["{m}:number"], "{m}:number has no inputs"),
            (["{m}:of_a_list"], "inputs is a str; expected a tuple of arrays"),
            (["{m}:not_a_pair"], "not_a_pair returned a ndarray; expected (output, pullback)"),
            (["{m}:raises"], "{m}:raises: KeyError: 'why' ({m}.py, line 41)"),
            (["{m}:leaves"], "{m}:leaves: SystemExit: 0 ({m}.py, line 48)"),
            (["{m}:two_lines"], "{m}:two_lines: RuntimeError: one ({m}.py, line 56)"),
            (["{m}:no_inputs_come"], "the inputs of {m}:no_inputs_come: ZeroDivisionError ({m}.py"),
            (["broken_syntax:f"], "importing broken_syntax: SyntaxError: "),
            (["broken_import:f"], "No module named 'nowhere_at_all' (broken_import.py, line 2)"),
            (["broken_exit:f"], "importing broken_exit: SystemExit: 3 (broken_exit.py, line 1)"),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, list) else "",
    )
    def test_one_line_and_status_2(self, arguments, message, module, folder, capsys):
        (folder / "broken_syntax.py").write_text("def f(x:\n")
        (folder / "broken_import.py").write_text("import os\nimport nowhere_at_all\n")
        (folder / "broken_exit.py").write_text("raise SystemExit(3)\n")
        before = sorted(folder.rglob("*.*[!c]"))
        places = {"tmp": folder, "m": module}
        assert run("gradcheck", *(argument.format(**places) for argument in arguments)) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("fastrnn: ")
        assert message.format(**places) in err
        assert err.count("\n") == 1
        assert sorted(folder.rglob("*.*[!c]")) == before

    @pytest.mark.parametrize("arguments", [["--wide"], ["lstm", "gru"], ["lstm", "--seq", "x"]])
    def test_usage(self, arguments, capsys):
        assert run("gradcheck", *arguments) == 2
        err = capsys.readouterr().err
        assert "Usage: " in err
        assert "Traceback" not in err

    def test_a_bad_file_is_told_before_the_check(self, checks, capsys):
        assert run("gradcheck", "lstm", "--json", "no/f.json") == 2
        assert not checks

    def test_a_picture_that_cannot_be_written(self, checks, capsys):
        pytest.importorskip("matplotlib", reason="needs the extra: plot")
        assert run("gradcheck", "lstm", "--plot", "no/f.png") == 2
        assert "No such file or directory" in capsys.readouterr().err
        assert not checks

    def test_without_matplotlib(self, checks, monkeypatch, capsys):
        monkeypatch.setitem(sys.modules, "matplotlib", None)
        assert run("gradcheck", "lstm", "--plot", "f.png") == 2
        assert capsys.readouterr().err == (
            'fastrnn: gradcheck: plot needs matplotlib: pip install "fastrnn[plot]"\n'
        )
        assert not checks


class TestOutput:
    def test_json_on_stdout(self, wrong_lstm, capsys):
        assert run("gradcheck", "lstm", "--json", "-") == 1
        out, err = capsys.readouterr()
        report = strict(out)
        assert err == ""
        assert not report["ok"]
        assert report["worst"]["variable"] == "weight_hh_l0"

    def test_files(self, folder, capsys):
        pytest.importorskip("matplotlib", reason="needs the extra: plot")
        (folder / "report.json").write_text("of an earlier run")
        assert run("gradcheck", "gru", "--json", "report.json", "--plot", "report.svg") == 0
        out, err = capsys.readouterr()
        assert err == "the report is in report.json\nthe picture is in report.svg\n"
        assert out.startswith("gradcheck of GRU")
        assert strict((folder / "report.json").read_text())["ok"]
        assert "</svg>" in (folder / "report.svg").read_text()

    def test_colours(self, wrong_lstm, monkeypatch, capsys):
        run("gradcheck", "lstm")
        plain = capsys.readouterr().out
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setenv("FORCE_COLOR", "1")  # as on a terminal
        run("gradcheck", "lstm")
        out = capsys.readouterr().out
        lines = {
            line.split("m", 1)[1].split()[0]: line
            for line in out.splitlines()
            if line[:1] == "\x1b"
        }
        assert lines["weight_hh_l0"].startswith("\x1b[1;31m")  # wrong: red
        assert lines["weight_ih_l0"].startswith("\x1b[32m")  # right: green
        assert lines["worst:"].startswith("\x1b[1m")
        assert lines["looks"].startswith("\x1b[1;33m")
        monkeypatch.setenv("NO_COLOR", "1")
        run("gradcheck", "lstm")
        timeless = [line for line in plain.splitlines() if not line.startswith("seed")]
        again = [line for line in capsys.readouterr().out.splitlines() if line[:4] != "seed"]
        assert again == timeless

    def test_long_lines_stay_whole(self, module, monkeypatch, capsys):
        monkeypatch.setenv("COLUMNS", "20")
        assert run("gradcheck", f"{module}:right") == 0
        assert "linear in the cotangent  and zero for zero\n" in capsys.readouterr().out

    @pytest.mark.parametrize(("terminal", "wait"), [(True, 0.0), (True, 1e9), (False, 0.0)])
    def test_progress(self, terminal, wait, monkeypatch, capsys):
        monkeypatch.setattr(command, "_MOMENT", wait)
        monkeypatch.setattr(command, "_LONG", 0.0)
        monkeypatch.setenv("TERM", "xterm")
        if terminal:
            monkeypatch.setenv("FORCE_COLOR", "1")
        with command.progress_bar("full") as report:
            for done in range(1, 4):
                report(done, 1234)
        report(4, 1234)  # a check that Ctrl-C has not stopped yet
        out, err = capsys.readouterr()
        assert out == ""
        if terminal and not wait:
            assert "checked 3 of 1,234" in err
            assert err.count("--mode sample checks a part") == 1
            assert "\x1b[?25h" in err  # the cursor is back
            assert "checked 4" not in err
        else:
            assert err == ""


class TestSelfTest:
    @pytest.mark.parametrize(("ok", "status"), [(True, 0), (False, 1)])
    def test_status(self, ok, status, monkeypatch, capsys):
        def self_test(progress):
            progress(1, 2)
            result = selftest.SelfTest((1, 1), {"full": 1}, {"full": 0.1})
            result.alarms = [] if ok else ["a false one"]
            return result

        monkeypatch.setattr(selftest, "self_test", self_test)
        assert run("gradcheck", "--self-test") == status
        out, err = capsys.readouterr()
        assert "planted errors" in out
        assert err == ""


class TestInterrupt:
    """Ctrl-C: status 130, at once, without a traceback."""

    def interrupt(self, process):
        process.send_signal(signal.SIGINT)
        asked = time.monotonic()
        out, err = process.communicate(timeout=SECONDS)
        assert process.returncode == 130, err
        assert time.monotonic() - asked < 5
        assert "Traceback" not in out + err
        assert out == ""

    def test_while_checking(self, folder):
        (folder / "slow.py").write_text(SLOW)
        process = start("gradcheck", "slow:slow")
        assert process.stderr.readline() == "imported\n"
        time.sleep(0.5)
        assert process.poll() is None
        self.interrupt(process)

    def test_while_importing(self, folder):
        (folder / "slow.py").write_text(SLOW + "time.sleep(1000)")
        process = start("gradcheck", "slow:slow")
        assert process.stderr.readline() == "imported\n"
        self.interrupt(process)

    def test_closed_pipe(self):
        process = start("gradcheck", "rnn")
        process.stdout.close()
        assert process.stderr.read() == ""
        process.stderr.close()
        process.wait(SECONDS)
