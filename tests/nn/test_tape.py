"""Tapes: taken apart and put together again they give the same gradients, bit for bit.

That a gradient is right is test_layers.py's.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastrnn
from fastrnn.engine.batch import batch_of
from fastrnn.kernels.threads import get_num_threads
from fastrnn.nn.call import Call
from fastrnn.nn.program import prepare
from fastrnn.nn.tape import StepTape, Tape

KINDS = ["LSTM", "GRU", "RNN"]
ways = {
    "plain": {},
    "dropout": {"num_layers": 3},
    "deep": {"num_layers": 2, "bidirectional": True},
    "projection": {"proj_size": 3},
    "checkpoint": {"num_layers": 2},
    "step": {"num_layers": 2},
    "one step": {},
}


@settings(max_examples=40)
@given(
    kind=st.sampled_from(KINDS),
    way=st.sampled_from(sorted(ways)),
    time=st.integers(1, 9),
    batch=st.integers(1, 5),
    data=st.data(),
)
def test_a_tape_that_was_taken_apart_gives_the_same_bits(kind, way, time, batch, data):
    if way == "projection":
        kind = "LSTM"
    layer = getattr(fastrnn, kind)(16, 32, **ways[way], dtype=np.float64, seed=0)
    rng = np.random.default_rng(0)
    plain = "step" in way
    time = 1 if plain else time
    program = prepare(
        layer.spec, Call(time, batch, get_num_threads(), keep=True, plain=plain, wrt_input=True)
    )
    x, masks, sequences, every = rng.standard_normal((time, batch, 16)), (), None, 0
    if way == "dropout":
        masks = tuple(rng.standard_normal((time, batch, 32)) for _ in range(2))
    if not plain and data.draw(st.booleans()):
        sequences = batch_of(time, batch, rng.integers(0, time + 1, batch))
    if way == "checkpoint":
        every = program.checkpoint_every(kind, 2, None, sequences)
    state = [rng.standard_normal(shape) for shape in program.state_shapes]
    weights = layer.weights()
    output, _, tape = program.run(weights, x, state, sequences, masks, every)
    assert isinstance(tape, StepTape if plain and batch <= 2 else Tape | StepTape)
    d_output = rng.standard_normal(output.shape)
    want = program.pull(tape, d_output)
    handed_out = data.draw(st.booleans())
    arrays, rest = tape.split(handed_out)
    assert sum(array.nbytes for array in arrays) <= tape.nbytes + output.nbytes + tape_h_n(tape)
    if handed_out:
        output.fill(np.nan)
        assert not any(np.shares_memory(array, output) for array in arrays)
    x_now, state_now = x.copy(), [member.copy() for member in state]
    arrays = [array.copy() for array in arrays]
    del tape
    joined = rest.joined(arrays, weights, x_now, program.states(state_now))
    got = program.pull(joined, d_output)
    for one, other in zip(leaves(got), leaves(want), strict=True):
        np.testing.assert_array_equal(one, other)


def tape_h_n(tape) -> int:
    return tape.h_n.nbytes if isinstance(tape, StepTape) else 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("time", [1, 7])
def test_what_is_left_holds_no_array_of_the_call(kind, time):
    layer = getattr(fastrnn, kind)(16, 32, 2, seed=0)
    program = prepare(layer.spec, Call(time, 3, 1, keep=True))
    x = np.ones((time, 3, 16), np.float32)
    _, _, tape = program.run(layer.weights(), x)
    arrays, rest = tape.split()
    left = sum(array.nbytes for array in leaves(rest))
    assert arrays
    assert left <= 2 * 3 * 8  # the order and the lengths of the batch


def leaves(node) -> list:
    if isinstance(node, tuple | list):
        return [array for one in node for array in leaves(one)]
    return [node] if isinstance(node, np.ndarray) else []
