"""fastrnn/demos/sentiment.py in its short form: letters tell a polarity, of known families."""

import pytest

pytest.importorskip("sklearn", reason="needs the extra: demo")
pytest.importorskip("vaderSentiment", reason="needs the extra: demo")

from fastrnn.demos import sentiment
from tests.support.demonstrated import short_form


def test_lexicon():
    words, positive = sentiment.lexicon()
    assert len(words) == len(set(words)) == 7174
    polarity = dict(zip(words.tolist(), positive.tolist(), strict=True))
    assert polarity["gratefulness"]
    assert not polarity["hopelessness"]


def test_the_short_form():
    words, families = short_form(sentiment).measures
    assert words.values["network"] > words.values["commoner polarity"] + 0.08
    assert words.values["n-grams"] > words.values["commoner polarity"] + 0.2
    assert families.values["network"] < words.values["network"]
