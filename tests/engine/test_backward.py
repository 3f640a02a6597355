"""Time cut into pieces: products over a few steps each, and calls that stop to look at Ctrl-C.

Sizes of pieces are made tiny here, so that a short sequence has many of them, with ends of rows
within and at their edges. That whole sequences are right is test_layers.py's.
"""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.compare import assert_close
from tests.support.configurations import Configuration, configurations, every_cell, run

# Enough for threads to share and to march, if the limits are these.
ALWAYS = {"_SHARED_OPERATIONS": 0, "_LOCKSTEP_OPERATIONS": 0, "_CHUNK_OPERATIONS": 1}


def pieces(rows, operations=4e9):
    return {"_BLOCK_ROWS": (rows, rows), "_PIECE_OPERATIONS": operations}


def compare(got, expected, exact):
    for name, array in expected.items():
        if array is not None:
            # A sum over time is added up piece by piece; nothing else may change.
            sums = name.startswith(("d_weight", "d_bias"))
            atol = 0 if exact or not sums else 1e-12
            assert_close(got[name], array, atol=atol, rtol=atol, name=name)


@every_cell
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_pieces_and_stops_change_no_bit_but_of_sums_over_time(cell, data, limits):
    drawn = data.draw(configurations(cell, np.float64))
    layer, values, lengths = (
        drawn.layer(np.float64),
        drawn.values(np.float64),
        drawn.array_lengths(),
    )
    limits(**pieces(10**6))
    expected = run(layer, values, lengths)
    rows = data.draw(st.sampled_from([1, 2, 3, 10, 17]), "rows of a piece")
    operations = data.draw(st.sampled_from([1, 4e9]), "operations between two stops")
    limits(**pieces(rows, operations))
    compare(run(layer, values, lengths), expected, exact=False)


@every_cell
@pytest.mark.parametrize(
    "sizes",
    [
        {"H": 40, "B": 1},
        {"H": 70, "B": 3, "lengths": (11, 3, 7)},
        {"H": 70, "B": 5, "T": 1},
        {
            "H": 33,
            "B": 9,
            "num_layers": 2,
            "bidirectional": True,
            "lengths": (11, 0, *range(4, 11)),
        },
        {"H": 130, "B": 2, "one_hot": True, "I": 9},
        {"H": 130, "B": 2, "one_hot": True, "I": 700},
    ],
    ids=["single", "ragged", "step", "stack", "one-hot", "one-hot-many"],
)
@pytest.mark.parametrize("operations", [1, 4e9], ids=["stops", "whole"])
def test_any_number_of_threads_gives_the_same_bits_in_pieces(
    cell, sizes, operations, limits, threads
):
    """Marching even where it would not pay, and starting in the middle of a sequence."""
    drawn = Configuration(cell, **({"T": 11} | sizes))
    layer, values, lengths = (
        drawn.layer(np.float32),
        drawn.values(np.float32),
        drawn.array_lengths(),
    )
    limits(**pieces(7, operations))
    threads(1)
    expected = run(layer, values, lengths)
    limits(**ALWAYS)
    for count in (2, 3, 5):
        threads(count)
        compare(run(layer, values, lengths), expected, exact=True)


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["f32", "f64"])
def test_a_table_of_classes_gives_the_sums_of_the_weight_itself(dtype):
    """A one-hot input has its gradient added up by class if there are few: not another number."""
    from fastrnn.cells import CELLS

    for cell in CELLS:
        for H in (1, 8, 16, 33):
            for T, B in ((1, 1), (3, 1), (2, 3)):
                few = Configuration(cell, T=T, B=B, I=8, H=H, one_hot=True)
                many = Configuration(cell, T=T, B=B, I=8 * T * B + 1, H=H, one_hot=True)
                layer, other = few.layer(dtype), many.layer(dtype)
                state = {n: p for n, p in layer.params.items() if n != "weight_ih_l0"}
                other.load_state_dict(state, strict=False)
                other.params["weight_ih_l0"][:, :8] = layer.params["weight_ih_l0"]
                values = few.values(dtype)
                one, two = run(layer, values), run(other, values)
                two["d_weight_ih_l0"] = two["d_weight_ih_l0"][:, :8].copy()
                for name, array in one.items():
                    if array is not None:
                        assert_close(two[name], array, atol=0, name=name)
