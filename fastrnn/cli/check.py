"""What `fastrnn gradcheck` does: finds the target, checks it, shows the report.

The arguments are parsed in `__main__`, and what a check is, is gradcheck's. Whatever is wrong with
the arguments or with the user's own code is a ValueError of one line.
"""

import contextlib
import difflib
import functools
import importlib
import inspect
import os
import sys
import sysconfig
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich import progress
from rich.console import Console
from rich.text import Text

from fastrnn import checks, plotting
from fastrnn.cells import CELLS
from fastrnn.checking import plot
from fastrnn.checking.check import gradcheck
from fastrnn.checking.coordinates import Progress
from fastrnn.checking.report import GradcheckReport
from fastrnn.checking.targets.fastrnn import members_of
from fastrnn.nn.arguments import bare
from fastrnn.nn.layer import RecurrentLayer

_PACKAGE = str(Path(checks.__file__).parent) + os.sep
# Where code lies that is not the user's.
_NOT_THEIRS = (
    _PACKAGE,
    *(sysconfig.get_path(name) + os.sep for name in ("stdlib", "purelib", "platlib")),
)
_MOMENT, _LONG = 1.0, 60.0  # seconds: before the bar appears; to go, for a word about modes
_FASTER = "This will take long: --mode sample checks a part, --mode project random directions."
_STYLES = {"right": "green", "wrong": "bold red", "worst": "bold", "hint": "bold yellow"}
_LEAST = {
    "input": 1,
    "hidden": 1,
    "seq": 1,
    "batch": 1,
    "layers": 1,
    "samples": 1,
    "projections": 1,
    "proj": 0,
    "seed": 0,
}


@dataclass(frozen=True)
class Sizes:
    """The layer that is made and what it reads: each field is an option of `fastrnn gradcheck`."""

    input: int = 4
    hidden: int = 5
    seq: int = 7
    batch: int = 3
    layers: int = 1
    bidirectional: bool = False
    proj: int = 0
    dropout: float = 0.0
    lengths: bool = False
    one_hot: bool = False
    dtype: str = "float64"


def _layers() -> dict[str, Callable[..., RecurrentLayer]]:
    """Return every layer by its name, and by those of its cells: rnn, and rnn_relu."""
    found: dict[str, Any] = {
        kind.__name__.lower(): kind for kind in RecurrentLayer.__subclasses__()
    }
    for cell in CELLS:
        kind, _, nonlinearity = cell.name.partition("_")
        if nonlinearity:
            found[cell.name] = functools.partial(found[kind], nonlinearity=nonlinearity)
    return found


LAYERS = _layers()


def in_range(asked: dict[str, Any]) -> None:
    """Refuse numbers that are too small.

    Args:
        asked: options by their names; None: not given.

    Raises:
        ValueError: one is.
    """
    for name, least in _LEAST.items():
        value = asked.get(name)
        if value is not None and value < least:
            raise ValueError(f"--{name} must be a whole number of at least {least}; got {value}")


def found(target: str | None, asked: dict[str, Any], seed: int) -> tuple[Any, Any]:
    """Return what is to be checked, and its inputs.

    Args:
        target: one of LAYERS, or module:function.
        asked: the fields of Sizes that were given.
        seed: of a layer and its inputs.

    Raises:
        ValueError: there is no such target, it has no inputs, or an option does not fit it.
    """
    known = ", ".join(LAYERS)
    if target is None:
        raise ValueError(
            f"gradcheck: what? One of {known}; or your own, module:function; or --self-test"
        )
    if target.lower() in LAYERS:
        return _made(target.lower(), Sizes(**asked), seed)
    if ":" not in target:
        raise ValueError(
            f"gradcheck: the target is {target!r}; expected one of {known}, or your own, "
            "module:function"
        )
    if asked:
        option = next(iter(asked)).replace("_", "-")
        raise ValueError(f"--{option} is for {known}; {target} has inputs of its own: leave it out")
    return _imported(target)


def _made(name: str, sizes: Sizes, seed: int) -> tuple[RecurrentLayer, tuple]:
    """Return a layer with random weights, and a random input and state."""
    layer, options = LAYERS[name], {}
    if sizes.dtype not in [str(dtype) for dtype in checks.FLOATS]:
        raise ValueError(
            f"--dtype must be one of {', '.join(map(str, checks.FLOATS))}; got {sizes.dtype!r}"
        )
    if sizes.proj:
        if "proj_size" not in inspect.signature(layer).parameters:
            raise ValueError(f"--proj: {name} has no projection; leave it out, or check an lstm")
        options["proj_size"] = sizes.proj
    if sizes.dropout and sizes.layers == 1:
        raise ValueError("--dropout acts between layers; give --layers of at least 2")
    made = layer(
        sizes.input,
        sizes.hidden,
        sizes.layers,
        bidirectional=sizes.bidirectional,
        dropout=sizes.dropout,
        dtype=np.dtype(sizes.dtype),
        seed=seed,
        **options,
    )
    random, shape = np.random.default_rng(seed), (sizes.seq, sizes.batch)
    if sizes.one_hot:
        x = random.integers(0, sizes.input, shape)
    else:
        x = random.standard_normal((*shape, sizes.input)).astype(made.dtype)
    lengths = None
    if sizes.lengths:
        lengths = random.integers(0, sizes.seq + 1, sizes.batch)
        lengths[0] = sizes.seq
    _, zeros = made(x[:1])  # of the shape that a state has
    state = tuple(random.standard_normal(z.shape).astype(z.dtype) for z in members_of(zeros))
    return made, (x, bare(state), lengths)


def _imported(target: str) -> tuple[Any, Any]:
    """Return the user's own target and its inputs; the current folder is importable."""
    module_name, _, name = target.partition(":")
    words = [*module_name.split("."), *name.split(".")]
    if module_name.endswith(".py") or not all(word.isidentifier() for word in words):
        raise ValueError(
            f"gradcheck: the target is {target!r}; expected module:function as Python would import "
            "it, e.g. mymodule:step for the function step in mymodule.py"
        )
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    with _users_code(f"importing {module_name}"):
        try:
            module = importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            if not error.name or not f"{module_name}.".startswith(f"{error.name}."):
                raise
            raise ValueError(
                f"gradcheck: there is no module {error.name}, neither in this folder nor installed"
            ) from None
    value: Any = module
    for part in name.split("."):
        if not hasattr(value, part):
            near = difflib.get_close_matches(part, dir(value), 1)
            also = f"; did you mean {near[0]}?" if near else ""
            raise ValueError(f"gradcheck: {module_name} has no {name}{also}")
        value = getattr(value, part)
    return value, _inputs(target, module, value, name.rpartition(".")[2])


def _inputs(target: str, module: Any, value: Any, name: str) -> Any:
    """Return NAME_inputs of the module, or else the attribute `inputs` of the target."""
    beside = f"{name}_inputs"
    inputs = getattr(module, beside, getattr(value, "inputs", None))
    if callable(inputs):
        with _users_code(f"the inputs of {target}"):
            inputs = inputs()
    if inputs is None:
        raise ValueError(
            f"gradcheck: {target} has no inputs; write in {module.__name__}: {beside} = (x, ...), "
            f"a tuple of arrays, or a function that returns it (or {name}.inputs = ...)"
        )
    return inputs


def check(name: str, target: Any, inputs: Any, **options: Any) -> GradcheckReport:
    """Check a gradient and return the report, whether it is right or wrong.

    Args:
        name: of the target, for messages.
        target: as for gradcheck.
        inputs: as for gradcheck.
        options: as for gradcheck.

    Raises:
        ValueError: the target raises, or gradcheck refuses it.
    """
    with _users_code(name):
        return gradcheck(target, inputs, raise_exception=False, **options)


@contextlib.contextmanager
def _users_code(what: str) -> Iterator[None]:
    """Make one line of any exception, as it may come from code that is not ours."""
    try:
        yield
    except (Exception, SystemExit) as error:  # SystemExit: a script without a main guard, say
        raise ValueError(_told(what, error)) from None


def _told(what: str, error: BaseException) -> str:
    """Return an error in one line: the package's own as it is, others with what and where."""
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [frame for frame in frames if not frame.filename.startswith(("<", *_NOT_THEIRS))]
    if not theirs and frames[-1].filename.startswith(_PACKAGE):
        return text
    place = f" ({Path(theirs[-1].filename).name}, line {theirs[-1].lineno})" if theirs else ""
    return f"{what}: {type(error).__name__}{text and ': '}{text}{place}"


def prepare(json: Path | None, picture: Path | None) -> None:
    """Refuse files that cannot be written, before anything takes long.

    Args:
        json: see show.
        picture: see show.

    Raises:
        OSError: a file cannot be written.
        ValueError: a picture has no known format, or there is no matplotlib.
    """
    if picture is not None:
        try:
            plotting.format_of(picture, plot.WHO)
        except ModuleNotFoundError as error:
            raise ValueError(str(error)) from None
    for path in (json, picture):
        if path is not None and str(path) != "-":
            checks.writable(path)


def show(report: GradcheckReport, json: Path | None, picture: Path | None) -> None:
    """Print a report, in colours where there is a terminal and no NO_COLOR, and write files.

    Args:
        report: what is shown.
        json: a file for all of it; "-": stdout, instead of the table.
        picture: a file for the picture.

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
        json.write_text(report.to_json(indent=2) + "\n")
        print(f"the report is in {json}", file=sys.stderr)
    if picture is not None:
        report.plot(picture)
        print(f"the picture is in {picture}", file=sys.stderr)


@contextlib.contextmanager
def progress_bar(mode: str = "") -> Iterator[Progress]:
    """Show progress on a terminal, on stderr, once a moment has passed; it leaves no trace.

    Args:
        mode: of the check; where "full" will take long, the others are named.
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
    finally:  # also at Ctrl-C, when the check itself goes on for a moment
        over = True
        if task is not None:
            bar.stop()
