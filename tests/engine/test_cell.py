"""What a Cell says of itself, and how a pickle finds it. What a step computes: tests/cells."""

import copy
import pickle

from fastrnn.cells import CELLS
from fastrnn.kernels.tile import MAX_VECTORS
from tests.support.configurations import every_cell
from tests.support.processes import python


@every_cell
def test_what_a_cell_says_of_itself(cell):
    assert cell.states[0] == "h"
    assert cell.width % len(cell.gates) == 0
    assert len(cell.gates) <= cell.width <= max(MAX_VECTORS, len(cell.gates))
    assert len(set(cell.gates)) == len(cell.gates)
    assert cell.forward.__name__ == f"{cell.name}_forward"
    assert cell.backward.__name__ == f"{cell.name}_backward"


def test_names_are_unique_and_identifiers():
    names = [cell.name for cell in CELLS]
    assert len(set(names)) == len(names)
    assert all(name.isidentifier() for name in names)


@every_cell
def test_what_is_kept_has_the_names_that_traces_ask_for(cell):
    assert {*cell.saved} >= {*cell.gates, *cell.states[1:]}
    assert len(cell.activations) == len(cell.gates)
    assert {*cell.activations} <= {"sigmoid", "tanh", "relu"}


@every_cell
def test_a_pickle_finds_the_cell_itself(cell):
    """It is one object: a key of caches, with kernels that no pickle holds."""
    assert pickle.loads(pickle.dumps(cell)) is cell
    assert copy.deepcopy(cell) is cell
    assert repr(cell) == f"Cell('{cell.name}')"


def test_a_pickle_finds_the_cell_in_a_process_that_has_not_used_it():
    code = """
import pickle, sys
cell = pickle.loads(bytes.fromhex(sys.argv[1]))
from fastrnn.cells import CELLS
print(CELLS.index(cell))
"""
    for number, cell in enumerate(CELLS[-1:], len(CELLS) - 1):
        assert python(code, pickle.dumps(cell).hex()) == str(number)
