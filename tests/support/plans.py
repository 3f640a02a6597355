"""Limits of plans that cut a short sequence into many pieces, and passes drawn for plans."""

import numpy as np
from hypothesis import strategies as st

from fastrnn.cells import CELLS
from fastrnn.engine.batch import equal_batch, sort_by_length
from fastrnn.nn.spec import Spec

# Enough for threads to share and to run in lockstep, if the limits are these.
SHARED = {"_SHARED_OPERATIONS": 0, "_LOCKSTEP_OPERATIONS": 0, "_CHUNK_OPERATIONS": 1}


def pieces(rows, operations=4e9):
    """Return limits under which a piece has so many rows, and a call stops for Ctrl-C so often."""
    return {"_BLOCK_ROWS": (rows, rows), "_PIECE_OPERATIONS": operations}


def tiny(rows, operations=4e9):
    """Return limits under which a piece has so many rows, and even the shortest is kept apart."""
    return pieces(rows, operations) | {"UNPACKED_STEPS": 0, "UNPACKED_ROWS": 0}


def drawn_pass(data):
    """Draw the cell, sizes and batch of a pass, whether x is one-hot, and a number of threads."""
    spec = Spec(
        data.draw(st.sampled_from(CELLS)),
        np.dtype(np.float64),
        data.draw(st.integers(1, 40)),
        data.draw(st.sampled_from([2, 5, 16, 150])),
    )
    T, B = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 40))
    batch = equal_batch(T, B)
    if data.draw(st.booleans()):
        lengths = data.draw(st.lists(st.integers(0, T), min_size=B, max_size=B))
        batch = sort_by_length(np.array([T, *lengths[1:]]))
    one_hot, threads = data.draw(st.booleans()), data.draw(st.integers(1, 4))
    [one] = spec.scans()
    return one.cell, one.sizes, batch, one_hot, threads
