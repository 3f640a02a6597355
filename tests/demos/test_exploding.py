"""fastrnn/demos/exploding.py in its short form: clipping decides."""

import math

import numpy as np

from fastrnn.demos import exploding
from tests.support.demonstrated import short_form


def test_the_short_form():
    told = []
    result = short_form(exploding, told, overflows=("not clipped",), width=100)
    learnt, median, worst, longest = (measure.values for measure in result.measures)
    assert learnt["clipped"] == 1
    assert learnt["not clipped"] == 0
    assert worst["clipped"] < 0.1 < median["not clipped"]
    assert longest["clipped"] < 1e3 < longest["not clipped"]
    assert len(told) == 2 * len(exploding.RUNS)
    assert "mean step Jacobian" in result.text


def test_both_have_the_same_start_and_sequences():
    clipped, free = (exploding.train(clip, 0.05, 3, seed=4) for clip in (1.0, math.inf))
    assert clipped.losses[0] == free.losses[0]
    assert clipped.norms[0] == free.norms[0]
    assert not np.array_equal(clipped.losses, free.losses)
    assert np.array_equal(clipped.losses, exploding.train(1.0, 0.05, 3, seed=4).losses)
    # The gradient grows on its way back.
    assert clipped.start["l0"].d_states["h"].factor > 1.02
    assert math.isclose(clipped.start["l0"].spectral_radius["a"], exploding.GAIN, rel_tol=1e-5)


def test_an_overflow_ends_a_run():
    one = exploding.train(math.inf, 1.0, 400, seed=0)
    assert len(one.losses) < 400
    assert one.losses[-1] == math.inf
    assert np.isfinite(one.losses[:-1]).all()
