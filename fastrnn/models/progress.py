"""What a fit shows of its progress: a bar, a call of the user's function, or nothing.

What `fastrnn train` shows is in cli/train.py.
"""

import contextlib
from collections.abc import Callable, Iterator

from fastrnn.models.options import Options

History = dict[str, list[float]]


@contextlib.contextmanager
def reporting(options: Options, epochs: int) -> Iterator[Callable[[History], None]]:
    """Give a function that is to be called with the history after each epoch.

    Args:
        options: `verbose` and `epochs` of them.
        epochs: done already.

    Raises:
        ModuleNotFoundError: verbose=True, and the extra `cli` is missing.
    """
    if callable(options.verbose):
        tell = options.verbose
        yield lambda history: tell(len(history["loss"]), options.epochs)
        return
    if not options.verbose:
        yield lambda history: None
        return
    try:
        from rich import progress
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            'verbose=True needs rich: pip install "fastrnn[cli]"', name=error.name
        ) from None
    bar = progress.Progress(
        progress.TextColumn("epoch {task.completed} of {task.total}"),
        progress.BarColumn(),
        progress.TextColumn("{task.fields[measured]}"),
        progress.TimeRemainingColumn(),
    )
    task = bar.add_task("", total=options.epochs, completed=epochs, measured="compiling")

    def report(history: History) -> None:
        named = (("loss", "loss"), ("validation_loss", "validation"))
        measured = [f"{text} {history[name][-1]:.4g}" for name, text in named if name in history]
        bar.update(task, advance=1, measured=", ".join(measured))

    with bar:
        yield report
