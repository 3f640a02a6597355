"""The first call in a new process: import, load or compile, run forward and back.

python -m pytest bench/bench_first.py
"""

import subprocess
import sys

import pytest

_PROGRAM = """
import numpy as np, fastrnn
layer = getattr(fastrnn, "{kind}")(16, 16)
x = np.zeros((5, 2, 16), np.float32)
(y, _), pullback = layer.vjp(x)
pullback(y)
"""


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
@pytest.mark.parametrize("cache", ["cold", "warm"])
def bench_first_call(benchmark, monkeypatch, tmp_path, cache, kind):
    folder = iter(range(100))

    def new_process():
        subprocess.run([sys.executable, "-c", _PROGRAM.format(kind=kind)], check=True)

    def cold():
        monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / f"{next(folder)}"))

    setup = cold if cache == "cold" else None
    cold()
    if cache == "warm":
        new_process()
    benchmark.pedantic(new_process, setup=setup, rounds=3)
