"""The patterns of a wrong gradient: each planted one is named."""

import numpy as np
import pytest

from fastrnn.checking import gradcheck
from fastrnn.checking.patterns import angle, closeness


def product(change):
    def product(a, b):
        return a @ b, lambda d: change(d @ b.T, a.T @ d)

    random = np.random.default_rng(0)
    return gradcheck(
        product,
        (random.standard_normal((4, 4)), random.standard_normal((4, 4))),
        raise_exception=False,
    ).hints


@pytest.mark.parametrize(
    ("change", "hint"),
    [
        (lambda a, b: (b, a), "the gradient of b: exchanged? (a)"),
        (lambda a, b: (a, b.T), "transposed (b)"),
        (lambda a, b: (a, b[::-1]), "reversed along its first axis (b)"),
        (lambda a, b: (-2 * a, b), "the opposite sign and twice as large: counted twice? (a)"),
        (lambda a, b: (a / 0.8, b), "1/(1-p) or 1-p of a dropout of 0.2? (a)"),
        (lambda a, b: (a * 4, b), "4 times as large, axis 0 of the output"),
        (lambda a, b: (a, np.roll(b, 1, 0)), "shifted by one along its first axis (+1) (b)"),
        (lambda a, b: (a * (1 + 1e-8), b), "nearly right, by 1e-08 of itself"),
        (lambda a, b: (a, 0 * b), "zero: no gradient arrives here (b)"),
        (lambda a, b: (a, b * (np.arange(4) < 3)), ""),
        (lambda a, b: (a * (np.arange(4) < 3)[:, None], b), "wrong only at axis 0: 3 (a)"),
        (lambda a, b: (a.T.reshape(4, 4) * 3.7, b), ""),
    ],
)
def test_patterns(change, hint):
    assert any(hint in found for found in product(change)) or not hint


def test_angle():
    a = np.array([3.0, 4.0])
    assert angle(a, 2 * a) == pytest.approx((1.0, 0.5))
    assert angle(a, -a) == pytest.approx((-1.0, 1.0))
    assert angle(a, np.array([-4.0, 3.0])) == pytest.approx((0.0, 1.0))
    assert np.isnan(angle(a, 0 * a)).all()


def test_closeness_allows_rounding_alone():
    close, a = closeness(2.0**-52), np.array([1.0, 1e-9])
    assert close(a * (1 + 1e-7), a)
    assert not close(a * (1 + 1e-5), a)
    assert closeness(2.0**-23)(a * (1 + 1e-5), a)  # float32
