"""What the tests of `fastrnn gradcheck` share: a folder of their own, and a user's module in it."""

import itertools
import shutil
import sys
from pathlib import Path

import pytest

NUMBERS = itertools.count()


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
