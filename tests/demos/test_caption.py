"""fastrnn/demos/caption.py in its short form: names are spelt, and mostly of the right digit."""

import pytest

pytest.importorskip("sklearn", reason="needs the extra: demo")

from fastrnn.demos import caption
from tests.support.demonstrated import short_form


def test_the_short_form():
    right, errors = short_form(caption).measures
    assert right.values["network"] > 0.6
    assert right.values["logistic regression"] > 0.9
    assert right.values["commonest name"] < 0.15
    assert errors.values["network"] < 0.4 < errors.values["commonest name"]
