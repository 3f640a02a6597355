"""The helpers that find classes by a cell's name, and name what a layer computes."""

import numpy as np

import fastrnn
from fastrnn.cells import CELLS
from tests.support.configurations import layer_class, named


def test_every_cell_has_a_layer():
    assert all(layer_class(cell)[0] for cell in CELLS)
    assert all(layer_class(cell, suffix="Cell")[0] for cell in CELLS)
    assert named(np.ones(1), (np.ones(2),), fastrnn.Gradients(None, np.ones(3), {})).keys() == {
        "output",
        "d_x",
        "state 0",
        "d_state 0",
    }
