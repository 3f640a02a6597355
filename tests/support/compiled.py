"""Compiled functions that live in a test file. Not for the package, which has jit.py."""

import hashlib
from pathlib import Path

from fastrnn.kernels.jit import kernel


def compiled(function):
    """Compile a function of a test, under a name that changes with its file.

    The cache on disk is that of one version of the package and does not know the tests.
    """
    source = Path(function.__code__.co_filename).read_bytes()
    return kernel(function, name=f"{function.__name__}_{hashlib.sha256(source).hexdigest()[:12]}")
