"""What `fastrnn train` and `fastrnn sample` print while they work, and how Ctrl-C saves a model.

The arguments are parsed in app.py, the training is in training_run.py; nothing here computes.
"""

import contextlib
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from rich import progress

from fastrnn.claims import Claim
from fastrnn.cli.character_model import sample
from fastrnn.cli.config import Config
from fastrnn.cli.interrupt import interruptible
from fastrnn.cli.model_file import read
from fastrnn.cli.training_run import Progress, TrainingRun
from fastrnn.files import shown
from fastrnn.models.corpus import read_text


def prepared(options: Mapping[str, Any], texts: Sequence[Path], resume: Path | None) -> TrainingRun:
    """Return a run that has not begun, or the one that a file was saved from.

    Args:
        options: fields of `Config` that are asked for.
        texts: the files to learn; none: Python's own documentation.
        resume: the model file to go on with.

    Raises:
        ValueError: an option is out of its range, or something does not fit.
        OSError: a file cannot be read.
    """
    if resume is None:
        return TrainingRun(Config(**options), read_text(texts))
    return TrainingRun.resume(resume, read_text(texts), options)


def train(run: TrainingRun, path: Path, resume: Path | None, claim: Claim) -> None:
    """Train and save a model, and show what it writes; at Ctrl-C save it, and end the process.

    Args:
        run: the training.
        path: of the model; a model that is there already is kept under another name.
        resume: the file that is being resumed, which `path` may overwrite.
        claim: of `path`, which is given back before the process ends.

    Raises:
        FloatingPointError: training diverged.
        ValueError: there is something else than a model.
        OSError: the file cannot be written.
    """
    _keep_earlier(run, path, resume)  # before Ctrl-C may write
    try:
        _train(run, path)
    except KeyboardInterrupt:
        _stop(run, path, claim)


def write(prompt: str, characters: Iterator[str]) -> None:
    """Print a prompt and what follows, each character at once.

    Args:
        prompt: the start.
        characters: what follows.
    """
    print(prompt, end="", flush=True)
    for character in characters:
        print(character, end="", flush=True)
    print(flush=True)


def _keep_earlier(run: TrainingRun, path: Path, resume: Path | None) -> None:
    """Keep a model that this run would overwrite, unless it is the one being resumed."""
    if not path.is_file() or not path.stat().st_size or (resume and path.samefile(resume)):
        return
    try:
        read(path)
    except ValueError as error:
        raise ValueError(
            f"{shown(path)} exists and is no model, so it is not overwritten; give another --out, "
            f"or remove it ({error})"
        ) from None
    kept = Path(run.save(path, keep=True) or "")
    if not path.is_symlink():
        kept = path.with_name(kept.name)
    print(f"{shown(path)} exists already; it is kept as {shown(kept)}", flush=True)


def _train(run: TrainingRun, path: Path) -> None:
    config, held_out = run.config, len(run.held_out)
    weights = [*run.model.rnn.params.values(), *run.model.head.params.values()]
    print(
        f"{config.cell}, {config.layers} x {config.hidden} hidden units, "
        f"{sum(weight.size for weight in weights):,} weights; "
        f"{len(run.model.vocabulary)} different characters; steps of "
        f"{config.batch} x {config.seq_len} characters. The first one compiles.",
        flush=True,
    )
    with _reporting(run) as report:
        interruptible(lambda: run.train(path, report))
    bits = interruptible(run.validate)
    print(
        f"validation: {bits:.3f} bits per character, on the last {held_out:,} characters\n",
        flush=True,
    )
    interruptible(lambda: write("", sample(run.model)))
    print(f"\nsaved; for more: fastrnn sample {shlex.quote(str(path))}")


def _stop(run: TrainingRun, path: Path, claim: Claim) -> NoReturn:
    """Save what the last completed step left, and end."""
    try:
        with run.lock:  # never given back: the other thread must not save a later step
            run.save(path)
            claim.release()
            print(
                f"\nstopped after step {run.step}, and saved; to go on, give the same text and "
                f"--resume {shlex.quote(str(path))}",
                file=sys.stderr,
            )
            os._exit(130)
    except (OSError, ValueError) as error:
        print(f"\nfastrnn: stopped, but not saved: {error}", file=sys.stderr)
    finally:  # also at a second Ctrl-C
        os._exit(130)


@contextlib.contextmanager
def _reporting(run: TrainingRun) -> Iterator[Callable[[Progress], None]]:
    """Show progress: on a terminal as a bar, elsewhere (a log) as a line for each tenth of it."""
    steps, first = run.config.steps, run.step
    tenth = max(1, (steps - first) // 10)
    bar = progress.Progress(
        progress.TextColumn("step {task.completed} of {task.total}"),
        progress.BarColumn(bar_width=None),
        progress.TextColumn("{task.fields[measured]}"),
        progress.TimeRemainingColumn(),
    )
    terminal = bar.console.is_interactive
    task = bar.add_task("", total=steps, completed=first, measured="compiling")

    def report(now: Progress) -> None:
        measured = (
            f"{now.bits_per_character:.3f} bits per character, "
            f"{now.characters_per_second:,.0f} characters/s"
        )
        if terminal:
            bar.update(task, completed=now.step, measured=measured)
        elif (now.step - first) % tenth == 0 or now.step == steps:
            print(f"step {now.step} of {steps}: {measured}", flush=True)

    with bar if terminal else contextlib.nullcontext():
        yield report
