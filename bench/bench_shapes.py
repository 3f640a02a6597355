"""Every cell at the shapes people use (shapes.py), in every mode (problems.py), by everyone.

python -m pytest bench/bench_shapes.py --benchmark-group-by=param:mode,param:cell,param:shape
"""

import pytest

from bench.contenders import CONTENDERS
from bench.problems import MODES
from bench.shapes import SHAPES
from fastrnn.cells import CELLS


@pytest.mark.parametrize("contender", [name for name in CONTENDERS if name != "reference"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("cell", [cell.name for cell in CELLS])
@pytest.mark.parametrize("mode", MODES)
def bench_shapes(timed, mode, cell, shape, contender):
    timed(contender, cell, SHAPES[shape], mode)
