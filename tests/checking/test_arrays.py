"""Lists of arrays: copies, gradients as they may be given, and inner products."""

import numpy as np
import pytest

from fastrnn.checking.arrays import as_gradient, copies, norm, paired

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


@pytest.mark.parametrize("scale", [1e-323, 1e-300, 1e-160, 1.0, 1e160, 1e300])
def test_a_norm_has_no_scale(scale):
    assert norm(scale * np.array([3.0, -4.0])) == pytest.approx(5 * scale, rel=1e-15, abs=1e-323)


def test_norms_of_nothing_and_of_what_is_not_finite():
    assert norm(np.zeros(0)) == norm(np.zeros(3)) == 0
    assert norm(np.array([1.0, np.inf])) == norm(np.array([np.nan, 1.0])) == np.inf
    assert norm(np.array([[3e200, 0.0], [0.0, 4e200]])) == pytest.approx(5e200)
    assert norm(np.array([3e200j, 4e200])) == pytest.approx(5e200)
