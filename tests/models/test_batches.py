"""Batches: every sequence once, similar lengths together, a new order each time; and the split."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastrnn.models import batches

lengths_of = st.lists(st.integers(1, 50), min_size=1, max_size=200).map(np.array)


@given(lengths_of, st.integers(1, 40), st.integers(0, 9))
def test_every_sequence_once(lengths, size, seed):
    rows = np.flatnonzero(lengths > lengths.min() // 2)
    found = batches.shuffled(lengths, rows, size, np.random.default_rng(seed))
    assert sorted(np.concatenate(found)) == rows.tolist()
    assert sorted(map(len, found))[1:] == [size] * (len(found) - 1)


def test_similar_lengths_together_and_another_order_each_time():
    lengths = np.random.default_rng(0).integers(1, 1000, 2000)
    random = np.random.default_rng(1)
    first, second = (batches.shuffled(lengths, np.arange(2000), 20, random) for _ in "ab")
    spread = np.mean([np.ptp(lengths[rows]) for rows in first])
    assert spread < 50
    assert [rows.tolist() for rows in first] != [rows.tolist() for rows in second]
    means = [lengths[rows].mean() for rows in first]
    assert np.abs(np.diff(means)).mean() > 100  # the batches are not in order of length


@given(lengths_of)
def test_for_inference(lengths):
    found = list(batches.sorted_by_length(lengths))
    assert sorted(np.concatenate(found)) == list(range(len(lengths)))


def test_for_inference_memory_is_bounded():
    lengths = np.r_[np.full(5000, 10), np.full(5, 20_000), 1_000_000]
    found = list(batches.sorted_by_length(lengths))
    assert max(map(len, found)) == batches.MAX_ROWS
    for rows in found:
        assert len(rows) == 1 or lengths[rows].max() * len(rows) <= batches.MAX_STEPS


@given(st.integers(2, 50), st.floats(0.01, 0.9))
def test_split(count, fraction):
    learnt, held_out = batches.split(count, fraction, np.random.default_rng(0))
    assert sorted([*learnt, *held_out]) == list(range(count))
    assert len(learnt) >= 1
    assert len(held_out) == min(count - 1, np.ceil(count * fraction))


def test_one_sequence_cannot_be_split():
    with pytest.raises(ValueError, match="X has one sequence"):
        batches.split(1, 0.5, np.random.default_rng(0))
