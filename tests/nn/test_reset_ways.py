"""`reset=` in streams, single steps and truncated BPTT: the numbers of a whole call; and messages.

That a whole call is right is test_reset.py's; what it says of a bad mask, tests/test_checks.py's.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastrnn
from fastrnn import truncated_bptt
from fastrnn.nn.single_step import SingleStep
from tests.support.bad_input import INDEX, LSTM, B, T, X
from tests.support.compare import assert_bits, assert_close
from tests.support.configurations import Configuration, both_dtypes, every_cell, members, run
from tests.support.episodes import check_stream, check_truncated, masks, run_cut

STACKS = {"one": {}, "stacked": {"num_layers": 2}, "one-hot": {"one_hot": True}}
stacks = pytest.mark.parametrize("sizes", STACKS.values(), ids=STACKS)


def drawn_mask(T, B, density=0.3):
    return np.random.default_rng(0).random((T, B)) < density


@every_cell
@both_dtypes
@stacks
@pytest.mark.parametrize("B", [1, 7])
def test_a_stream_is_its_layer(cell, dtype, sizes, B):
    drawn = Configuration(cell, T=17, B=B, I=7, H=9, **sizes)
    check_stream(drawn, drawn_mask(17, B), dtype)


@pytest.mark.parametrize("proj_size", [0, 5])
def test_a_projected_stream_is_its_layer(proj_size):
    drawn = Configuration(fastrnn.LSTM.cell, T=17, B=3, I=7, H=9, num_layers=2, proj_size=proj_size)
    check_stream(drawn, drawn_mask(17, 3), np.float64)


@every_cell
@pytest.mark.parametrize("one_hot", [False, True], ids=["floats", "indices"])
def test_a_stream_of_one_takes_a_bool(cell, one_hot):
    drawn = Configuration(cell, T=11, B=1, I=5, H=9, one_hot=one_hot)
    layer, x, mask = drawn.layer(np.float64), drawn.values(np.float64)["x"], drawn_mask(11, 1)
    output, _ = layer(x, reset=mask)
    for form in (bool, np.bool_, np.array):
        stream = layer.stream()
        for t in range(11):
            assert_close(stream(x[t, 0], reset=form(mask[t, 0])), output[t, 0], atol=0)


@every_cell
def test_a_stream_with_nothing_to_reset_is_a_stream(cell):
    layer = Configuration(cell, H=9, num_layers=2).layer(np.float32)
    stream, plain = layer.stream(batch_size=3), layer.stream(batch_size=3)
    for x in np.random.default_rng(0).normal(size=(7, 3, 4)).astype(np.float32):
        assert_bits(stream(x, reset=np.zeros(3, bool)), plain(x))


@every_cell
@pytest.mark.parametrize("num_layers", [1, 2])
def test_nan_in_a_stream_ends_with_its_episode(cell, num_layers):
    layer = Configuration(cell, H=9, num_layers=num_layers).layer(np.float64)
    stream, clean = layer.stream(batch_size=3), layer.stream(batch_size=3)
    x = np.random.default_rng(0).normal(size=(9, 3, 4))
    bad, mask = x.copy(), np.zeros((9, 3), bool)
    bad[1:4, 1], mask[4, 1] = np.nan, True
    for t in range(9):
        got, expected = stream(bad[t], reset=mask[t]), clean(x[t], reset=mask[t])
        assert_bits(got[::2], expected[::2])
        if 1 <= t < 4:
            assert np.isnan(got[1]).all()
        else:
            assert_bits(got[1], expected[1])


STREAM = {
    "list": ([True] * B, TypeError, "LSTM.stream: reset is a list; expected a NumPy array"),
    "number": (1, TypeError, "LSTM.stream: reset is a int"),
    "uint8": (np.ones(B, np.uint8), TypeError, r"reset is uint8; .*reset != 0"),
    "floats": (np.ones(B), TypeError, r"reset is float64; .*reset != 0"),
    "too few": (np.ones(B - 1, bool), ValueError, r"reset has shape \(2,\); .*\(3,\)"),
    "2-d": (np.ones((B, 1), bool), ValueError, r"reset has shape \(3, 1\)"),
    "bool": (True, ValueError, r"reset has shape \(\)"),
    "sequence": (np.ones((T, B), bool), ValueError, r"reset has shape \(4, 3\)"),
}


@pytest.mark.parametrize(("mask", "error", "message"), STREAM.values(), ids=STREAM)
@pytest.mark.parametrize("x", [X[0], INDEX[0]], ids=["floats", "indices"])
def test_a_stream_refuses_what_is_no_mask_and_goes_on(x, mask, error, message):
    stream, clean = LSTM.stream(batch_size=B), LSTM.stream(batch_size=B)
    stream(X[0] + 1)
    clean(X[0] + 1)
    with pytest.raises(error, match=message):
        stream(x, reset=mask)
    assert_bits(stream(x), clean(x))


def test_a_refused_input_leaves_the_state():
    stream, clean = LSTM.stream(batch_size=B), LSTM.stream(batch_size=B)
    for one in (stream, clean):
        one(X[0] + 1)
    for wrong in (X, X[0].astype(float), np.full(B, 99)):
        with pytest.raises((ValueError, IndexError)):
            stream(wrong, reset=np.ones(B, bool))
    assert_bits(stream(X[1]), clean(X[1]))


@every_cell
@both_dtypes
@pytest.mark.parametrize("num_layers", [1, 3])
@pytest.mark.parametrize("given", [True, False], ids=["state", "none"])
def test_a_single_step_gives_the_bits_of_the_general_way(
    cell, dtype, num_layers, given, monkeypatch
):
    drawn = Configuration(cell, T=1, B=5, I=16, H=16, num_layers=num_layers, given=(given,) * 2)
    layer, values = drawn.layer(dtype), drawn.values(dtype)
    ran, forward = [], SingleStep.forward

    def counted(*args):
        ran.append(1)
        return forward(*args)

    monkeypatch.setattr(SingleStep, "forward", counted)
    for mask in (np.array([[False, True, False, True, True]]), np.ones((1, 5), bool)):
        got, output = run_cut(drawn, layer, values, mask), layer(values["x"], values["state"])
        assert len(ran) == 2  # both went the short way
        output, state = layer(values["x"], values["state"], reset=mask)
        ran.clear()
        # Lengths are what a short way does not know.
        general = run(layer, values, np.ones(5, np.int64), reset=mask)
        assert not ran
        assert_bits(got, general)
        assert_bits(output, got["output"])
        for i, s in enumerate(members(state)):
            assert_bits(s, got[f"state {i}"])
            assert not got[f"d_state {i}"][:, mask[0]].any()
            assert got[f"d_state {i}"][:, ~mask[0]].any() == (not mask.all())


def test_a_step_of_the_reverse_direction_is_not_cut():
    """What it has read before is nothing: its initial state enters at the end."""
    layer = fastrnn.GRU(16, 16, dtype=np.float64, seed=0)
    weights, rng = tuple(layer.params.values()), np.random.default_rng(0)
    x, h_0, mask = rng.normal(size=(1, 3, 16)), rng.normal(size=(3, 16)), np.ones((1, 3), bool)
    given = x, h_0, *weights
    (output, _), pullback = fastrnn.functional.gru_vjp(*given, reset=mask, reverse=True)
    (plain, _), expected = fastrnn.functional.gru_vjp(*given, reverse=True)
    assert_bits(output, plain)
    assert_bits(pullback(output).state, expected(output).state)


def test_whatever_holds_bools_is_a_mask():
    layer, mask = fastrnn.GRU(3, 4, seed=0), drawn_mask(6, 5)
    x = np.random.default_rng(1).normal(size=(6, 5, 3)).astype(np.float32)
    wide = np.zeros((12, 10), bool)
    wide[::2, 1::2] = mask
    frozen = mask.copy()
    frozen.setflags(write=False)
    torch = pytest.importorskip("torch")
    forms = mask.copy("F"), wide[::2, 1::2], mask[::-1].copy()[::-1], frozen, torch.tensor(mask)
    for form in forms:
        for call in (layer, lambda x, reset: layer.vjp(x, reset=reset)[0]):
            assert_bits(call(x, reset=form), layer(x, reset=mask))
    stream = layer.stream(batch_size=5)
    for t in range(6):
        output = stream(x[t], reset=torch.tensor(mask[t]))
    assert_close(output, layer(x, reset=mask)[0][-1], atol=1e-6)


@every_cell
@settings(max_examples=15)
@given(data=st.data())
def test_truncated_bptt_that_goes_back_to_the_begin_is_all_of_bptt(cell, data):
    steps, rows = data.draw(st.integers(1, 20), "T"), data.draw(st.integers(1, 3), "B")
    batch_first, ragged = (
        data.draw(st.booleans(), "batch_first"),
        data.draw(st.booleans(), "ragged"),
    )
    drawn = Configuration(cell, T=steps, B=rows, I=3, num_layers=2, batch_first=batch_first)
    mask, k1 = data.draw(masks(steps, rows), "mask"), data.draw(st.integers(1, 9), "k1")
    lengths = np.arange(steps, steps - rows, -1).clip(0) if ragged else None
    check_truncated(drawn, mask, k1, lengths)


@every_cell
@pytest.mark.parametrize(("k1", "k2"), [(1, 1), (3, 5), (4, 4), (4, 11), (7, 9), (30, 30)])
@pytest.mark.parametrize("ragged", [False, True], ids=["whole", "ragged"])
def test_truncated_bptt_is_its_windows(cell, k1, k2, ragged):
    """Each window from the state before it, which a reset cuts off as it does inside."""
    drawn = Configuration(cell, T=23, B=4, I=3, num_layers=2)
    layer, values, mask = drawn.layer(np.float64), drawn.values(np.float64), drawn_mask(23, 4)
    x, state, lengths = values["x"], values["state"], np.array([23, 0, 9, 14]) if ragged else None

    def cut(start, end):
        left = None if lengths is None else np.clip(lengths - start, 0, end - start)
        return {"lengths": left, "reset": mask[start:end]}

    d_x, d_params = np.zeros(x.shape), {name: 0 for name in layer.params}
    for now in [*range(k1, 23, k1), 23]:
        begin, before = max(0, now - k2), (now - 1) // k1 * k1
        _, start = layer(x[:begin], state, **cut(0, begin))
        (output, last), pullback = layer.vjp(x[begin:now], start, **cut(begin, now))
        errors = np.zeros_like(output)
        errors[before - begin :] = values["d_output"][before:now]
        grads = pullback(errors)
        d_x[begin:now] += grads.input
        d_params = {name: d + grads.params[name] for name, d in d_params.items()}
    given = layer, x, values["d_output"], k1, k2, state, lengths
    after, grads = truncated_bptt(*given, reset=mask, wrt_input=True)
    assert_close(grads.input, d_x, atol=1e-13, rtol=1e-12)
    seen = []
    truncated_bptt(*given, reset=mask, update=lambda grads: seen.append(grads.params))
    for name, d in d_params.items():
        assert_close(grads.params[name], d, atol=1e-13, rtol=1e-12)
        assert_close(sum(params[name] for params in seen), d, atol=1e-13, rtol=1e-12)
    for got, expected in zip(members(after), members(last), strict=True):
        assert_close(got, expected, atol=1e-13)


def test_truncated_bptt_of_mapped_files(tmp_path):
    layer, rng = fastrnn.LSTM(7, 4, dtype=np.float64, seed=0), np.random.default_rng(0)
    arrays = {"x": rng.normal(size=(40, 2, 7)), "mask": drawn_mask(40, 2)}
    for name, array in arrays.items():
        np.save(tmp_path / f"{name}.npy", array)
    x, mask = (np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in arrays)
    d_output = np.ones((40, 2, 4))
    expected = layer.vjp(arrays["x"], reset=arrays["mask"])[1](d_output)
    _, grads = truncated_bptt(layer, x, d_output, 10, 40, reset=mask)
    for name, d in expected.params.items():
        assert_close(grads.params[name], d, atol=1e-13, rtol=1e-12)


TRUNCATED = {
    "list": ([[True] * B] * T, TypeError, "truncated_bptt: reset is a list"),
    "uint8": (
        np.ones((T, B), np.uint8),
        TypeError,
        r"truncated_bptt: reset is uint8; .*reset != 0",
    ),
    "axes": (np.ones((B, T), bool), ValueError, r"truncated_bptt: reset has shape \(3, 4\)"),
    "last axis": (np.ones((T, B, 1), bool), ValueError, r"reset has shape \(4, 3, 1\)"),
    "short": (np.ones((T - 1, B), bool), ValueError, "reset has (3 steps on axis 0|shape)"),
    "long": (np.ones((T + 1, B), bool), ValueError, "reset has (5 steps on axis 0|shape)"),
    "1-d": (np.ones(T, bool), ValueError, "reset has shape"),
    "0-d": (np.array(True), ValueError, "reset has shape"),
}


@pytest.mark.parametrize(("mask", "error", "message"), TRUNCATED.values(), ids=TRUNCATED)
@pytest.mark.parametrize("chunks", [False, True], ids=["array", "chunks"])
def test_truncated_bptt_refuses_what_is_no_mask(chunks, mask, error, message):
    x = iter(np.split(X, 2)) if chunks else X
    with pytest.raises(error, match=message):
        truncated_bptt(LSTM, x, lambda output, t: output, 2, 2, reset=mask)


@pytest.mark.parametrize("name", ["rnn", "lstm", "gru"])
def test_functions_refuse_what_is_no_mask(name):
    weights = tuple(getattr(fastrnn, name.upper())(X.shape[-1], 4).params.values())
    for function in (name, f"{name}_vjp"):
        call = getattr(fastrnn.functional, function)
        with pytest.raises(TypeError, match=rf"^{name}: reset is uint8; .*reset != 0"):
            call(X, None, *weights, reset=np.ones((T, B), np.uint8))
        with pytest.raises(ValueError, match=rf"^{name}: reset has shape \(3, 4\)"):
            call(X, None, *weights, reset=np.ones((B, T), bool))
