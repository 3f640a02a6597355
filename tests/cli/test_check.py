"""`fastrnn gradcheck`: what it prints and writes, its exit statuses, and Ctrl-C."""

import json
import sys
import time

import pytest

import fastrnn
from fastrnn.checking import selftest
from fastrnn.cli import check as command
from fastrnn.cli import check_target
from tests.support.commands import SECONDS, interrupt, run, start

pytestmark = pytest.mark.usefixtures("folder")
SLOW = """
import time
import numpy as np

print("imported", flush=True)

def slow(x):
    time.sleep(0.01)
    return 2 * x, lambda d: 2 * d

slow.inputs = np.ones(100_000)
"""


@pytest.fixture
def wrong_lstm(monkeypatch):
    """Layers whose gradient of the recurrent weight has one gate too large."""
    vjp = fastrnn.LSTM.vjp

    def wrong_vjp(self, *arguments, **options):
        result, pullback = vjp(self, *arguments, **options)

        def pull(*cotangents):
            grads = pullback(*cotangents)
            grads.params["weight_hh_l0"][5:10] *= 1.01
            return grads

        return result, pull

    monkeypatch.setattr(fastrnn.LSTM, "vjp", wrong_vjp)


def strict(text):
    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


class TestLayers:
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

    def test_while_checking(self, folder):
        (folder / "slow.py").write_text(SLOW)
        process = start("gradcheck", "slow:slow")
        assert process.stderr.readline() == "imported\n"
        time.sleep(0.5)
        assert process.poll() is None
        out, _ = interrupt(process)
        assert out == ""

    def test_while_importing(self, folder):
        (folder / "slow.py").write_text(SLOW + "time.sleep(1000)")
        process = start("gradcheck", "slow:slow")
        assert process.stderr.readline() == "imported\n"
        out, _ = interrupt(process)
        assert out == ""

    def test_closed_pipe(self):
        process = start("gradcheck", "rnn")
        process.stdout.close()
        assert process.stderr.read() == ""
        process.stderr.close()
        process.wait(SECONDS)
