"""Every cell at the usual shapes (cases/shapes.py), in every mode, by every contender.

python -m pytest bench/bench_shapes.py --benchmark-group-by=param:mode,param:cell,param:shape
"""

import pytest

from bench.cases.contenders import CONTENDERS
from bench.cases.problems import MODES
from bench.cases.shapes import SHAPES
from fastrnn.cells import CELLS


@pytest.mark.parametrize("contender", [name for name in CONTENDERS if name != "reference"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("cell", [cell.name for cell in CELLS])
@pytest.mark.parametrize("mode", MODES)
def bench_shapes(timed, mode, cell, shape, contender):
    timed(contender, cell, SHAPES[shape], mode)
