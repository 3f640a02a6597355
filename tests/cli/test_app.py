"""The command line: arguments, exit statuses, errors of one line, and what is missing."""

from importlib import metadata
from pathlib import Path

import pytest

import fastrnn
from tests.support.commands import SMALL, python, run

SMALL_BATCH = ["--batch", "2"]


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
        ("arguments", "message"),
        [
            (["train", "--hidden", "many"], "Invalid value for '--hidden'"),
            (["train", "--wide"], "No such option"),
            (["sample"], "Missing argument"),
            (["dance"], "No such command 'dance'"),
            (["info", "more"], "unexpected extra argument"),
            (["-x"], "No such option"),
        ],
        ids=str,
    )
    def test_usage(self, arguments, message, capsys):
        """One line, too."""
        assert run(*arguments) == 2
        err = capsys.readouterr().err
        assert err.startswith("fastrnn: ")
        assert message in err
        assert "Usage: fastrnn" in err
        assert err.endswith(" --help.\n")
        assert err.count("\n") == 1

    @pytest.mark.parametrize(
        "arguments",
        [
            ["gradcheck", "lstm", "--layers", str(10**9)],
            ["train", "{text}", "--layers", "1" * 20, "--seq-len", "4"],
        ],
        ids=["gradcheck", "train"],
    )
    def test_sizes_that_cannot_be(self, arguments, text, capsys):
        assert run(*(argument.format(text=text) for argument in arguments), *SMALL_BATCH) == 2
        err = capsys.readouterr().err
        assert err.startswith("fastrnn: ")
        assert err.count("\n") == 1


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
    assert run() == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert all(command in out for command in ("train", "sample", "info"))


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
