"""Python in a fresh process that sees this package: for what a test must not do to its own."""

import os
import subprocess
import sys
from pathlib import Path

import fastrnn

PACKAGE = Path(fastrnn.__file__).parent


def python(code, *arguments, cache=None, check=True, timeout=300, **variables):
    """Run code in a fresh interpreter and return what it prints, without `check` all it does.

    Args:
        code: of the program; `arguments` are in its sys.argv.
        cache: the folder of compiled kernels; None: that of the tests.
        check: assert that it ends well.
        timeout: in seconds, after which it counts as hanging.
        variables: of the environment, in which no other setting of Numba or of threads is left.
    """
    cache = cache or os.environ["NUMBA_CACHE_DIR"]
    env = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("NUMBA_", "FASTRNN_"))
    }
    env |= {"PYTHONPATH": str(PACKAGE.parent), "NUMBA_CACHE_DIR": str(cache), **variables}
    result = subprocess.run(
        [sys.executable, "-P", "-c", code, *map(str, arguments)],
        env=env,
        check=False,
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    assert not check or result.returncode == 0, result.stderr
    return result if not check else result.stdout.strip()
