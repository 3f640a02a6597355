"""Outputs: which have a derivative, in which groups they are contracted, and in which units."""

import numpy as np
import pytest

from fastrnn.checking.derivatives import EPS
from fastrnn.checking.options import CheckOptions
from fastrnn.checking.outputs import Outputs

RANDOM = CheckOptions().random(0)


def settled(*values, noise=None, eps=EPS):
    outputs = [np.asarray(v) for v in values]
    found = Outputs(outputs, outputs)
    size = np.abs(np.concatenate([np.ravel(o).astype(float) for o in outputs]))
    found.settle(EPS * size if noise is None else noise, eps)
    return found


def test_integers_and_what_is_infinite_have_no_derivative():
    found = settled([1.0, -np.inf, np.nan], [1, 2], [True])
    assert found.live.tolist() == [True, False, False, False, False, False]
    cotangents = found.cotangents(RANDOM)
    assert cotangents[0][0] != 0
    assert not cotangents[0][1:].any()
    assert not any(c.any() for c in cotangents[1:])
    assert found.measured(np.full(6, np.inf)).tolist() == [np.inf, 0, 0, 0, 0, 0]


def test_like_sizes_are_one_group_in_the_users_unit():
    found = settled([1.0, 1e-3, -5.0], [0.0])
    assert (found.groups, found.unit, found.rescaled) == (1, None, False)
    assert np.array_equal(found.contraction(found.cotangents(RANDOM, 0))[:3] != 0, [True] * 3)


@pytest.mark.parametrize("scale", [1e-300, 1e-100, 1e100, 1e300])
def test_one_group_of_any_size_is_measured_in_its_own_unit(scale):
    found = settled(scale * np.array([1.0, 0.5]))
    assert found.groups == 1
    assert (np.abs(found.measured(scale * np.array([1.0, 0.5]))) <= 2).all()
    [cotangent] = found.cotangents(RANDOM)
    terms = cotangent * (scale * np.array([1.0, 0.5]))
    assert ((1e-3 < np.abs(terms)) & (np.abs(terms) < 10)).all()
    contracted = found.contraction([cotangent]) @ found.measured(scale * np.array([1.0, 0.5]))
    assert contracted == pytest.approx(terms.sum())


def test_very_different_sizes_are_contracted_apart():
    found = settled([1e8, 1e7, 1e-8], [1e-200])
    assert found.groups == 3
    assert found.group.tolist() == [0, 0, 1, 2]
    for group, kept in enumerate(([0, 1], [2], [3])):
        vector = found.contraction(found.cotangents(RANDOM, group))
        assert np.flatnonzero(vector).tolist() == kept
    assert np.isfinite(found.contraction(found.cotangents(RANDOM))).all()


def test_outputs_are_as_large_as_their_rounding():
    """0 that is a difference of large numbers is not small."""
    assert settled([1e8, 0.0], noise=np.array([1e-8, 1e-8])).groups == 1


def test_float32_tells_less_apart():
    assert settled([1.0, 1e-4]).groups == 1
    assert settled([1.0, 1e-4], eps=1.2e-7).groups == 2


def test_what_is_not_zero_stays_apart_from_zero():
    found = settled([1e300, 1e-300])
    small = found.measured(np.array([1e-300, 0.0]))
    assert small[0] != 0
    assert small[1] == 0
    pair = found.measured(np.array([1e300 + 1e-300j, 0.0]))
    assert pair[0].imag != 0


def test_cotangents_fit_their_dtype():
    with np.errstate(all="raise"):
        found = settled(np.array([1e-40, 1e-44], np.float32), eps=1.2e-7)
    assert all(np.isfinite(c).all() for c in found.cotangents(RANDOM))
