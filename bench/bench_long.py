"""Gradients of sequences of up to a million steps, with and without checkpoints (long.py).

python -m pytest bench/bench_long.py --benchmark-group-by=param:steps
python -m bench long             # each in a process of its own, with its memory
"""

import pytest

from bench.long import TIMES, WHO, arrays, ready


@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize("steps", TIMES)
def bench_long(benchmark, steps, who):
    if "torch" in who:
        pytest.importorskip("torch")
    if who.startswith("torch") and steps > 30_000:
        pytest.skip("takes torch minutes")
    benchmark.pedantic(ready(who), arrays(steps), rounds=3, iterations=1, warmup_rounds=1)
