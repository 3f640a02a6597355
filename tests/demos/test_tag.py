"""fastrnn/demos/tag.py in its short form: kinds as tokenize has them, and they are learnt."""

import numpy as np

from fastrnn.demos import tag
from tests.support.demonstrated import short_form


def test_kinds():
    source = 'for x in (1.5,\n"""a\nb"""): # c\nif_("d")\n'
    kinds = "kkk i kk onnno sssssssssoo ccc iiiossso "
    assert tag.kinds_of(source) == kinds


def test_pieces_are_whole_lines_with_their_kinds():
    sources = tag.modules()[:4]
    texts, kinds = tag.pieces(sources, 3, np.random.default_rng(0))
    assert len(texts) == len(kinds) <= 12
    for text, kind in zip(texts, kinds, strict=True):
        assert len(text) == len(kind)
        assert text.endswith("\n")
        source = next(source for source in sources if text in source)
        assert kind in tag.kinds_of(source)


def test_the_short_form():
    accuracy, keywords, *_ = short_form(tag).measures
    assert accuracy.values["bidirectional"] > accuracy.values["commonest kind"] + 0.05
    assert accuracy.values["one direction"] > accuracy.values["commonest kind"] + 0.05
    assert keywords.values["bidirectional"] > keywords.values["commonest kind"]
