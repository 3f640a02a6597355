"""States between networks, against what layers return."""

import numpy as np
import pytest

import fastrnn
from fastrnn.cells import CELLS
from fastrnn.models import states
from fastrnn.nn.registry import layer_class

every_cell = pytest.mark.parametrize("cell", CELLS, ids=[cell.name for cell in CELLS])
X = np.random.default_rng(0).standard_normal((5, 3, 4))


def made(cell, **options):
    kind, chosen = layer_class(cell.name)
    return kind(4, 6, 2, **chosen, **options, dtype=np.float64, seed=0)


@every_cell
def test_members(cell):
    state = made(cell)(X)[1]
    members = states.members(state)
    assert len(members) == len(cell.states)
    again = states.joined(members)
    assert type(again) is type(state)
    assert states.hidden(state) is members[0]
    assert states.members(None) == ()
    assert states.joined(()) is None


@every_cell
def test_top_is_the_output_at_the_ends(cell):
    rnn = made(cell, bidirectional=True)
    output, state = rnn(X)
    assert (states.top(rnn, state)[:, :6] == output[-1, :, :6]).all()
    assert (states.top(rnn, state)[:, 6:] == output[0, :, 6:]).all()


@every_cell
@pytest.mark.parametrize("bidirectional", [False, True])
def test_gradient_from_top(cell, bidirectional):
    """sum(d_top * top(state)) and sum(gradient * state) are the same number, for every state."""
    rnn = made(cell, bidirectional=bidirectional)
    state = rnn(X)[1]
    d_top = np.random.default_rng(1).standard_normal(states.top(rnn, state).shape)
    gradient = states.gradient_from_top(rnn, d_top, state)
    d_h, *others = states.members(gradient)
    assert np.isclose((d_top * states.top(rnn, state)).sum(), (d_h * states.hidden(state)).sum())
    assert others == [None] * (len(cell.states) - 1)
    rnn.vjp(X)[1](None, gradient)  # a layer takes it


@every_cell
def test_merged_and_split(cell):
    rnn = made(cell, bidirectional=True)
    state = rnn(X)[1]
    merged = states.merge_directions(state, 2)
    for member in states.members(merged):
        assert member.shape == (2, 3, 12)
        assert member.flags.c_contiguous
    assert (states.hidden(merged)[-1] == states.top(rnn, state)).all()
    back = states.members(states.split_directions(merged, 2))
    for one, other in zip(back, states.members(state), strict=True):
        assert (one == other).all()


def test_from_hidden():
    h = np.ones((2, 3, 6))
    assert states.from_hidden(fastrnn.GRU(4, 6, 2), h) is h
    assert states.from_hidden(fastrnn.LSTM(4, 6, 2), h) == (h, None)


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ({"0": (2, 3, 4)}, r"it has \['0'\]; expected \['0', '1'\]"),
        ({"0": (2, 3, 4), "1": (2, 3, 5), "2": (2, 3, 4)}, "it has .*'2'"),
        ({"0": (2, 3, 4), "x": (2, 3, 5)}, "it has .*'x'"),
        (
            {"0": (2, 3, 5), "1": (2, 3, 5)},
            r"state\.0 is float32 \(2, 3, 5\); expected float32 \(2, 3",
        ),
        ({"0": (2, 3, 4), "1": (2, 1, 5)}, r"state\.1 is float32 \(2, 1, 5\)"),
        ({"0": (1, 3, 4), "1": (2, 3, 5)}, r"state\.0 is float32 \(1, 3, 4\)"),
        ({"0": (2,), "1": (2, 3, 5)}, r"state\.0 is float32 \(2,\)"),
    ],
)
def test_what_is_no_state(found, message):
    layer = fastrnn.LSTM(2, 5, num_layers=2, proj_size=4)
    right = {"0": np.zeros((2, 3, 4), np.float32), "1": np.zeros((2, 3, 5), np.float32)}
    states.check(layer, {})
    states.check(layer, right)
    states.check(layer, right, batch=3)
    for wrong, batch in ((right, 4), ({name: a.astype(float) for name, a in right.items()}, None)):
        with pytest.raises(ValueError, match=r"state\.\* does not fit: state"):
            states.check(layer, wrong, batch)
    arrays = {name: np.zeros(shape, np.float32) for name, shape in found.items()}
    with pytest.raises(ValueError, match=rf"state\.\* does not fit: .*{message}"):
        states.check(layer, arrays)
