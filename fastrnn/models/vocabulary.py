"""Symbols as indices: what a vocabulary is, how it is learnt, how sequences go through it.

A vocabulary is the sorted distinct symbols of what `fit` saw: a str where sequences are strings of
characters, else an array (of integers, or of words). There is no tokeniser here.
"""

import sys
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Vocabulary = str | NDArray


def codes(text: str) -> NDArray:
    """Return the code points of a text, (len(text),) of uint32."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")


def learn(values: NDArray, text: bool) -> tuple[Vocabulary, NDArray]:
    """Return the vocabulary of some symbols, and the index of each in it.

    Args:
        values: (S,) code points, if `text`, or else integers or words.
        text: sequences are strings of characters.

    Returns:
        vocabulary: sorted.
        indices: (S,) of the smallest unsigned integer type that holds them.
    """
    if not text:
        vocabulary, indices = np.unique(values, return_inverse=True)
        return vocabulary, indices.astype(np.min_scalar_type(max(len(vocabulary) - 1, 0)))
    # A table over all of Unicode, as sorting a long text takes far longer than filling 2 MB.
    seen = np.zeros(sys.maxunicode + 1, bool)
    seen[values] = True
    characters = np.flatnonzero(seen)
    index = np.zeros(len(seen), np.min_scalar_type(max(len(characters) - 1, 0)))
    index[characters] = np.arange(len(characters))
    return "".join(map(chr, characters)), index[values]


def encode(values: NDArray, vocabulary: Vocabulary) -> tuple[NDArray, NDArray]:
    """Return the index of each symbol in a vocabulary, and whether it is in it at all.

    Args:
        values: (S,), of the vocabulary's kind.
        vocabulary: sorted.
    """
    keys = codes(vocabulary) if isinstance(vocabulary, str) else vocabulary
    comparable = np.ones(len(values), bool)
    if keys.dtype.kind + values.dtype.kind in ("iu", "ui"):  # NumPy would compare them as floats
        comparable = (values >= 0) & (values <= np.iinfo(np.int64).max)
        if keys.dtype.kind == "i":
            values = values.astype(np.int64)
        else:
            values = values.astype(np.uint64)
    indices = np.minimum(np.searchsorted(keys, values), len(keys) - 1)
    inside = comparable & (keys[indices] == values)
    return indices.astype(np.min_scalar_type(len(keys) - 1)), inside


def decode(indices: Sequence[int] | NDArray, vocabulary: Vocabulary) -> str | list:
    """Return the sequence that has these indices: a str, or a list of symbols."""
    if isinstance(vocabulary, str):
        return "".join(vocabulary[index] for index in indices)
    return vocabulary[np.asarray(indices, np.int64)].tolist()
