"""Every cell at the shapes people use (shapes.py), forward and training.

python -m pytest bench/bench_shapes.py --benchmark-group-by=param:mode,param:cell,param:shape
"""

import pytest
from contenders import CONTENDERS
from shapes import SHAPES

from fastrnn.cells import CELLS


@pytest.mark.parametrize("contender", [name for name in CONTENDERS if name != "reference"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("cell", [cell.name for cell in CELLS])
@pytest.mark.parametrize("mode", ["forward", "train"])
def bench_shapes(measure, mode, cell, shape, contender):
    measure(contender, cell, SHAPES[shape], mode)
