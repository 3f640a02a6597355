"""What `fastrnn gradcheck` checks: a layer made from options, or a user's module:function.

Every error of the arguments or of the user's own code becomes a ValueError of one line. The check
itself, and how its report is shown, is in check.py.
"""

import contextlib
import difflib
import functools
import importlib
import inspect
import os
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fastrnn import checks
from fastrnn.cells import CELLS
from fastrnn.checking.targets.fastrnn import members_of
from fastrnn.nn import layers
from fastrnn.nn.arguments import bare
from fastrnn.nn.layer import RecurrentLayer

_PACKAGE = str(Path(checks.__file__).parent) + os.sep
# Folders whose code is not the user's.
_NOT_THEIRS = (
    _PACKAGE,
    *(sysconfig.get_path(name) + os.sep for name in ("stdlib", "purelib", "platlib")),
)
_MINIMUM = {  # option -> its smallest value
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
class LayerOptions:
    """The layer to make and the size of its input; each field is an option of the command."""

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
    """Return every layer by its name, and by the names of its cells: rnn, and rnn_relu."""
    names = [cell.name.partition("_") for cell in CELLS]
    found: dict[str, Any] = {kind: getattr(layers, kind.upper()) for kind, *_ in names}
    for kind, _, nonlinearity in names:
        if nonlinearity:
            name = f"{kind}_{nonlinearity}"
            found[name] = functools.partial(found[kind], nonlinearity=nonlinearity)
    return found


LAYERS = _layers()


def check_range(given: dict[str, Any]) -> None:
    """Refuse numbers that are too small.

    Args:
        given: option -> its value; None: not given.

    Raises:
        ValueError: a number is below its minimum.
    """
    for name, minimum in _MINIMUM.items():
        value = given.get(name)
        if value is not None and value < minimum:
            raise ValueError(f"--{name} must be a whole number of at least {minimum}; got {value}")


def find(target: str | None, given: dict[str, Any], seed: int) -> tuple[Any, Any]:
    """Return the target to check, and its inputs.

    Args:
        target: one of LAYERS, or module:function.
        given: the fields of LayerOptions that were given.
        seed: seed of a layer and its inputs.

    Raises:
        ValueError: there is no such target, it has no inputs, or an option does not fit it.
    """
    known = ", ".join(LAYERS)
    if target is None:
        raise ValueError(
            f"gradcheck: what? One of {known}; or your own, module:function; or --self-test"
        )
    if target.lower() in LAYERS:
        return _make(target.lower(), LayerOptions(**given), seed)
    if ":" not in target:
        raise ValueError(
            f"gradcheck: the target is {target!r}; expected one of {known}, or your own, "
            "module:function"
        )
    if given:
        option = next(iter(given)).replace("_", "-")
        raise ValueError(f"--{option} is for {known}; {target} has inputs of its own: leave it out")
    return _imported(target)


def _make(name: str, sizes: LayerOptions, seed: int) -> tuple[RecurrentLayer, tuple]:
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
    _, zeros = made(x[:1])  # has the shape of a state
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
    with users_code(f"importing {module_name}"):
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
        with users_code(f"the inputs of {target}"):
            inputs = inputs()
    if inputs is None:
        raise ValueError(
            f"gradcheck: {target} has no inputs; write in {module.__name__}: {beside} = (x, ...), "
            f"a tuple of arrays, or a function that returns it (or {name}.inputs = ...)"
        )
    return inputs


@contextlib.contextmanager
def users_code(what: str) -> Iterator[None]:
    """Run the user's code, and make any exception a ValueError of one line.

    Args:
        what: is being done, for the message.
    """
    try:
        yield
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit, too: e.g. a script without a main guard
        raise ValueError(_one_line(what, error)) from None


def _one_line(what: str, error: BaseException) -> str:
    """Return an error as one line: the package's own unchanged, others with what and where."""
    try:
        text = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    except Exception:  # it cannot even say what it is
        text = ""
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [frame for frame in frames if not frame.filename.startswith(("<", *_NOT_THEIRS))]
    if not theirs and frames[-1].filename.startswith(_PACKAGE):
        return text
    place = f" ({Path(theirs[-1].filename).name}, line {theirs[-1].lineno})" if theirs else ""
    return f"{what}: {type(error).__name__}{text and ': '}{text}{place}"
