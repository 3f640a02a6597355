"""fastrnn/demos/translate.py in its short form: what is written has to do with what is read."""

import pytest

pytest.importorskip("babel", reason="needs the extra: demo")

from fastrnn.demos import translate
from fastrnn.demos.measures import character_error_rate
from tests.support.demonstrated import short_form


def test_no_held_out_name_is_learnt_from():
    learnt, held_out = translate.split(0)
    assert not {row["en"] for row in learnt} & {row["en"] for row in held_out}
    assert len(learnt) > 5 * len(held_out) * 0.95
    assert len(held_out) > 140
    assert {row["en"]: row for row in learnt + held_out}["Germany"] == {
        "en": "Germany",
        "fr": "Allemagne",
        "de": "Deutschland",
    }


def test_the_short_form():
    result = short_form(translate)
    held_out = [row for row in translate.split(0, translate.FEW)[1]]
    written = result.draw.keywords["written"]
    for to in translate.LANGUAGES:
        right = [row[to] for row in held_out]
        beside = character_error_rate(written[to], right[1:] + right[:1])
        assert character_error_rate(written[to], right) < 0.93 * beside
    for measure in result.measures:
        assert measure.values["copying"] > 0
