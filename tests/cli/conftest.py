"""What the tests of the command line share: a text, a model file, and a user's module."""

import itertools
import shutil
import sys
from pathlib import Path

import pytest

from tests.support.commands import SMALL, run

NUMBERS = itertools.count()


@pytest.fixture
def text(tmp_path):
    """A file of text to train on."""
    path = tmp_path / "text"
    path.write_text("the cat sat on the mat, and [bold]that[/bold] was that.\n" * 10)
    return str(path)


@pytest.fixture
def model(text, tmp_path, capsys):
    """A file with a model that has been trained for three steps."""
    path = str(tmp_path / "m")
    assert run("train", text, *SMALL, "--steps", "3", "--out", path) == 0
    capsys.readouterr()
    return path


@pytest.fixture
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
def checks(monkeypatch):
    """What would be checked, (name, target, inputs, options); nothing is, and all is right."""
    from fastrnn.checking import GradcheckReport
    from fastrnn.cli import check as command

    calls = []

    def check(name, target, inputs, **options):
        calls.append((name, target, inputs, options))
        return GradcheckReport(name, "layer", "", "full", 0)

    monkeypatch.setattr(command, "check", check)
    return calls
