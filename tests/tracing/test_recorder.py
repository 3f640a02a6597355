"""What a Recorder sees of one direction of one layer: rows, in the order of the kernels."""

import numpy as np
import pytest

import fastrnn
from fastrnn.engine.batch import batch_of
from fastrnn.nn.call import Call
from fastrnn.nn.program import Program
from fastrnn.tracing.recorder import Recorder
from tests.support.compare import assert_bits, assert_close
from tests.support.configurations import Configuration, every_cell, members
from tests.support.episodes import pieces

LENGTHS = np.array([2, 4, 0])


def recorded(cell, slot=0, **options):
    layer = Configuration(cell, I=3, H=5, **options).layer(np.float64)
    x = np.random.default_rng(0).standard_normal((4, 3, 3))
    program = Program(layer.spec, Call(4, 3, 1, keep=True, plain=False))
    output, final, tape = program.run(layer.weights(), x, None, batch_of(4, 3, LENGTHS))
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
    before = recorder.states_before(np.arange(6))
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
    before = recorder.states_before(np.arange(6))
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


@every_cell
@pytest.mark.parametrize(
    "options", [{"bidirectional": True}, {"num_layers": 2}], ids=["two directions", "two layers"]
)
def test_episodes_are_traced_as_if_each_were_a_sequence(cell, options):
    layer = Configuration(cell, I=3, H=5, **options).layer(np.float64)
    rng, T, B = np.random.default_rng(1), 9, 3
    x, mask = rng.standard_normal((T, B, 3)), rng.random((T, B)) < 0.4
    d_output = rng.standard_normal(layer(x)[0].shape)
    whole = fastrnn.trace(layer, x, d_output, reset=mask)
    flow = fastrnn.gradient_flow(layer, x, d_output, reset=mask)
    for b in range(B):
        for first, last in pieces(mask[:, b], T):
            at = slice(first, last), slice(b, b + 1)
            part = fastrnn.trace(layer, x[at], d_output[at])
            for name, expected in part.items():
                for field, arrays in expected._asdict().items():
                    for kind, array in arrays.items():
                        got = getattr(whole[name], field)[kind][at]
                        assert_close(got, array, atol=1e-12, name=f"{name} {field} {kind}")
                norms = np.linalg.norm(expected.d_states["h"], axis=2)
                assert_close(flow[name].d_states["h"].norm[at], norms, atol=1e-12)
    longest = max(last - first for b in range(B) for first, last in pieces(mask[:, b], T))
    assert len(flow["l0"].d_states["h"].back) == longest
    assert flow["l0"].jacobian_steps == (~mask).sum()


def test_across_a_reset_there_is_no_jacobian():
    """Of one unit the step Jacobian is a number: that of the steps that have one before them."""
    layer = fastrnn.RNN(1, 1, dtype=np.float64, seed=0)
    x, cut = np.random.default_rng(0).standard_normal((5, 1, 1)), np.zeros((5, 1), bool)
    cut[2] = True
    t, w_hh = fastrnn.trace(layer, x, reset=cut), layer.params["weight_hh_l0"].item()
    slopes = (1 - t["l0"].states["h"].ravel() ** 2) * w_hh
    flow = fastrnn.gradient_flow(layer, x, np.ones((5, 1, 1)), reset=cut)
    np.testing.assert_allclose(flow["l0"].jacobian_radius, abs(np.delete(slopes, 2).mean()))
