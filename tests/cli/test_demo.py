"""`fastrnn demo`: its list, what it prints and draws, its exit statuses, and Ctrl-C."""

import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

import fastrnn
from fastrnn.cli import demo
from fastrnn.demos import DEMOS
from fastrnn.demos.result import Measure, Result
from tests.support.commands import interrupt, run, start
from tests.support.processes import python

FOUND = Result(
    "What was [bold]learnt[/bold]",
    [
        Measure("share", {"network": 0.75, "chance": 0.5}),
        Measure("error", {"network": 1.25, "chance": 1.0, "truth": 0.0}, ".2f", higher=False),
    ],
    lambda figure: figure.subplots().plot([1, 2]),
    "an [example]",
)


@pytest.fixture
def asked(monkeypatch):
    """What a demo was asked for; none is run."""
    calls = []

    def demo(**options):
        options["progress"]("learning", 1, 2)
        calls.append(options)
        return FOUND

    monkeypatch.setitem(sys.modules, "fastrnn.demos.digits", SimpleNamespace(run=demo))
    return calls


def test_every_demo_is_listed_and_has_a_test(capsys):
    package = Path(fastrnn.__file__).parent / "demos"
    shared = {"__init__", "measures", "result"}
    assert {path.stem for path in package.glob("*.py")} - shared == {*DEMOS}
    tests = {path.stem for path in (Path(__file__).parents[1] / "demos").glob("test_*.py")}
    assert {f"test_{name}" for name in DEMOS} <= tests
    assert run("demo") == 0
    out, err = capsys.readouterr()
    assert err == ""
    rows = [line.split()[0] for line in out.splitlines()[3:] if line[1:2].strip()]
    assert rows == [*DEMOS]


def test_what_is_found_is_shown(asked, capsys):
    assert run("demo", "digits", "--seed", "7", "--quick") == 0
    assert (asked[0]["seed"], asked[0]["quick"]) == (7, True)
    out, err = capsys.readouterr()
    assert err == ""
    assert not {"\r", "\x1b"} & set(out)
    lines = [line.split() for line in out.splitlines() if line.strip()]
    assert lines[0] == ["What", "was", "[bold]learnt[/bold]"]
    assert ["network", "chance", "truth"] in lines
    assert ["share", "\u2191", "75.0%", "50.0%"] in lines
    assert ["error", "\u2193", "1.25", "1.00", "0.00"] in lines
    assert lines[-2:] == [["an", "[example]"], ["0", "s"]]


def test_picture(asked, tmp_path, capsys):
    pytest.importorskip("matplotlib", reason="needs the extra: plot")
    path = tmp_path / "found.png"
    assert run("demo", "digits", "--plot", path) == 0
    assert path.read_bytes().startswith(b"\x89PNG")
    assert capsys.readouterr().err == f"the picture is in {path}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["digit"], "there is no demo 'digit'; did you mean digits?; the demos are digits, "),
        (["xyz"], "there is no demo 'xyz'; the demos are digits, "),
        (["digits", "--seed", "-1"], "--seed must be a whole number of at least 0; got -1"),
        (["digits", "--plot", "{tmp}/x.foo"], "expected a name that ends in .png, .svg"),
        (["digits", "--plot", "{tmp}/no/x.png"], "No such file or directory"),
        (["--plot", "x.png"], "--plot needs the name of a demo: one of digits, "),
    ],
)
def test_misuse(arguments, message, asked, tmp_path, capsys):
    if "--plot" in arguments:
        pytest.importorskip("matplotlib", reason="needs the extra: plot")
    assert run("demo", *(argument.format(tmp=tmp_path) for argument in arguments)) == 2
    err = capsys.readouterr().err
    assert err.startswith("fastrnn: ")
    assert message in err
    assert err.count("\n") == 1
    assert not asked
    assert not list(tmp_path.iterdir())


def test_without_the_extra(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    for name in [name for name in sys.modules if name.startswith("sklearn.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "fastrnn.demos.digits", raising=False)
    assert run("demo", "digits") == 2
    err = capsys.readouterr().err
    assert err == 'fastrnn: demo digits needs sklearn: pip install "fastrnn[demo]"\n'


def test_the_list_imports_no_demo():
    packages = "{'sklearn', 'statsmodels', 'babel', 'vaderSentiment', 'matplotlib'}"
    assert python(f"import sys, fastrnn.demos; print({packages} & {{*sys.modules}})") == "set()"


def test_ctrl_c():
    process = start("demo", "generate")
    time.sleep(4)  # importing, reading, compiling or learning: all the same
    assert interrupt(process) == ("", "")


def test_the_best_is_bold():
    cells = [column._cells for column in demo.table_of(FOUND).columns[1:]]
    bold = [[str(cell.style) == "bold" for cell in column] for column in cells]
    assert bold == [[True, False], [False, False], [False, True]]
