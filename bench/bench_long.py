"""Gradients of sequences of up to a million steps (cases/long_sequences.py).

python -m pytest bench/bench_long.py --benchmark-group-by=param:steps
python -m bench long             # each in a process of its own, with its memory
"""

import pytest

from bench.cases.long_sequences import CONTENDERS, TIMES, arrays, ready


@pytest.mark.parametrize("contender", CONTENDERS)
@pytest.mark.parametrize("steps", TIMES)
def bench_long(benchmark, steps, contender):
    if "torch" in contender:
        pytest.importorskip("torch")
    if contender.startswith("torch") and steps > 30_000:
        pytest.skip("takes torch minutes")
    benchmark.pedantic(ready(contender), arrays(steps), rounds=3, iterations=1, warmup_rounds=1)
