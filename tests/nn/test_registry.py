"""Layer classes by the names of cells: every cell has one, and the names are those of options."""

import numpy as np
import pytest

import fastrnn
from fastrnn.cells import CELLS
from fastrnn.nn.registry import CELL_NAMES, layer_class


@pytest.mark.parametrize("cell", CELLS, ids=[cell.name for cell in CELLS])
def test_every_cell_has_a_layer(cell):
    layer, options = layer_class(cell.name)
    assert layer(2, 3, **options).cell is cell


def test_names_in_options():
    assert CELL_NAMES == ("rnn", "relu", "lstm", "gru")
    found = [layer_class(name) for name in CELL_NAMES]
    assert [layer for layer, _ in found] == [fastrnn.RNN, fastrnn.RNN, fastrnn.LSTM, fastrnn.GRU]
    assert [layer(2, 3, **options).cell for layer, options in found] == list(CELLS)


def test_what_is_returned_may_be_changed():
    layer_class("relu")[1].clear()
    assert layer_class("relu")[1] == {"nonlinearity": "relu"}


@pytest.mark.parametrize("name", ["mamba", "LSTM", "", None, ["lstm"], np.float32])
def test_unknown(name):
    with pytest.raises(ValueError, match="cell must be one of rnn, relu, lstm, gru; got "):
        layer_class(name)
