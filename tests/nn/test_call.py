"""Calls: the shapes that a caller sees, and states between the caller's form and the kernels'."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastrnn.cells import CELLS, gru, lstm
from fastrnn.engine.batch import equal_batch, sort_by_length
from fastrnn.engine.checkpoints import steps_between
from fastrnn.nn.call import BaseProgram, Call
from fastrnn.nn.spec import Spec
from tests.support.compare import assert_bits

F64 = np.dtype(np.float64)


@st.composite
def shapes(draw):
    spec = Spec(
        draw(st.sampled_from(CELLS)),
        F64,
        3,
        draw(st.integers(3, 6)),
        draw(st.sampled_from([0, 2])),
        draw(st.integers(1, 3)),
        draw(st.integers(1, 2)),
    )
    batched = draw(st.booleans())
    return BaseProgram(
        spec,
        Call(
            draw(st.integers(1, 4)),
            draw(st.integers(1, 4)) if batched else 1,
            1,
            batched=batched,
            batch_first=batched and draw(st.booleans()),
        ),
    )


def drawn(shapes, seed=0):
    rng = np.random.default_rng(seed)
    return tuple(rng.normal(size=shape) for shape in shapes.state_shapes)


@given(shapes())
def test_shapes_are_torchs(shapes):
    spec, call = shapes.spec, shapes.call
    slots, rows = spec.num_layers * spec.directions, (call.batch,) * call.batched
    widths = [spec.emitted] + [spec.hidden_size] * (len(spec.cell.states) - 1)
    assert shapes.state_shapes == [(slots, *rows, width) for width in widths]
    time = (call.batch, call.time) if call.batch_first else (call.time, *rows)
    assert shapes.output_shape == (*time, spec.directions * spec.emitted)


@given(shapes())
def test_states_go_to_kernels_and_come_back(shapes):
    given_states = drawn(shapes)
    h, carried = shapes.states(given_states)
    slots, batch = shapes.spec.num_layers * shapes.spec.directions, shapes.call.batch
    assert h.shape == (slots, batch, shapes.spec.emitted)
    assert_bits(shapes.members((h, carried)), given_states)
    assert np.shares_memory(h, given_states[0])  # nothing is copied that need not be
    room, others = shapes.new_states()
    assert (room.shape, others.shape[1:]) == (h.shape, carried.shape[1:])
    laid_out = [np.asfortranarray(s) for s in given_states]
    assert_bits(shapes.states(laid_out), (h, carried))
    zeros, none = shapes.states(None)
    assert (zeros.size, none.size) == (0, 0)


def test_what_is_missing_of_a_state_is_zero():
    shapes = BaseProgram(Spec(lstm.CELL, F64, 3, 4), Call(2, 5, 1))
    h, c = drawn(shapes)
    for given_states in ((h, None), (None, c), (None, None)):
        first, carried = shapes.states(given_states)
        for got, want in ((first, given_states[0]), (carried, given_states[1])):
            if want is None:
                assert got.size == 0
            else:
                assert_bits(got.reshape(want.shape), want)


def test_a_state_of_three_members_is_one_array_for_kernels():
    """No cell of today has so many; the engine counts them."""
    cell = lstm.CELL
    three = type(cell)(**{**vars(cell), "name": "three", "states": ("h", "c", "n")})
    shapes = BaseProgram(Spec(three, F64, 3, 4), Call(2, 5, 1))
    h, c, n = drawn(shapes)
    first, carried = shapes.states((h, None, n))
    assert_bits(carried, np.stack([np.zeros_like(c), n]).reshape(2, 1, 5, 4))
    assert_bits(shapes.members((first, carried)), (h, np.zeros_like(c), n))


def test_a_reverse_call_turns_every_direction():
    spec = Spec(gru.CELL, F64, 3, 4)
    for reverse in (False, True):
        shapes = BaseProgram(spec, Call(2, 5, 1, reverse=reverse))
        assert [one.reverse for one in vars(shapes)["_scans"]] == [reverse]
    assert not spec.scans()[0].reverse


@pytest.mark.parametrize(
    ("checkpoint", "memory"), [(None, None), (100, None), ("auto", None), ("auto", 1 << 19)]
)
@pytest.mark.parametrize("lengths", [None, np.array([3, 1000])], ids=["equal", "ragged"])
def test_steps_between_checkpoints_count_all_layers(checkpoint, memory, lengths):
    spec = Spec(gru.CELL, F64, 3, 4, num_layers=2, directions=2)
    sizes = [one.sizes for one in spec.scans()]
    batch = equal_batch(1000, 2) if lengths is None else sort_by_length(lengths)
    given = None if lengths is None else batch
    every = BaseProgram(spec, Call(1000, 2, 1)).checkpoint_every("GRU", checkpoint, memory, given)
    assert every == steps_between("GRU", checkpoint, memory, gru.CELL, sizes, batch)
    assert (every > 0) is (checkpoint is not None)


def test_a_wrong_checkpoint_is_refused_by_the_name_of_the_caller():
    shapes = BaseProgram(Spec(gru.CELL, F64, 3, 4), Call(1000, 2, 1))
    with pytest.raises(ValueError, match="mine: checkpoint must be at least 1, got 0"):
        shapes.checkpoint_every("mine", 0, None)
