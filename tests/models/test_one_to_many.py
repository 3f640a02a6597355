"""The network of RNNGenerator: pieces, and going on in the middle of a batch."""

import numpy as np
import pytest

import fastrnn
from fastrnn.models.one_to_many import Writer
from fastrnn.models.sequences import Sequences

RANDOM = np.random.default_rng(0)
LENGTHS = np.array([7, 3, 5])
WHOLE = Sequences(RANDOM.integers(0, 4, 16), np.array([0, 7, 10]), LENGTHS)
VECTORS = RANDOM.standard_normal((3, 2))


def made(kind, bridged):
    bridge = fastrnn.Linear(2, 10, dtype=np.float64, seed=2) if bridged else None
    return Writer(
        kind(4, 5, 2, dtype=np.float64, seed=0),
        fastrnn.Linear(5, 4, dtype=np.float64, seed=1),
        bridge,
    )


def flat(loss):
    return [grad for part in loss.gradients() for grad in part.values()]


@pytest.mark.parametrize("kind", [fastrnn.LSTM, fastrnn.GRU])
@pytest.mark.parametrize("bridged", [False, True])
def test_from_a_later_piece(kind, bridged):
    """As when all pieces are read, which is what resuming training needs."""
    writer, vectors = made(kind, bridged), VECTORS if bridged else None
    pieces = WHOLE.pieces(2)
    whole = list(writer.losses(pieces, vectors, True, 0, None))
    assert [loss.last for loss in whole] == [False, False, False, True]
    for k in range(1, 4):
        rest = list(writer.losses(pieces, vectors, True, k, whole[k - 1].state))
        assert [loss.value for loss in rest] == [loss.value for loss in whole[k:]]
        for one, other in zip(rest, whole[k:], strict=True):
            assert one.last == other.last
            for got, expected in zip(flat(one), flat(other), strict=True):
                assert (got == expected).all()


def test_only_the_first_piece_teaches_the_bridge():
    writer = made(fastrnn.LSTM, True)
    first, *later = writer.losses(WHOLE.pieces(2), VECTORS, True, 0, None)
    assert all(np.abs(grad).max() > 0 for grad in first.gradients()[2].values())
    for loss in later:
        assert all((grad == 0).all() for grad in loss.gradients()[2].values())


def test_first_state():
    writer = made(fastrnn.LSTM, True)
    h, c = writer.first_state(VECTORS)
    assert c is None
    assert h.shape == (2, 3, 5)
    bridged = writer.bridge(VECTORS)
    assert (h[0] == bridged[:, :5]).all()
    assert (h[1] == bridged[:, 5:]).all()
    assert made(fastrnn.LSTM, False).first_state(VECTORS) is None
