"""Time as sequences grow from 100 to 100,000 steps, B = 1, I = H = 64, for every cell.

python -m pytest bench/bench_growth.py --benchmark-group-by=param:mode,param:cell,param:shape
"""

import pytest

from bench.cases.contenders import CONTENDERS
from bench.cases.shapes import GROWTH
from fastrnn.cells import CELLS


@pytest.mark.parametrize("contender", CONTENDERS)
@pytest.mark.parametrize("shape", GROWTH, ids=lambda shape: f"T{shape.time:06}")
@pytest.mark.parametrize("cell", [cell.name for cell in CELLS])
@pytest.mark.parametrize("mode", ["forward", "train"])
def bench_growth(timed, mode, cell, shape, contender):
    if contender != "fastrnn" and shape.time > 10_000:
        pytest.skip("takes the others minutes")
    timed(contender, cell, shape, mode)
