"""What `fastrnn info` says: versions, the processor, the instruction set, threads, the cache."""

import contextlib
import os
import platform
from importlib import metadata
from pathlib import Path

import fastrnn
from fastrnn.kernels import jit, tile


def installation() -> str:
    """Return what this installation computes with, a line each."""
    versions = {}
    for package in ("numba", "llvmlite", "numpy", "torch"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    rows = {
        "fastrnn": fastrnn.__version__,
        "python": platform.python_version(),
        "torch": "not installed",
        **versions,
        "processor": _processor(),
        **tile.describe(),
        "threads": f"{fastrnn.get_num_threads()}, of {os.cpu_count()} processors",
        "FASTRNN_NUM_THREADS": os.environ.get("FASTRNN_NUM_THREADS", "not set"),
        "threading layer": "own pool, no Numba threading layer",
        "cache folder": jit.cache_folder() or "none: there is no home; set NUMBA_CACHE_DIR",
    }
    width = max(map(len, rows))
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows.items())


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
