"""Vocabularies: there and back, for characters, integers and words."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastrnn.models import vocabulary

any_text = st.text(st.characters(), min_size=1)  # surrogates too


@given(any_text)
def test_characters(text):
    symbols, indices = vocabulary.learn(vocabulary.codes(text), text=True)
    assert list(symbols) == sorted(set(text))
    assert vocabulary.decode(indices, symbols) == text
    again, inside = vocabulary.encode(vocabulary.codes(text), symbols)
    assert inside.all()
    assert again.tolist() == indices.tolist()


@given(any_text, any_text)
def test_unknown_characters(known, text):
    symbols, _ = vocabulary.learn(vocabulary.codes(known), text=True)
    _, inside = vocabulary.encode(vocabulary.codes(text), symbols)
    assert inside.tolist() == [character in known for character in text]


@given(st.lists(st.integers(-(2**62), 2**62), min_size=1), st.lists(st.integers(0, 9), min_size=1))
def test_integers(values, others):
    symbols, indices = vocabulary.learn(np.array(values), text=False)
    assert vocabulary.decode(indices, symbols) == values
    _, inside = vocabulary.encode(np.array(others), symbols)
    assert inside.tolist() == [value in values for value in others]


def test_words():
    symbols, indices = vocabulary.learn(np.array(["le", "chat", "le"]), text=False)
    assert vocabulary.decode(indices, symbols) == ["le", "chat", "le"]
    _, inside = vocabulary.encode(np.array(["chats", "chat"]), symbols)
    assert inside.tolist() == [False, True]


@pytest.mark.parametrize(("count", "dtype"), [(1, np.uint8), (256, np.uint8), (257, np.uint16)])
def test_indices_are_small(count, dtype):
    values = np.arange(count)
    for found in (vocabulary.learn(values, text=False), vocabulary.learn(values, text=True)):
        assert found[1].dtype == dtype
        assert vocabulary.encode(values, np.arange(count))[0].dtype == dtype


def test_unsigned_and_signed_integers_are_compared_exactly():
    signed, unsigned = np.array([-1, 2**62 + 1]), np.array([5, 2**63 + 1], np.uint64)
    given = np.array([2**62, 2**62 + 1, 2**64 - 1], np.uint64)
    assert vocabulary.encode(given, signed)[1].tolist() == [False, True, False]
    assert vocabulary.encode(np.array([-1, 5, 6]), unsigned)[1].tolist() == [False, True, False]
    assert vocabulary.encode(unsigned, unsigned)[0].tolist() == [0, 1]
