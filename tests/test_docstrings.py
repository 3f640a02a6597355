"""Docstrings: the arguments they tell are those of the signature, and their examples run."""

import ast
import doctest
import importlib
import inspect
import re

import pytest

from tests.support.sources import PACKAGE, TREES

COMPILED = ("engine.", "kernels.")  # whose arguments are told beside them


def public():
    """Every public function, class and method of a public module."""
    for module in TREES:
        if module.startswith((*COMPILED, "_")):
            continue
        for node in ast.walk(TREES[module]):
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
                docstring = ast.get_docstring(node) or ""
                if "Args:\n" in docstring:
                    yield pytest.param(node, docstring, id=f"{module}.{node.name}")


@pytest.mark.parametrize(("node", "docstring"), list(public()))
def test_the_arguments_of_a_docstring_are_those_of_the_signature(node, docstring):
    function = node
    if isinstance(node, ast.ClassDef):
        own = [f for f in node.body if isinstance(f, ast.FunctionDef) and f.name == "__init__"]
        if not own:
            return
        function = own[0]
    arguments = function.args
    names = [
        *arguments.posonlyargs,
        *arguments.args,
        arguments.vararg,
        *arguments.kwonlyargs,
        arguments.kwarg,
    ]
    names = [a.arg for a in names if a]
    section = inspect.cleandoc(docstring).partition("Args:\n")[2]
    section = re.split(r"\n\n|\n(?=\S)", section)[0]
    told = re.findall(r"^    (\w[\w, ]*?):", section, re.MULTILINE)
    told = [name for group in told for name in group.split(", ")]
    assert told == [name for name in names if name not in ("self", "cls")]


EXAMPLES = [m for m in TREES if ">>> " in (PACKAGE / (m.replace(".", "/") + ".py")).read_text()]


@pytest.mark.parametrize("module", EXAMPLES)
@pytest.mark.usefixtures("threads")
def test_examples_in_docstrings_run(module, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if module.startswith("torch"):
        pytest.importorskip("torch")
    result = doctest.testmod(importlib.import_module(f"fastrnn.{module}"), report=False)
    assert result.attempted
    assert not result.failed
