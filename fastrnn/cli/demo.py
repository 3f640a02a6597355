"""What `fastrnn demo` does: finds a demo, runs it, and shows its results.

The arguments are parsed in app.py, and the demos are in demos/.
"""

import contextlib
import difflib
import importlib
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from rich import box, progress
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fastrnn import files, plotting
from fastrnn.demos import DEMOS
from fastrnn.demos.result import ProgressReport, Result

_PLOT = "demo: --plot"  # in messages
DemoFunction = Callable[..., Result]


def show_list(picture: Path | None) -> None:
    """Print the names of all demos, and what they show.

    Args:
        picture: the value of --plot.

    Raises:
        ValueError: a picture is asked for, and the list has none.
    """
    if picture is not None:
        raise ValueError(f"--plot needs the name of a demo: one of {', '.join(DEMOS)}")
    table = Table("fastrnn demo", "learns", "model", box=box.SIMPLE_HEAD, pad_edge=False)
    for name, (model, line) in DEMOS.items():
        table.add_row(Text(name, "bold"), Text(line), Text(model))
    Console().print(table)


def find(name: str, picture: Path | None, seed: int) -> DemoFunction:
    """Return the function `run` of a demo, after all its options have been checked.

    Args:
        name: one of DEMOS.
        picture: the file to draw, or None.
        seed: seed of the demo.

    Raises:
        ValueError: there is no such demo, a package is missing, or an option is out of range.
        OSError: the picture cannot be written.
    """
    if name not in DEMOS:
        close = difflib.get_close_matches(name, DEMOS, 1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise ValueError(f"there is no demo {name!r}{hint}; the demos are {', '.join(DEMOS)}")
    if seed < 0:
        raise ValueError(f"--seed must be a whole number of at least 0; got {seed}")
    try:
        if picture is not None:
            plotting.format_of(picture, _PLOT)
            files.check(picture)
        return importlib.import_module(f"fastrnn.demos.{name}").run
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package == "fastrnn":
            raise
        raise ValueError(f'demo {name} needs {package}: pip install "fastrnn[demo]"') from None


def timed(
    run: DemoFunction, quick: bool, seed: int, report: ProgressReport
) -> tuple[Result, float]:
    """Return the result of a demo, and the seconds it took.

    Args:
        run: the demo.
        quick: run its short form, in seconds, with poorer figures.
        seed: seed of everything random.
        report: called with its progress.
    """
    start = time.perf_counter()
    result = run(quick=quick, seed=seed, progress=report)
    return result, time.perf_counter() - start


@contextlib.contextmanager
def progress_bar() -> Iterator[ProgressReport]:
    """Show progress on a terminal, on stderr; it is erased at the end."""
    bar = progress.Progress(
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.TaskProgressColumn(),
        progress.TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    task = bar.add_task("starting", total=None)

    def report(what: str, done: int, total: int) -> None:
        bar.update(task, description=what, completed=done, total=total)

    with bar if bar.console.is_terminal else contextlib.nullcontext():
        yield report


def show(result: Result, seconds: float, picture: Path | None) -> None:
    """Print the result of a demo, and draw it.

    Args:
        result: the result.
        seconds: duration of the demo.
        picture: the file to draw it in, or None.

    Raises:
        OSError: the file cannot be written.
    """
    console = Console()
    console.print(Text(f"\n{result.title}", "bold"))
    console.print(table_of(result))
    if result.text:
        console.print(Text(f"{result.text}\n"), soft_wrap=True)
    print(f"{seconds:.0f} s", flush=True)
    if picture is not None:
        plotting.save(picture, _PLOT, result.draw)
        print(f"the picture is in {picture}", file=sys.stderr)


def table_of(result: Result) -> Table:
    """Return the table of results: a row for each measure, a column for each method.

    The best value of a row is bold.

    Args:
        result: the result of a demo.
    """
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("")
    columns = list(dict.fromkeys(method for m in result.measures for method in m.values))
    for method in columns:
        table.add_column(Text(method), justify="right")
    for measure in result.measures:
        arrow = "\u2191" if measure.higher else "\u2193"
        cells = [
            Text(format(measure.values[method], measure.form), "bold" * (method == measure.best))
            if method in measure.values
            else Text("")
            for method in columns
        ]
        table.add_row(Text(f"{measure.name} {arrow}"), *cells)
    return table
