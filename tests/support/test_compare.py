"""The comparisons that other tests rest on: what they let pass, and what they must not."""

import numpy as np
import pytest

from tests.support.compare import assert_bits, assert_close

X = np.array([0.0, 1.0, np.nan, np.inf])


@pytest.mark.parametrize("value", [X, (X, None), [X, {"a": (X,)}], {"a": X[:0]}, X.astype("f4")])
def test_the_same_bits(value):
    assert_bits(value, value)


@pytest.mark.parametrize(
    ("got", "expected", "where"),
    [
        (np.nextafter(X, 2), X, "array"),
        (-0.0 * X[:1], X[:1], "zeros have the other sign"),
        (X.astype(np.float32), X, "expected float64"),
        (X[:2], X, "shape"),
        ([X, -X], [X, X], r"array\[1\]"),
        ((X,), [X], "tuple"),
        ({"a": X, "b": None}, {"a": X, "b": X}, r"array\['b'\]"),
        ({"b": X, "a": X}, {"a": X, "b": X}, "keys"),
        (X, None, "expected None"),
    ],
)
def test_other_bits(got, expected, where):
    with pytest.raises(AssertionError, match=where):
        assert_bits(got, expected)


def test_close_is_relative_to_the_largest_entry():
    assert_close(np.array([1e3, 1e-9]), np.array([1e3, 0.0]), atol=0, rtol=1e-11)
    with pytest.raises(AssertionError, match=r"worst at \(1,\)"):
        assert_close(np.array([1e3, 1e-7]), np.array([1e3, 0.0]), atol=0, rtol=1e-11)
    with pytest.raises(AssertionError, match="nan"):
        assert_close(np.array([np.nan]), np.array([1.0]), atol=9)
