"""What every test runs under: a warm kernel cache, hypothesis profiles, and poisoned memory.

No helper for tests to call lives here: comparing is compare.py's, drawing configurations is
configurations.py's.
"""

import copy
import itertools
import os
import signal
import tempfile
from pathlib import Path

_SCRATCH = Path(tempfile.gettempdir()) / "fastrnn-tests"
# Before fastrnn is imported: a second run finds its kernels compiled. The package adds a digest of
# its sources, so that a stale kernel is never found.
os.environ.setdefault("NUMBA_CACHE_DIR", str(_SCRATCH))
os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", str(_SCRATCH / "hypothesis"))
# A shell has what it starts in the background ignore Ctrl-C, and so would the programs of tests.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

import numpy as np  # noqa: E402
import pytest  # noqa: E402
from hypothesis import settings  # noqa: E402

import fastrnn  # noqa: E402
from fastrnn.engine import buffers, plan, scan, streaming  # noqa: E402
from fastrnn.nn import linear  # noqa: E402
from fastrnn.nn.program import prepare  # noqa: E402
from fastrnn.nn.single_step import SingleStep  # noqa: E402

# deadline=None: the first example of a shape may compile. "ci" draws other sizes at every run.
settings.register_profile("default", deadline=None, derandomize=True, print_blob=True)
settings.register_profile("ci", deadline=None, derandomize=False, database=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config):
    """Return how many processes run the tests: none of their own where files or tests are named.

    So `pytest tests/test_init.py -k one` starts at once, and prints and stops in the debugger.
    More than four would mostly compile the same kernels at the same time.
    """
    if config.args_source is not pytest.Config.ArgsSource.TESTPATHS:
        return 0
    return min(os.cpu_count() or 1, 4)


# Tests of a minute, most of it spent compiling: if they came last, one process would wait for them.
_LONG = ("test_bounds.py", "test_instruction_sets.py")


def pytest_collection_modifyitems(items):
    """Begin with the tests that take longest."""
    items.sort(key=lambda item: item.path.name not in _LONG)


def _poisoned(shape, dtype=float):
    """An array as np.empty's, all bytes ones: NaN, and for integers -1."""
    array = np.empty(shape, dtype)
    array.reshape(-1).view(np.uint8).fill(255)
    return array


@pytest.fixture(autouse=True, scope="session")
def poisoned_memory():
    """Poison all memory that the package takes for kernels to write."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(buffers, "new", _poisoned)
        assert np.isnan(buffers.scratch(np.dtype(np.float32), 3)).all()
        yield


@pytest.fixture
def threads():
    """`set_num_threads`, undone after the test."""
    before = fastrnn.get_num_threads()
    yield fastrnn.set_num_threads
    fastrnn.set_num_threads(before)


@pytest.fixture
def limits(monkeypatch):
    """Set limits of plan.py, for layers made from now on until the end of the test."""

    def change(**values):
        for name, value in values.items():
            monkeypatch.setattr(plan, name, value)
        prepare.cache_clear()

    yield change
    monkeypatch.undo()
    prepare.cache_clear()


@pytest.fixture
def runs(monkeypatch):
    """How often the kernels ran for a module of fastrnn.torch, instead of torch's own path."""
    torch = pytest.importorskip("fastrnn.torch.modules")
    count, run, attempt = itertools.count(), torch.autograd.run, torch.single.attempt

    def counted(*args):
        next(count)
        return run(*args)

    def attempted(*args):
        result = attempt(*args)
        if result is not None:
            next(count)
        return result

    monkeypatch.setattr(torch.autograd, "run", counted)
    monkeypatch.setattr(torch.single, "attempt", attempted)
    return lambda: next(copy.copy(count))


@pytest.fixture
def no_kernel(monkeypatch):
    """Make every call that would run a kernel fail the test."""

    def ran(*args, **kwargs):
        raise AssertionError("a kernel would have run")

    for owner, names in (
        (scan, ("forward", "backward")),
        (streaming, ("start_stream", "step_stream")),
        (SingleStep, ("forward", "backward")),
        (linear, ("_forward", "_backward")),
    ):
        for name in names:
            monkeypatch.setattr(owner, name, ran)
