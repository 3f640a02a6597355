"""The command line as a user meets it: run in this process, or started as one of its own."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import fastrnn
from fastrnn.cli.app import main

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(fastrnn.__file__).parents[1])}
SECONDS = 60  # far more than anything here takes, the compiler included
# A test runner in the background ignores Ctrl-C, and what it starts would inherit that.
START = """
import runpy, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
runpy.run_module("fastrnn", run_name="__main__")
"""


def run(*arguments):
    """Run a command in this process, and return its exit status."""
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


def interrupt(process):
    """Press Ctrl-C: status 130 within seconds, no traceback; return what it had printed."""
    process.send_signal(signal.SIGINT)
    pressed = time.monotonic()
    try:
        out, err = process.communicate(timeout=SECONDS)
    finally:
        process.kill()  # if it did not end
    assert process.returncode == 130, err
    assert time.monotonic() - pressed < 5
    assert "Traceback" not in out + err
    return out, err
