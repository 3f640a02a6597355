"""How the command line ends, in processes of their own: Ctrl-C, pipes, full disks, closed streams.

The messages of each command are tested with it.
"""

import os
import signal
import subprocess
import sys
import time

import pytest

from fastrnn.cli.ending import MISUSE, ended, refuse
from tests.support.commands import ENVIRONMENT, SECONDS

# As the console script: nothing of the package but __main__ is loaded when `main` is called.
SCRIPT = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
{before}
from fastrnn.__main__ import main
print("started", flush=True)
main()
"""
posix = pytest.mark.skipif(sys.platform == "win32", reason="no pipes and signals of this kind")


def script(*arguments, before="", **options):
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options}
    command = [sys.executable, "-c", SCRIPT.format(before=before), *arguments]
    return subprocess.Popen(command, **{"env": ENVIRONMENT, **options})


def finished(process):
    out, err = process.communicate(timeout=SECONDS)
    return process.returncode, out, err


@posix
@pytest.mark.parametrize("delay", [0.0, 0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1.2])
def test_ctrl_c_while_it_loads(delay):
    process = script("gradcheck", "lstm", "--hidden", "30")
    assert process.stdout.readline() == "started\n"
    time.sleep(delay)
    process.send_signal(signal.SIGINT)
    asked = time.monotonic()
    assert finished(process) == (130, "", "")
    assert time.monotonic() - asked < 5


@posix
def test_nothing_is_loaded_before_ctrl_c_is_answered():
    """Whatever is loaded first sees that it is."""
    process = script(
        "info",
        before="""
import sys
class First:
    def find_spec(self, name, path=None, target=None):
        if name != "fastrnn" and name != "fastrnn.__main__":
            sys.meta_path.remove(self)
            print(name, signal.getsignal(signal.SIGINT) is signal.default_int_handler)
            raise SystemExit(0)
for name in [name for name in sys.modules if name.startswith("fastrnn")]:
    del sys.modules[name]
sys.meta_path.insert(0, First())
""",
    )
    assert finished(process) == (0, "started\nfastrnn.cli False\n", "")


@posix
def test_where_ctrl_c_is_ignored_it_stays_so():
    """As for a command that a shell has put in the background."""
    process = script("info", before="signal.signal(signal.SIGINT, signal.SIG_IGN)")
    assert process.stdout.readline() == "started\n"
    for _ in range(5):
        process.send_signal(signal.SIGINT)
        time.sleep(0.05)
    assert finished(process)[0] == 0


@posix
@pytest.mark.parametrize("command", ["info", "demo", "--help", "gradcheck rnn --hidden 2"])
def test_nobody_reads(command):
    """Neither 0, for what is lost, nor 1, which says that a gradient is wrong."""
    reading, writing = os.pipe()
    os.close(reading)
    process = script(*command.split(), stdout=writing, before="print = lambda *_, **__: None")
    os.close(writing)
    assert finished(process) == (141, None, "")


@posix
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
@pytest.mark.parametrize("command", ["info", "demo", "--help"])
def test_the_disk_is_full(command):
    with open("/dev/full", "w") as full:
        process = script(command, stdout=full, before="print = lambda *_, **__: None")
        status, _, err = finished(process)
    assert status == MISUSE
    assert err == "fastrnn: [Errno 28] No space left on device\n"


@posix
@pytest.mark.parametrize(("stream", "command", "status"), [(1, "info", 0), (2, "dance", 2)])
def test_closed_streams(stream, command, status):
    code = f'exec {stream}>&-; exec "$0" -m fastrnn {command}'
    done = subprocess.run(
        ["sh", "-c", code, sys.executable],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (status, "", "")


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("FASTRNN_NUM_THREADS", "0"),
        ("FASTRNN_NUM_THREADS", "x"),
        ("NUMBA_CPU_FEATURES", "avx2"),
        ("NUMBA_CACHE_LOCATOR_CLASSES", "Nobody"),
    ],
)
def test_a_variable_that_is_wrong_is_one_line(variable, value):
    process = script("info", env={**ENVIRONMENT, variable: value})
    status, out, err = finished(process)
    assert (status, out) == (MISUSE, "started\n")
    assert err.startswith(f"fastrnn: {variable} is {value!r}")
    assert err.count("\n") == 1


def test_what_cannot_be_loaded_is_one_line(tmp_path):
    """Here Numba's own file of settings."""
    pytest.importorskip("yaml")
    (tmp_path / ".numba_config.yaml").write_text("opt: [\n")
    status, _, err = finished(script("info", cwd=tmp_path))
    assert status == MISUSE
    assert err.startswith("fastrnn: cannot be loaded: ParserError: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("one\n  two"), "one two"),
        (MemoryError(), "MemoryError"),
        (OverflowError("too large"), "too large"),
    ],
    ids=repr,
)
def test_every_error_of_a_user_is_one_line(error, line, capsys):
    with pytest.raises(SystemExit) as stop, ended():
        raise error
    assert stop.value.code == MISUSE
    assert capsys.readouterr() == ("", f"fastrnn: {line}\n")


def test_a_mistake_of_ours_is_told_whole_and_is_not_a_wrong_gradient(capsys):
    with pytest.raises(SystemExit) as stop, ended():
        raise AssertionError("ours")
    assert stop.value.code == MISUSE
    err = capsys.readouterr().err
    assert err.startswith("Traceback")
    assert err.endswith("AssertionError: ours\n")


def test_without_a_stream_for_errors_the_status_is_the_same(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    with pytest.raises(SystemExit) as stop:
        refuse("unheard")
    assert stop.value.code == MISUSE
