"""fastrnn/demos/digits.py in its short form: both ways of reading learn, rows faster."""

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="needs the extra: demo")

from fastrnn.demos import digits
from tests.support.demonstrated import short_form


def test_what_is_held_out_is_new():
    x, x_test, y, y_test = digits.images(0)
    assert (len(x), len(x_test)) == (1437, 360)
    assert x.dtype == np.float32
    assert x.max() == x_test.max() == 1
    shares = [np.bincount(some) / len(some) for some in (y, y_test)]
    assert np.allclose(*shares, atol=0.005)
    assert not np.array_equal(digits.images(1)[1], x_test)


def test_the_short_form():
    rows, pixels = short_form(digits).measures
    assert rows.values["network"] > 0.8
    assert pixels.values["network"] > 0.3
    assert rows.values["logistic regression"] > 0.9
