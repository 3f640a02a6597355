"""What a Recorder sees of one direction of one layer: rows, in the order of the kernels."""

import numpy as np

import fastrnn
from fastrnn.nn.call import Call
from fastrnn.nn.program import Program
from fastrnn.tracing.recorder import Recorder
from tests.support.compare import assert_bits
from tests.support.configurations import Configuration, every_cell, members

LENGTHS = np.array([2, 4, 0])


def recorded(cell, slot=0, **options):
    layer = Configuration(cell, I=3, H=5, **options).layer(np.float64)
    x = np.random.default_rng(0).standard_normal((4, 3, 3))
    program = Program(layer.spec, Call(4, 3, 1, keep=True, plain=False))
    output, final, tape = program.run(layer.weights(), x, None, LENGTHS)
    return Recorder(program, tape, final, slot), x, output, final, layer


@every_cell
def test_rows_are_the_real_steps_of_the_sorted_batch(cell):
    recorder, x, output, final, _ = recorded(cell)
    # Sequence 1 is the longest, so it is first; sequence 2 has no step.
    assert recorder.b.tolist() == [1, 0, 1, 0, 1, 1]
    assert recorder.t.tolist() == recorder.step.tolist() == [0, 0, 1, 1, 2, 3]
    assert recorder.back.tolist() == [3, 1, 2, 0, 1, 0]
    assert_bits(recorder.input(), x[recorder.t, recorder.b])
    after = recorder.states_after()
    assert_bits(recorder.spread(after[0]), output)
    for rows, member in zip(after, final, strict=True):
        assert_bits(rows[recorder.back == 0], member[0][recorder.b[recorder.back == 0]])
    before = recorder.states_before()
    for old, new in zip(before, after, strict=True):
        assert not old[recorder.step == 0].any()
        assert_bits(old[2:4], new[:2])  # step 1 finds what step 0 has left


@every_cell
def test_the_reverse_direction_reads_from_the_end(cell):
    recorder, _, output, _, layer = recorded(cell, slot=1, bidirectional=True)
    assert recorder.t.tolist() == [3, 1, 2, 0, 1, 0]
    h = recorder.spread(recorder.states_after()[0])
    assert_bits(h, output[..., layer.hidden_size :])


@every_cell
def test_what_is_saved_are_gates_that_make_the_states(cell):
    """One step of the cell's equations, from what is read, gives what is saved as its states."""
    recorder, _, _, _, layer = recorded(cell)
    w_ih, w_hh, b_ih, b_hh, _ = recorder.weights
    before = recorder.states_before()
    b_ih, b_hh = (0 if b is None else b for b in (b_ih, b_hh))
    after = layer.cell.equations(
        recorder.input() @ w_ih.T + b_ih, before[0] @ w_hh.T + b_hh, *before
    )
    for got, want in zip(recorder.states_after(), members(tuple(after)), strict=True):
        np.testing.assert_allclose(got, want, atol=1e-14)
    for gate in layer.cell.gates:
        assert recorder.saved(gate).shape == (6, layer.hidden_size)


def test_a_layer_with_nothing_to_see():
    layer = fastrnn.LSTM(3, 4, seed=0)
    trace = fastrnn.trace(layer, np.zeros((2, 0, 3), np.float32), np.zeros((2, 0, 4), np.float32))
    assert trace["l0"].states["c"].shape == (2, 0, 4)
