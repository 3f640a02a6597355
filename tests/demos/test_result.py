"""fastrnn/demos/result.py: which method is the best, and progress that nobody hears."""

import pytest

from fastrnn.demos.result import Measure, Result, silent


@pytest.mark.parametrize(("higher", "best"), [(True, "network"), (False, "chance")])
def test_the_best_method(higher, best):
    values = {"network": 0.9, "chance": 0.5, "another": 0.7}
    assert Measure("share", values, higher=higher).best == best


def test_of_equals_the_first_is_the_best():
    assert Measure("share", {"network": 0.5, "chance": 0.5}).best == "network"


def test_defaults():
    measure = Measure("share", {"network": 0.625})
    assert format(measure.values["network"], measure.form) == "62.5%"
    assert measure.higher
    assert Result("title", [measure], print).text == ""
    assert silent("learning", 1, 2) is None
