"""Sequences laid end to end against lists of lists."""

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fastrnn.models.sequences import Sequences

rows_of = st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=9), min_size=1, max_size=6)


def made(rows):
    lengths = np.array([len(row) for row in rows])
    return Sequences(np.concatenate(rows), np.cumsum(lengths) - lengths, lengths)


def lists(found):
    return [found.values[s : s + n].tolist() for s, n in zip(*found[1:], strict=True)]


@given(rows_of, st.integers(1, 10))
def test_pieces_come_after_each_other(rows, steps):
    pieces = made(rows).pieces(steps)
    joined = (itertools.chain(*parts) for parts in zip(*map(lists, pieces), strict=True))
    assert [list(row) for row in joined] == rows
    assert len(pieces) == -(-max(map(len, rows)) // steps)
    assert all(n <= steps for piece in pieces for n in piece.lengths)
    assert [lists(whole) for whole in made(rows).pieces(None)] == [rows]


@given(rows_of, st.integers(1, 10))
def test_before_and_last(rows, steps):
    found = made(rows)
    assert lists(found.last(steps)) == [row[-steps:] for row in rows]
    assert lists(found.before(steps)) == [row[:-steps] for row in rows]


@given(rows_of, st.data())
def test_select(rows, data):
    some = data.draw(st.lists(st.integers(0, len(rows) - 1), min_size=1))
    assert lists(made(rows).select(np.array(some))) == [rows[n] for n in some]


@given(rows_of)
def test_boundaries(rows):
    found = made(rows).with_boundaries(9)
    assert lists(found) == [[9, *row] for row in rows]
    assert lists(found.next()) == [[*row, 9] for row in rows]


@given(rows_of, st.integers(0, 8))
def test_padded_real_and_steps(rows, begin):
    found = made(rows).cut(begin, begin + 4)
    rows = [row[begin : begin + 4] for row in rows]
    if not any(rows):
        return
    x, lengths = found.padded()
    assert x.shape == (max(map(len, rows)), len(rows))
    equal = all(len(row) == len(x) for row in rows)
    assert equal if lengths is None else lengths.tolist() == [len(row) for row in rows]
    assert [x[: len(row), b].tolist() for b, row in enumerate(rows)] == rows
    real = x.reshape(-1) if found.real() is None else x.reshape(-1)[found.real()]
    wanted = [row[t] for t in range(len(x)) for row in rows if t < len(row)]
    assert real.tolist() == found.steps().tolist() == wanted


def test_a_boundary_beside_unknown_symbols():
    """Their index is larger, and may need a larger type."""
    given = Sequences(np.array([0, 256], np.uint16), np.array([0]), np.array([2]))
    assert given.with_boundaries(255).values.tolist() == [255, 0, 256, 255]
