"""fastrnn/demos/measures.py against definitions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastrnn.demos.measures import character_error_rate, edit_distance, exact

words = st.text("abc", max_size=6)


def slow(a, b):
    """By its recursive definition."""
    if not a or not b:
        return len(a) + len(b)
    return min(slow(a[1:], b) + 1, slow(a, b[1:]) + 1, slow(a[1:], b[1:]) + (a[0] != b[0]))


@given(words, words)
def test_edit_distance(a, b):
    assert edit_distance(a, b) == edit_distance(b, a) == slow(a, b)


def test_rates():
    found, right = ["abc", "", "xyz"], ["abc", "de", "xz"]
    assert exact(found, right) == pytest.approx(1 / 3)
    assert character_error_rate(found, right) == pytest.approx(3 / 7)
    assert character_error_rate(right, right) == 0
