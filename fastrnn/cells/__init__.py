"""WHAT one time step computes: one file per recurrent unit, none of which imports another.

To add a cell, say `mgu`:

1. fastrnn/cells/mgu.py: the equations and their source as docstring, `equations`, `step`,
   `step_backward`, and CELL = bind("mgu", ...). lstm.py is the model.
2. Here: `mgu.CELL` in CELLS. From then on the oracle comparison, the gradient check, the bench
   and the conventions cover it: they are parametrised over CELLS.
3. fastrnn/nn/layers.py: `class MGU(RecurrentLayer)`: its `cell`, its arguments and their docstring.
   From then on `RNNClassifier(cell="mgu")`, `fastrnn train --cell mgu` and `fastrnn gradcheck mgu`
   know it too (nn/registry.py).
4. fastrnn/_public.py: the name.
"""

from fastrnn.cells import gru, lstm, rnn
from fastrnn.engine.cell import Cell

CELLS: tuple[Cell, ...] = (rnn.TANH, rnn.RELU, lstm.CELL, gru.CELL)

__all__ = ["CELLS", "Cell"]
