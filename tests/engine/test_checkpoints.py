"""Checkpoints: where they lie, what memory they save, which arguments ask for them.

That they change no bit is test_recompute.py's.
"""

import tracemalloc

import numpy as np
import pytest

import fastrnn
from fastrnn import functional
from fastrnn.engine.batch import equal_batch, rows_of
from fastrnn.engine.plan import block_of_backward
from fastrnn.nn.call import Call
from fastrnn.nn.program import prepare
from tests.support.compare import assert_bits, assert_close
from tests.support.configurations import Configuration, every_cell, members
from tests.support.plans import tiny


@pytest.mark.parametrize("name", ["rnn", "lstm", "gru"])
def test_functions_take_checkpoints(name, limits):
    limits(**tiny(3))
    layer = getattr(fastrnn, name.upper())(4, 5, seed=0, dtype=np.float64)
    x = np.random.default_rng(0).normal(size=(20, 2, 4))
    vjp, weights = getattr(functional, f"{name}_vjp"), tuple(layer.params.values())
    (output, _), pullback = vjp(x, None, *weights, reverse=True)
    _, kept = vjp(x, None, *weights, reverse=True, checkpoint="auto")
    assert_bits(kept(output).params, pullback(output).params)
    assert_bits({"input": kept(output).input}, {"input": pullback(output).input})
    assert kept.nbytes < pullback.nbytes
    assert kept(output, wrt_input=False).input is None


@every_cell
def test_without_the_input_s_gradient_the_others_are_the_same(cell):
    drawn = Configuration(cell, T=30, B=3, H=20, num_layers=2, bidirectional=True)
    layer, values = drawn.layer(np.float32), drawn.values(np.float32)
    _, pullback = layer.vjp(values["x"], values["state"])
    whole = pullback(values["d_output"], values["d_state"])
    part = pullback(values["d_output"], values["d_state"], wrt_input=False)
    assert part.input is None
    assert_bits(part.params, whole.params)
    for got, expected in zip(members(part.state), members(whole.state), strict=True):
        assert_close(got, expected, atol=0)


@pytest.mark.parametrize("kind", [fastrnn.RNN, fastrnn.GRU, fastrnn.LSTM])
def test_memory_grows_with_the_root_of_the_length(kind):
    """All that is taken, output included, is far below what training keeps without."""
    layer, steps = kind(2, 16, seed=0), 200_000
    x, d_output = np.ones((steps, 1, 2), np.float32), np.ones((steps, 1, 16), np.float32)
    layer.vjp(x[:5000], checkpoint="auto")[1](d_output[:5000], wrt_input=False)
    tracemalloc.start()
    _, pullback = layer.vjp(x, checkpoint="auto")
    assert pullback.nbytes < 100_000
    pullback(d_output, wrt_input=False)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < d_output.nbytes + 4_000_000


def test_a_budget_is_kept_and_used():
    layer, x = fastrnn.LSTM(4, 32, 2, seed=0), np.ones((50_000, 1, 4), np.float32)
    row, state = 5 * 32 * 4, 2 * 32 * 4  # bytes of a step; of a checkpoint, in both layers
    batch = equal_batch(len(x), 1)
    program = prepare(layer.spec, Call(len(x), 1, 1, keep=True))
    piece = block_of_backward(128, np.dtype(np.float32), len(x), 1)
    assert (
        program.checkpoint_every("LSTM", "auto", len(x) * row * 2) == 0
    )  # nothing need be computed again
    for memory in (40 << 20, 20 << 20, 4 << 20, piece * row + 20_000):
        every = program.checkpoint_every("LSTM", "auto", memory)
        assert every % piece == 0

        def cost(every):
            return min(batch.rows, every) * row + -(-len(x) // every) * state

        assert cost(every) <= memory < cost(every + piece) or every >= len(x)
    with pytest.raises(
        ValueError, match=r"LSTM: memory=1,000 bytes are too few.*at least [\d,]+\."
    ):
        layer.vjp(x, checkpoint="auto", memory=1000)
    _, pullback = layer.vjp(x, checkpoint="auto", memory=20 << 20)
    outputs = 50_000 * 32 * 4  # of the first layer, which the budget leaves out
    assert pullback.nbytes - outputs < 20 << 20


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"checkpoint": 0}, ValueError, "checkpoint must be at least 1, got 0"),
        ({"checkpoint": 2.5}, TypeError, "checkpoint should be of type int"),
        ({"checkpoint": True}, TypeError, "checkpoint should be of type int"),
        ({"checkpoint": "sqrt"}, ValueError, "expected None, 'auto' or a number of steps"),
        ({"memory": 1000}, ValueError, "expected checkpoint='auto'"),
        ({"checkpoint": 5, "memory": 1000}, ValueError, "pass checkpoint='auto' with it"),
        ({"checkpoint": "auto", "memory": 1e6}, TypeError, "memory should be of type int"),
        ({"checkpoint": "auto", "memory": 0}, ValueError, "memory must be at least 1"),
    ],
)
def test_bad_arguments(options, error, message):
    with pytest.raises(error, match=f"LSTM: .*{message}"):
        fastrnn.LSTM(3, 4).vjp(np.ones((100, 1, 3), np.float32), **options)


def test_wrt_input_is_a_bool():
    _, pullback = fastrnn.LSTM(3, 4).vjp(np.ones((5, 1, 3), np.float32))
    with pytest.raises(TypeError, match="LSTM: wrt_input should be of type bool"):
        pullback(None, wrt_input=1)


@pytest.mark.parametrize("shape", [(0, 3), (5, 0)])
def test_nothing_to_keep(shape):
    layer, x = fastrnn.LSTM(2, 4, seed=0), np.ones((*shape, 2), np.float32)
    (output, _), pullback = layer.vjp(x, checkpoint="auto")
    assert pullback(output).input.shape == x.shape


def test_a_file_mapped_for_reading_is_not_copied(tmp_path):
    path, rng = tmp_path / "x.npy", np.random.default_rng(0)
    x = rng.normal(size=(150_000, 1, 40)).astype(np.float32)
    np.save(path, x)
    mapped, layer = np.load(path, mmap_mode="r"), fastrnn.GRU(40, 3, seed=0)
    rows = rows_of(np.asarray(mapped))
    assert np.shares_memory(rows.array, mapped)
    (output, _), pullback = layer.vjp(x, checkpoint="auto")
    expected = pullback(output, wrt_input=False).params
    tracemalloc.start()
    (output, _), pullback = layer.vjp(mapped, checkpoint="auto")
    assert_bits(pullback(output, wrt_input=False).params, expected)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < x.nbytes // 3
    batch_first = fastrnn.GRU(40, 3, seed=0, batch_first=True)
    np.testing.assert_array_equal(batch_first(mapped.swapaxes(0, 1))[0].swapaxes(0, 1), output)
