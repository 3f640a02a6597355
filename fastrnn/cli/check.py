"""What `fastrnn gradcheck` does with a target: checks it, shows progress, and shows the report.

The arguments are parsed in app.py, and the target is found in check_target.py.
"""

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich import progress
from rich.console import Console
from rich.text import Text

from fastrnn import checks, plotting
from fastrnn.checking import plot
from fastrnn.checking.check import gradcheck
from fastrnn.checking.coordinates import ProgressCallback
from fastrnn.checking.report import GradcheckReport
from fastrnn.cli.check_target import users_code

_MOMENT = 1.0  # seconds before the bar appears
_LONG = 60.0  # seconds left that make it mention the faster modes
_FASTER = "This will take long: --mode sample checks a part, --mode project random directions."
_STYLES = {"right": "green", "wrong": "bold red", "worst": "bold", "hint": "bold yellow"}


def check(name: str, target: Any, inputs: Any, **options: Any) -> GradcheckReport:
    """Check a gradient and return the report, whether it is right or wrong.

    Args:
        name: name of the target, for messages.
        target: as for gradcheck.
        inputs: as for gradcheck.
        options: as for gradcheck.

    Raises:
        ValueError: the target raises, or gradcheck refuses it.
    """
    with users_code(name):
        return gradcheck(target, inputs, raise_exception=False, **options)


def prepare(json: Path | None, picture: Path | None) -> None:
    """Refuse files that cannot be written, before the check, which may take long.

    Args:
        json: as for show.
        picture: as for show.

    Raises:
        OSError: a file cannot be written.
        ValueError: the picture's format is unknown, or matplotlib is not installed.
    """
    if picture is not None:
        try:
            plotting.format_of(picture, plot.CALLER)
        except ModuleNotFoundError as error:
            raise ValueError(str(error)) from None
    for path in (json, picture):
        if path is not None and str(path) != "-":
            checks.writable(path)


def show(report: GradcheckReport, json: Path | None, picture: Path | None) -> None:
    """Print a report, in colour on a terminal unless NO_COLOR is set, and write files.

    Args:
        report: the report.
        json: the file to write it to as JSON, or None; "-": stdout, in place of the table.
        picture: the file to draw it in, or None.

    Raises:
        OSError: a file cannot be written.
    """
    if str(json) == "-":
        print(report.to_json(indent=2))
    else:
        console = Console(color_system=None if os.environ.get("NO_COLOR") else "auto")
        for kind, line in report.lines():
            console.print(Text(line, _STYLES.get(kind, "")), soft_wrap=True)
    if json is not None and str(json) != "-":
        json.write_text(report.to_json(indent=2) + "\n", encoding="utf-8")
        print(f"the report is in {json}", file=sys.stderr)
    if picture is not None:
        report.plot(picture)
        print(f"the picture is in {picture}", file=sys.stderr)


@contextlib.contextmanager
def progress_bar(mode: str = "") -> Iterator[ProgressCallback]:
    """Show progress on a terminal, on stderr, after a moment; it is erased at the end.

    Args:
        mode: mode of the check; if "full" will take long, the faster modes are mentioned.
    """
    bar = progress.Progress(
        progress.TextColumn("checked {task.completed:,} of {task.total:,}"),
        progress.BarColumn(),
        progress.TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    start, task, over = time.monotonic(), None, False

    def report(done: int, total: int) -> None:
        nonlocal task
        passed = time.monotonic() - start
        if over or passed < _MOMENT or not bar.console.is_terminal:
            return
        if task is None:
            bar.start()
            task = bar.add_task("", total=total)
            if mode == "full" and passed / done * (total - done) > _LONG:
                bar.console.print(_FASTER, soft_wrap=True)
        bar.update(task, completed=done, total=total)

    try:
        yield report
    finally:  # also at Ctrl-C, when the check itself still runs for a moment
        over = True
        if task is not None:
            bar.stop()
