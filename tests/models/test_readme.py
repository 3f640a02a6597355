"""The README of models: its Python blocks run, in order, and print what they say."""

import re
from pathlib import Path

import pytest

from fastrnn import models


def test_readme_runs(tmp_path, monkeypatch, capsys):
    pytest.importorskip("safetensors")
    path = Path(models.__file__).with_name("README.md")
    if not path.exists():
        pytest.skip("there is no README.md beside the package")
    monkeypatch.chdir(tmp_path)
    names, text = {}, path.read_text()
    for block in re.finditer(r"```python\n(.*?)```", text, re.DOTALL):
        above = "\n" * text[: block.start(1)].count("\n")  # so that errors name README's lines
        exec(compile(above + block[1], str(path), "exec"), names)
    printed = capsys.readouterr().out.splitlines()
    assert set(re.findall(r"^print\(.*\)  # (.*)$", text, re.MULTILINE)) <= set(printed)
    assert len(names["longer"].history_["loss"]) == 60
