"""What every test runs under: a warm kernel cache, hypothesis profiles, and poisoned memory.

No helper for tests to call lives here: comparing is compare.py's, drawing configurations is
configurations.py's.
"""

import os
import tempfile
from pathlib import Path

_SCRATCH = Path(tempfile.gettempdir()) / "fastrnn-tests"
# Before fastrnn is imported: a second run finds its kernels compiled. The package adds a digest of
# its sources, so that a stale kernel is never found.
os.environ.setdefault("NUMBA_CACHE_DIR", str(_SCRATCH))
os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", str(_SCRATCH / "hypothesis"))

import numpy as np  # noqa: E402
import pytest  # noqa: E402
from hypothesis import settings  # noqa: E402

import fastrnn  # noqa: E402
from fastrnn import layers, passes, steps, workspace  # noqa: E402

# deadline=None: the first example of a shape may compile. "ci" draws other sizes at every run.
settings.register_profile("default", deadline=None, derandomize=True, print_blob=True)
settings.register_profile("ci", deadline=None, derandomize=False, database=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


def poisoned(array: np.ndarray) -> np.ndarray:
    """Return the array full of what no result may depend on: NaN, or for integers -1."""
    array.fill(np.nan if array.dtype.kind == "f" else -1)
    return array


class _PoisonedNumpy:
    """NumPy, but for `empty`: for modules whose arrays are written by kernels."""

    def __getattr__(self, name):
        return getattr(np, name)

    @staticmethod
    def empty(shape, dtype=float, order="C"):
        return poisoned(np.empty(shape, dtype, order))


@pytest.fixture(autouse=True, scope="session")
def poisoned_memory():
    """Fill with NaN all memory that the package takes without writing it."""
    empty = workspace.empty
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workspace, "empty", lambda shape, dtype: poisoned(empty(shape, dtype)))
        for module in (passes, layers, steps):
            patch.setattr(module, "np", _PoisonedNumpy())
        yield


@pytest.fixture
def threads():
    """`set_num_threads`, undone after the test."""
    before = fastrnn.get_num_threads()
    yield fastrnn.set_num_threads
    fastrnn.set_num_threads(before)
