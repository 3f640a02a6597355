"""The command line as a user meets it: in this process, or in one that can be interrupted."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import fastrnn
from fastrnn.cli.app import main

SMALL = ["--hidden", "5", "--batch", "3", "--seq-len", "4"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(fastrnn.__file__).parents[1])}
SECONDS = 60  # far more than anything here takes, the compiler included
# A test runner in the background ignores Ctrl-C, and what it starts would inherit that.
START = """
import runpy, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
runpy.run_module("fastrnn", run_name="__main__")
"""


def run(*arguments):
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    return stop.value.code


def start(*arguments, program=START):
    """Start a command, or another program, in a process that Ctrl-C can reach."""
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )


def python(code):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=ENVIRONMENT, check=False
    )


def interrupt(process):
    """Send Ctrl-C to a process; return what it then printed."""
    process.send_signal(signal.SIGINT)
    asked = time.monotonic()
    try:
        out, err = process.communicate(timeout=SECONDS)
    finally:
        process.kill()  # if it did not end
    assert process.returncode == 130, err
    assert time.monotonic() - asked < 5
    assert "Traceback" not in out + err
    return out, err
