"""Recomputed segments change what is kept, and no bit of what comes out.

That the gradient without checkpoints is right is tests/nn/test_gradients.py's. Sizes of pieces are
made tiny here, so that a short sequence has many segments.
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fastrnn
from tests.support.compare import assert_bits
from tests.support.configurations import Configuration, both_dtypes, configurations, every_cell, run
from tests.support.plans import SHARED, tiny


@every_cell
@both_dtypes
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_checkpoints_change_no_bit(cell, dtype, data, limits, threads):
    drawn = data.draw(configurations(cell, dtype))
    layer, values, lengths = drawn.layer(dtype), drawn.values(dtype), drawn.array_lengths()
    rows = data.draw(st.sampled_from([1, 2, 3, 10, 17]), "rows of a piece")
    limits(
        **tiny(rows, data.draw(st.sampled_from([1, 4e9]), "operations between two stops")),
        **data.draw(st.sampled_from([{}, SHARED]), "limits"),
    )
    threads(data.draw(st.sampled_from([1, 2, 3]), "threads"))
    checkpoint = data.draw(st.one_of(st.integers(1, 13), st.just("auto")), "checkpoint")
    assert_bits(run(layer, values, lengths, checkpoint=checkpoint), run(layer, values, lengths))


@every_cell
@pytest.mark.parametrize(
    "sizes",
    [
        {"T": 1500, "B": 1, "H": 40},
        {"T": 700, "B": 3, "H": 70, "lengths": (700, 3, 411)},
        {"T": 90, "B": 40, "H": 64, "num_layers": 2, "bidirectional": True},
        {"T": 3000, "B": 2, "H": 17, "one_hot": True, "I": 9},
    ],
    ids=["single", "ragged", "stack", "one-hot"],
)
def test_long_sequences_without_any_limit_changed(cell, sizes):
    drawn = Configuration(cell, **sizes)
    layer, values, lengths = (
        drawn.layer(np.float32),
        drawn.values(np.float32),
        drawn.array_lengths(),
    )
    assert_bits(run(layer, values, lengths, checkpoint=1), run(layer, values, lengths))


def test_dropout_is_the_same_mask(limits):
    limits(**tiny(5))
    x = np.random.default_rng(0).normal(size=(23, 4, 3)).astype(np.float32)
    results = []
    for checkpoint in (None, 7):
        layer = fastrnn.LSTM(3, 6, 2, dropout=0.5, seed=0)
        (output, _), pullback = layer.vjp(x, checkpoint=checkpoint)
        results.append({"output": output, **pullback(np.ones_like(output)).params})
    assert_bits(*results)


def test_the_pullback_is_pure(limits):
    """Again, from several threads at once, with other cotangents between."""
    limits(**tiny(4))
    layer = fastrnn.LSTM(3, 20, seed=0)
    x = np.random.default_rng(0).normal(size=(50, 2, 3)).astype(np.float32)
    (output, _), pullback = layer.vjp(x, checkpoint=8)
    kept = output.copy()
    expected = {scale: pullback(output * np.float32(scale)).params for scale in (1, -2)}
    with ThreadPoolExecutor(4) as pool:
        scales = [1, -2] * 20
        for scale, grads in zip(
            scales, pool.map(lambda s: pullback(kept * np.float32(s)), scales), strict=True
        ):
            assert_bits(grads.params, expected[scale])
    np.testing.assert_array_equal(output, kept)
