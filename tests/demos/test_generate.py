"""fastrnn/demos/generate.py in its short form: counts are what they say, and the network learns."""

import math
from collections import Counter

import numpy as np

from fastrnn.demos import generate
from tests.support.demonstrated import short_form


def test_counts_without_context_are_those_of_characters():
    text = "abracadabra" * 3
    split, seen = 20, Counter(text[:20])
    alphabet, kinds = len(set(text)), len(seen)
    odds = {c: (seen[c] + kinds / alphabet) / (split + kinds) for c in set(text)}
    assert math.isclose(sum(odds.values()), 1)
    expected = -np.mean([math.log2(odds[c]) for c in text[split:]])
    assert np.isclose(generate.counted(text, split, 0)[0], expected)


def test_longer_contexts_know_what_repeats():
    bits = generate.counted("abcabd" * 200, 1000, 4)
    assert len(bits) == 5
    assert bits[0] > 1.5
    assert bits[2] > 0.3  # c or d?
    assert bits[4] < 0.05


def test_the_short_form():
    result = short_form(generate)
    [measure] = result.measures
    network, _ = measure.values.values()
    assert network < 4.2  # of 6.5 for any character, and 4.7 for the frequencies alone
    assert result.text.startswith("It writes:\n\n")
    assert len(result.text) > 200
