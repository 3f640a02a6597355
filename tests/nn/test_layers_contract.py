"""How a layer treats its arguments: purity, strides, what is live and what is copied, which bits.

Whether the numbers are right is test_layers.py's, what is refused test_checks.py's, what happens
among threads and processes test_layers_shared.py's.
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import fastrnn
from fastrnn.engine.plan import is_shared
from tests.support.compare import assert_close, few_ulp
from tests.support.configurations import (
    Configuration,
    bare,
    every_cell,
    members,
    named,
    run,
    run_torch,
)

both_dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["f32", "f64"])
STACK = {"T": 6, "B": 5, "I": 7, "H": 9, "num_layers": 2, "bidirectional": True}
# Enough work for four threads: plan.is_shared.
BUSY = {"T": 40, "B": 17, "I": 40, "H": 70, "num_layers": 1, "bidirectional": False}


def assert_same(got, expected):
    """Assert equality bit for bit."""
    assert list(got) == list(expected)
    for name, array in expected.items():
        if array is None:
            assert got[name] is None, name
        else:
            assert_close(got[name], array, atol=0, name=name)


def case(cell, dtype=np.float64, **sizes):
    configuration = Configuration(cell, **(STACK | sizes))
    return configuration, configuration.layer(dtype), configuration.values(dtype)


@every_cell
def test_a_call_gives_what_vjp_gives(cell):
    configuration, layer, values = case(cell, lengths=(6, 0, 2, 5, 1))
    lengths = configuration.array_lengths()
    output, state = layer(values["x"], values["state"], lengths)
    (expected, last), _ = layer.vjp(values["x"], values["state"], lengths)
    assert_close(output, expected, atol=0)
    for got, want in zip(members(state), members(last), strict=True):
        assert_close(got, want, atol=0)


@every_cell
def test_a_pullback_is_pure(cell):
    _, layer, values = case(cell)
    (output, state), pullback = layer.vjp(values["x"], values["state"])

    def pull(factor):
        return named(
            output,
            state,
            pullback(
                factor * values["d_output"], bare([factor * d for d in members(values["d_state"])])
            ),
        )

    expected = {factor: pull(factor) for factor in (1.0, -2.0, 0.5, 3.0)}
    again = {factor: pull(factor) for factor in reversed(expected)}
    with ThreadPoolExecutor(4) as pool:
        from_threads = dict(zip(expected, pool.map(pull, expected), strict=True))
    for factor, arrays in expected.items():
        assert_same(again[factor], arrays)
        assert_same(from_threads[factor], arrays)
        assert_close(arrays["d_x"], factor * expected[1.0]["d_x"], atol=1e-13, rtol=1e-13)


@every_cell
def test_a_cotangent_of_none_is_zero(cell):
    _, layer, values = case(cell)
    (output, state), pullback = layer.vjp(values["x"])
    zero_output = np.zeros_like(values["d_output"])
    zeros = [np.zeros_like(d) for d in members(values["d_state"])]
    given = members(values["d_state"])
    cases = [
        ((None,), (zero_output, bare(zeros))),
        ((None, values["d_state"]), (zero_output, values["d_state"])),
        ((values["d_output"], None), (values["d_output"], bare(zeros))),
    ]
    if len(given) > 1:
        cases += [
            ((None, (None, given[1])), (zero_output, (zeros[0], given[1]))),
            ((values["d_output"], (given[0], None)), (values["d_output"], (given[0], zeros[1]))),
        ]
    for with_none, with_zeros in cases:
        got = pullback(*with_none)
        assert_same(named(output, state, got), named(output, state, pullback(*with_zeros)))
        assert all(isinstance(d, np.ndarray) for d in members(got.state))
        assert list(got.params) == list(layer.params)


def stepped(array):
    """The same numbers with gaps between them."""
    wide = np.full([2 * n for n in array.shape], -9).astype(array.dtype)
    wide[tuple(slice(None, None, 2) for _ in array.shape)] = array
    return wide[tuple(slice(None, None, 2) for _ in array.shape)]


def read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


def torch_tensor(array):
    torch = pytest.importorskip("torch")
    return torch.tensor(array)


FORMS = {
    "fortran": np.asfortranarray,
    "gaps": stepped,
    "backwards": lambda array: np.flip(np.flip(array).copy()),
    "read-only": read_only,
    "big-endian": lambda array: array.astype(array.dtype.newbyteorder(">")),
    "broadcast": lambda array: np.broadcast_to(array[..., None], (*array.shape, 2))[..., 0],
    "subclass": lambda array: array.view(np.recarray),
    "torch": torch_tensor,
}


@every_cell
@pytest.mark.parametrize("one_hot", [False, True], ids=["floats", "indices"])
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_any_form_of_array_is_accepted_and_left_alone(cell, form, one_hot):
    configuration, layer, values = case(cell, one_hot=one_hot, lengths=(6, 0, 2, 5, 1))
    lengths = configuration.array_lengths()
    expected = run(layer, values, lengths)

    def formed(value):
        return None if value is None else bare([form(v) for v in members(value)])

    given = {name: formed(value) for name, value in values.items()}
    before = {name: [np.asarray(v).copy() for v in members(value)] for name, value in given.items()}
    assert_same(run(layer, given, form(lengths)), expected)
    for name, arrays in before.items():
        for now, then in zip(members(given[name]), arrays, strict=True):
            assert_close(np.asarray(now), then, atol=0, name=name)


@every_cell
def test_arguments_and_parameters_are_not_written(cell):
    configuration, layer, values = case(cell, lengths=(6, 0, 2, 5, 1))
    params = layer.state_dict()
    copies = {name: [v.copy() for v in members(value)] for name, value in values.items()}
    lengths = configuration.array_lengths()
    run(layer, values, lengths)
    layer(values["x"], values["state"], lengths)
    assert_close(lengths, configuration.array_lengths(), atol=0)
    for name, value in values.items():
        for now, then in zip(members(value), copies[name], strict=True):
            assert_close(now, then, atol=0, name=name)
    for name, param in layer.params.items():
        assert_close(param, params[name], atol=0, name=name)


@every_cell
@pytest.mark.parametrize(("T", "B"), [(0, 3), (4, 0), (0, 0)])
@pytest.mark.parametrize("one_hot", [False, True], ids=["floats", "indices"])
@pytest.mark.parametrize("with_lengths", [False, True], ids=["whole", "lengths"])
def test_empty_input(cell, T, B, one_hot, with_lengths):
    sizes = {"T": T, "B": B, "one_hot": one_hot, "lengths": (0,) * B if with_lengths else None}
    configuration, layer, values = case(cell, **sizes)
    got = run(layer, values, configuration.array_lengths())
    assert got["output"].shape == (T, B, 18)
    for i, (first, d_last) in enumerate(
        zip(members(values["state"]), members(values["d_state"]), strict=True)
    ):
        assert_close(got[f"state {i}"], first, atol=0)
        assert_close(got[f"d_state {i}"], d_last, atol=0)
    for name, param in layer.params.items():
        assert_close(got[f"d_{name}"], np.zeros_like(param), atol=0, name=name)


@every_cell
@both_dtypes
@pytest.mark.parametrize("T", [9, 6], ids=["long", "short"])
@pytest.mark.parametrize("ragged", [False, True], ids=["whole", "ragged"])
def test_a_row_of_a_batch_is_the_row_alone(cell, dtype, ragged, T):
    """Bit for bit; but where so few steps are left that weights are not packed, to a few ulp."""
    lengths = (T, 0, 2, T - 1, 1, T, T, 3, 4) if ragged else None
    I, H = (7, 33) if T > 8 else (150, 150)  # noqa: E741
    configuration, layer, values = case(cell, dtype, T=T, B=9, lengths=lengths, I=I, H=H)
    whole = run(layer, values, configuration.array_lengths())
    for b in range(9):
        exact = T > 8 and (lengths is None or lengths[b] > 8)
        row = {
            name: bare([v[:, b : b + 1] for v in members(value)]) for name, value in values.items()
        }
        length = None if lengths is None else np.array(lengths[b : b + 1])
        alone = run(layer, row, length)
        for name in alone:
            if "weight" not in name and "bias" not in name:
                got, tolerance = whole[name][:, b : b + 1], 0 if exact else few_ulp(whole[name])
                assert_close(got, alone[name], atol=tolerance, name=f"{name}, {b}")


@every_cell
@both_dtypes
@pytest.mark.parametrize(
    "sizes",
    [
        {},
        {"lengths": tuple(range(40, 23, -1))},
        {"one_hot": True},
        {"B": 1, "H": 130, "T": 170},
        {"B": 1, "H": 300, "I": 400, "T": 20},
        {"B": 3, "H": 256, "lengths": (40, 13, 27)},
        {"B": 6, "H": 400, "I": 400, "T": 1},
        {"B": 90, "H": 64, "T": 1, "I": 300},
    ],
    ids=["whole", "ragged", "one-hot", "single", "large", "large-ragged", "step", "many-steps"],
)
def test_any_number_of_threads_gives_the_same_bits(cell, dtype, sizes, threads):
    configuration, layer, values = case(cell, dtype, **(BUSY | sizes))
    lengths = configuration.array_lengths()
    rows = configuration.T * configuration.B if lengths is None else lengths.sum()
    per_row = configuration.H + configuration.I * (not configuration.one_hot)
    work = 2 * len(cell.gates) * configuration.H * per_row * rows
    assert is_shared(work)
    results = []
    for count in (1, 2, 4, 3, 1):
        threads(count)
        results.append(run(layer, values, lengths))
        if lengths is None and not configuration.one_hot:
            for i in range(3):  # the general call, then its shortcut
                output, _ = layer(values["x"], values["state"])
                results[-1][f"call {i}"] = output
            stream = layer.stream(configuration.B)
            for t in range(min(4, configuration.T)):
                results[-1][f"stream {t}"] = stream(values["x"][t]).copy()
    for result in results[1:]:
        assert_same(result, results[0])


def test_params_are_live_and_state_dict_copies():
    layer = fastrnn.LSTM(3, 4, seed=0)
    x = np.ones((2, 1, 3), np.float32)
    before, saved = layer(x)[0], layer.state_dict()
    assert list(saved) == list(layer.params)
    layer.params["weight_hh_l0"] *= 2
    layer.params["bias_ih_l0"][...] += 1
    assert (layer(x)[0] != before).any()
    assert not np.shares_memory(saved["weight_hh_l0"], layer.params["weight_hh_l0"])
    held = layer.params["weight_hh_l0"]
    layer.load_state_dict(saved)
    assert layer.params["weight_hh_l0"] is held
    assert_close(layer(x)[0], before, atol=0)


def test_load_state_dict():
    layer, other = fastrnn.GRU(3, 4, seed=0), fastrnn.GRU(3, 4, seed=1)
    state = other.state_dict()
    without = {name: value for name, value in state.items() if name != "bias_hh_l0"}
    for wrong, message in ((without, "lacks"), (state | {"head": state["bias_ih_l0"]}, "unknown")):
        with pytest.raises(KeyError, match=message):
            layer.load_state_dict(wrong)
    same = fastrnn.GRU(3, 4, seed=0)
    assert_same(layer.params, same.params)  # nothing is changed if anything is wrong
    with pytest.raises(ValueError, match="weight_hh_l0 has shape"):
        layer.load_state_dict(state | {"weight_hh_l0": np.zeros((4, 4), np.float32)})
    with pytest.raises(ValueError, match="bias_ih_l0 is float64"):
        layer.load_state_dict(state | {"bias_ih_l0": np.zeros(12)})
    with pytest.raises(TypeError, match="bias_ih_l0 is a list"):
        layer.load_state_dict(state | {"bias_ih_l0": [0.0] * 12})
    with pytest.raises(TypeError, match="state_dict is a list"):
        layer.load_state_dict(list(state))
    assert_same(layer.params, same.params)
    layer.load_state_dict(without | {"head": state["bias_ih_l0"]}, strict=False)
    assert_same(layer.params, other.params | {"bias_hh_l0": same.params["bias_hh_l0"]})
    layer.load_state_dict(state)
    assert_same(layer.params, other.params)


@every_cell
def test_load_state_dict_takes_torchs(cell):
    torch = pytest.importorskip("torch")
    configuration, layer, values = case(cell)
    theirs = {
        name: torch.nn.Parameter(torch.tensor(value * 2))
        for name, value in layer.state_dict().items()
    }
    layer.load_state_dict(theirs)
    expected = run_torch(
        configuration, {n: t.detach().numpy() for n, t in theirs.items()}, values, np.float64
    )
    for name, array in run(layer, values).items():
        assert_close(array, expected[name], atol=1e-12, rtol=1e-12, name=name)
