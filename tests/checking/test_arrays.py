"""Lists of arrays: copies, gradients as they may be given, and inner products."""

import numpy as np
import pytest

from fastrnn.checking.arrays import as_gradient, copies, paired

LIKE = np.zeros((2, 3), np.float32)


def test_copies_share_no_memory():
    arrays = [np.ones(3), np.ones((2, 2))]
    for one, other in zip(copies(arrays), arrays, strict=True):
        assert np.array_equal(one, other)
        assert not np.shares_memory(one, other)


@pytest.mark.parametrize("given", [None, np.ones((3, 2)), np.ones((2, 3), complex), "text"])
def test_what_is_no_gradient(given):
    assert as_gradient(given, LIKE) is None


def test_a_gradient_is_float64_whatever_it_was():
    for given in (np.ones((2, 3), np.float32), np.ones((2, 3), int), [[1, 1, 1]] * 2):
        gradient = as_gradient(given, LIKE)
        assert gradient.dtype == np.float64
        assert gradient.tolist() == [[1, 1, 1]] * 2


def test_inner_products_skip_what_has_no_gradient():
    assert paired([np.array([1.0, 2.0]), None], [np.array([3.0, 4.0]), np.ones(2)]) == 11
