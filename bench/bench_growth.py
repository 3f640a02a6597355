"""Time as sequences grow from 32 to 16,384 steps, B = 1, I = H = 64, for every cell.

python -m pytest bench/bench_growth.py --benchmark-group-by=param:mode,param:cell,param:shape
"""

import pytest
from contenders import CONTENDERS
from shapes import GROWTH

from fastrnn.cells import CELLS


@pytest.mark.parametrize("contender", CONTENDERS)
@pytest.mark.parametrize("shape", GROWTH, ids=lambda shape: f"T{shape.time:05}")
@pytest.mark.parametrize("cell", [cell.name for cell in CELLS])
@pytest.mark.parametrize("mode", ["forward", "train"])
def bench_growth(measure, mode, cell, shape, contender):
    measure(contender, cell, shape, mode)
