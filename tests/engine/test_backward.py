"""Time cut into pieces: products over a few steps each, and calls that stop to look at Ctrl-C.

Sizes of pieces are made tiny here, so that a short sequence has many of them, with ends of rows
within and at their edges. That whole sequences are right is tests/nn/test_layers.py's.
"""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.compare import assert_close
from tests.support.configurations import Configuration, configurations, every_cell, run
from tests.support.plans import SHARED, pieces


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
    limits(**SHARED)
    for count in (2, 3, 5):
        threads(count)
        compare(run(layer, values, lengths), expected, exact=True)
