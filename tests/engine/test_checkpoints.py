"""Checkpoints change what is kept, and no bit of what comes out.

That the gradient without checkpoints is right is test_gradients.py's. Sizes of pieces are made
tiny here, so that a short sequence has many stretches.
"""

import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fastrnn
from fastrnn import functional
from fastrnn.engine.batch import equal_batch, rows_of
from fastrnn.engine.plan import block_of_backward
from fastrnn.nn.call import Call
from fastrnn.nn.program import prepare
from tests.support.compare import assert_close
from tests.support.configurations import Configuration, configurations, every_cell, members, run

SHARED = {"_SHARED_OPERATIONS": 0, "_LOCKSTEP_OPERATIONS": 0, "_CHUNK_OPERATIONS": 1}


def tiny(rows, operations=4e9):
    """Return limits under which a piece has so many rows, and even the shortest is kept apart."""
    return {
        "_BLOCK_ROWS": (rows, rows),
        "_PIECE_OPERATIONS": operations,
        "UNPACKED_STEPS": 0,
        "UNPACKED_ROWS": 0,
    }


def assert_same(got, expected):
    for name, array in expected.items():
        if array is None:
            assert got[name] is None
        else:
            assert_close(got[name], array, atol=0, name=name)


@every_cell
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["f32", "f64"])
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_checkpoints_change_no_bit(cell, dtype, data, limits, threads):
    drawn = data.draw(configurations(cell, dtype))
    layer, values, lengths = drawn.layer(dtype), drawn.values(dtype), drawn.array_lengths()
    rows = data.draw(st.sampled_from([1, 2, 3, 10, 17]), "rows of a piece")
    limits(
        **tiny(rows, data.draw(st.sampled_from([1, 4e9]), "operations between two stops")),
        **data.draw(st.sampled_from([{}, SHARED]), "limits"),
    )
    threads(data.draw(st.sampled_from([1, 2, 3]), "threads"))
    checkpoint = data.draw(st.one_of(st.integers(1, 13), st.just("auto")), "checkpoint")
    assert_same(run(layer, values, lengths, checkpoint=checkpoint), run(layer, values, lengths))


@every_cell
@pytest.mark.parametrize(
    "sizes",
    [
        {"T": 1500, "B": 1, "H": 40},
        {"T": 700, "B": 3, "H": 70, "lengths": (700, 3, 411)},
        {"T": 90, "B": 40, "H": 64, "num_layers": 2, "bidirectional": True},
        {"T": 3000, "B": 2, "H": 17, "one_hot": True, "I": 9},
    ],
    ids=["single", "ragged", "stack", "one-hot"],
)
def test_long_sequences_without_any_limit_changed(cell, sizes):
    drawn = Configuration(cell, **sizes)
    layer, values, lengths = (
        drawn.layer(np.float32),
        drawn.values(np.float32),
        drawn.array_lengths(),
    )
    assert_same(run(layer, values, lengths, checkpoint=1), run(layer, values, lengths))


def test_dropout_is_the_same_mask(limits):
    limits(**tiny(5))
    x = np.random.default_rng(0).normal(size=(23, 4, 3)).astype(np.float32)
    results = []
    for checkpoint in (None, 7):
        layer = fastrnn.LSTM(3, 6, 2, dropout=0.5, seed=0)
        (output, _), pullback = layer.vjp(x, checkpoint=checkpoint)
        results.append({"output": output, **pullback(np.ones_like(output)).params})
    assert_same(*results)


@pytest.mark.parametrize("name", ["rnn", "lstm", "gru"])
def test_functions_take_checkpoints(name, limits):
    limits(**tiny(3))
    layer = getattr(fastrnn, name.upper())(4, 5, seed=0, dtype=np.float64)
    x = np.random.default_rng(0).normal(size=(20, 2, 4))
    vjp, weights = getattr(functional, f"{name}_vjp"), tuple(layer.params.values())
    (output, _), pullback = vjp(x, None, *weights, reverse=True)
    _, kept = vjp(x, None, *weights, reverse=True, checkpoint="auto")
    assert_same(kept(output).params, pullback(output).params)
    assert_same({"input": kept(output).input}, {"input": pullback(output).input})
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
    assert_same(part.params, whole.params)
    for got, expected in zip(members(part.state), members(whole.state), strict=True):
        assert_close(got, expected, atol=0)


def test_the_pullback_is_pure(limits):
    """Again, from several threads at once, with other cotangents between."""
    limits(**tiny(4))
    layer = fastrnn.LSTM(3, 20, seed=0)
    x = np.random.default_rng(0).normal(size=(50, 2, 3)).astype(np.float32)
    (output, _), pullback = layer.vjp(x, checkpoint=8)
    kept = output.copy()
    expected = {scale: pullback(output * np.float32(scale)).params for scale in (1, -2)}
    with ThreadPoolExecutor(4) as pool:
        scales = [1, -2] * 20
        for scale, grads in zip(
            scales, pool.map(lambda s: pullback(kept * np.float32(s)), scales), strict=True
        ):
            assert_same(grads.params, expected[scale])
    np.testing.assert_array_equal(output, kept)


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
    assert_same(pullback(output, wrt_input=False).params, expected)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < x.nbytes // 3
    batch_first = fastrnn.GRU(40, 3, seed=0, batch_first=True)
    np.testing.assert_array_equal(batch_first(mapped.swapaxes(0, 1))[0].swapaxes(0, 1), output)
