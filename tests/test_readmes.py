"""What the READMEs promise: their Python runs, links lead somewhere, quoted errors are real."""

import ast
import re
from pathlib import Path

import numpy as np
import pytest

import fastrnn

PACKAGE = Path(fastrnn.__file__).parent
ROOT = PACKAGE.parent
READMES = [ROOT / "README.md", *PACKAGE.rglob("README.md"), *(ROOT / "bench").rglob("README.md")]
READMES = {str(path.relative_to(ROOT)): path for path in sorted(READMES) if path.exists()}
_NONE = pytest.param("", marks=pytest.mark.skip("there is no README.md beside the package"))
every_readme = pytest.mark.parametrize("readme", READMES or [_NONE])


def needs_torch(block):
    """Return whether a block of Python imports or uses torch."""
    nodes = list(ast.walk(ast.parse(block)))
    names = {n.id for n in nodes if isinstance(n, ast.Name)}
    names |= {n.attr for n in nodes if isinstance(n, ast.Attribute)}
    names |= {a.name for n in nodes if isinstance(n, ast.Import) for a in n.names}
    return not names.isdisjoint({"torch", "fastrnn.torch"})


@every_readme
def test_readme_runs(readme, tmp_path, monkeypatch, capsys):
    """The Python blocks of one, in order, each going on where the last one ended.

    `print(...)  # -> text` has to print that.
    """
    text, names = READMES[readme].read_text("utf-8"), {"__name__": "__main__"}
    blocks = list(re.finditer(r"```python\n(.*?)```", text, re.DOTALL))
    assert blocks or readme != "README.md"
    monkeypatch.chdir(tmp_path)
    for block in sorted(blocks, key=lambda block: needs_torch(block[1])):  # these last
        if needs_torch(block[1]):
            pytest.importorskip("torch")
        above = "\n" * text[: block.start(1)].count("\n")  # so that errors name README's lines
        exec(compile(above + block[1], str(READMES[readme]), "exec"), names)
    printed = capsys.readouterr().out.splitlines()
    assert set(re.findall(r"^print\(.*\)  # -> (.*)$", text, re.MULTILINE)) <= set(printed)


@every_readme
def test_links_of_readme_lead_somewhere(readme):
    path = READMES[readme]
    links = re.findall(r"\]\(([^)#]+)\)", path.read_text("utf-8"))
    links = [link for link in links if not link.startswith("http")]
    assert not [link for link in links if not (path.parent / link).exists()]


def _quoted_errors():
    lstm, data = fastrnn.LSTM(10, 64, bidirectional=True), np.random.default_rng(0)
    yield lambda: lstm(data.standard_normal((3, 8, 10)))
    yield lambda: lstm([[[0.0] * 10]])
    yield lambda: lstm(np.array([[1], [2], [12]]))
    x, h_0, c_0 = (np.zeros(s, np.float32) for s in ((3, 8, 10), (1, 8, 64), (2, 8, 64)))
    yield lambda: lstm(x, (h_0, c_0))


def test_readme_quotes_errors_as_they_are():
    if "README.md" not in READMES:
        pytest.skip("there is no README.md beside the package")
    text = READMES["README.md"].read_text("utf-8")
    for call in _quoted_errors():
        with pytest.raises((TypeError, ValueError, IndexError)) as raised:
            call()
        assert f"`{raised.type.__name__}: {raised.value}`" in text
