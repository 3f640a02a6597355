"""A sequence read some steps at a time: the same steps, however it comes and is cut."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastrnn
from fastrnn.nn.chunks import Source, cut
from tests.support.compare import assert_bits


def layer(batch_first=False):
    return fastrnn.GRU(3, 2, batch_first=batch_first, seed=0)


@given(st.data())
def test_the_steps_are_those_of_the_whole_sequence(data):
    T, B = data.draw(st.integers(0, 12), "T"), data.draw(st.integers(1, 3), "B")
    one_hot, batch_first = (data.draw(st.booleans()) for _ in range(2))
    rng = np.random.default_rng(data.draw(st.integers(0, 99), "seed"))
    shape = (B, T) if batch_first else (T, B)
    x = rng.integers(0, 3, shape) if one_hot else rng.normal(size=(*shape, 3)).astype(np.float32)
    chunks = data.draw(st.booleans(), "in chunks")
    given_x, axis = x, int(batch_first)
    if chunks:
        ends = data.draw(st.lists(st.integers(0, T), max_size=4).map(sorted), "cuts")
        given_x = iter(np.split(x, ends, axis))  # some of them empty
    source, taken, left = Source(layer(batch_first), given_x), [], T
    assert source.steps == (None if chunks else T)
    assert source.has_gradient() is not (chunks or one_hot)
    assert source.axis == axis
    while not source.is_at_end():
        steps = data.draw(st.integers(1, 5), "steps")
        taken.append(source.take(steps))
        assert taken[-1].shape[axis] == min(steps, left)
        left -= min(steps, left)
    assert left == 0
    assert source.take(1).shape[axis] == 0
    assert_bits(np.concatenate(taken, axis) if taken else x, x)


def test_a_sequence_without_a_batch_axis_has_its_time_first():
    for batch_first in (False, True):
        source = Source(layer(batch_first), [np.zeros((4, 3), np.float32)])
        assert source.axis == 0
        assert source.take(3).shape == (3, 3)


def test_an_array_is_not_copied_and_chunks_are_read_when_they_are_needed():
    x = np.zeros((8, 1, 3), np.float32)
    assert np.shares_memory(Source(layer(), x).take(3), x)
    read = []

    def chunks():
        for i in range(4):
            read.append(i)
            yield x[2 * i : 2 * i + 2]

    source = Source(layer(), chunks())
    assert np.shares_memory(source.take(2), x)
    assert read == [0]
    source.take(3)
    assert read == [0, 1, 2]


def test_lengths_are_checked_as_far_as_the_end_is_known():
    x = np.zeros((4, 2, 3), np.float32)
    assert_bits(Source(layer(), [x], np.array([9, 1])).lengths, np.array([9, 1]))
    with pytest.raises(ValueError, match=r"lengths\[0\] is 9"):
        Source(layer(), x, np.array([9, 1]))


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (3, TypeError, "x is a int; expected an array, or an iterable of chunks"),
        ([], ValueError, "x has no chunks"),
        ([np.zeros((2, 2, 4), np.float32)], ValueError, "must be input_size = 3"),
    ],
)
def test_what_is_no_sequence(x, error, message):
    with pytest.raises(error, match=f"truncated_bptt: .*{message}"):
        Source(layer(), x)


@pytest.mark.parametrize(
    ("later", "message"),
    [
        (np.zeros((2, 1, 3), np.float32), "1 sequences, the one before 2"),
        (np.zeros((2, 2, 3)), "float64"),
    ],
)
def test_a_later_chunk_of_another_kind_is_noticed_where_it_comes(later, message):
    source = Source(layer(), [np.zeros((2, 2, 3), np.float32), later])
    source.take(2)
    with pytest.raises(ValueError, match=message):
        source.is_at_end()


def test_cut_is_a_view_along_time():
    x = np.arange(24).reshape(2, 3, 4)
    assert_bits(cut(x, 0, 1, 2), x[1:2])
    assert_bits(cut(x, 1, 1, 3), x[:, 1:3])
    assert np.shares_memory(cut(x, 1, 0, 2), x)
