"""Parameters: live, copied out and in, of the right kind; copies and pickles of what holds them."""

import copy
import pickle

import numpy as np
import pytest

import fastrnn
from tests.support.compare import assert_bits, assert_close
from tests.support.configurations import case, every_cell, members, run, run_torch


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
    assert_bits(layer.params, same.params)  # nothing is changed if anything is wrong
    with pytest.raises(ValueError, match="weight_hh_l0 has shape"):
        layer.load_state_dict(state | {"weight_hh_l0": np.zeros((4, 4), np.float32)})
    with pytest.raises(ValueError, match="bias_ih_l0 is float64"):
        layer.load_state_dict(state | {"bias_ih_l0": np.zeros(12)})
    with pytest.raises(TypeError, match="bias_ih_l0 is a list"):
        layer.load_state_dict(state | {"bias_ih_l0": [0.0] * 12})
    with pytest.raises(TypeError, match="state_dict is a list"):
        layer.load_state_dict(list(state))
    assert_bits(layer.params, same.params)
    layer.load_state_dict(without | {"head": state["bias_ih_l0"]}, strict=False)
    assert_bits(layer.params, other.params | {"bias_hh_l0": same.params["bias_hh_l0"]})
    layer.load_state_dict(state)
    assert_bits(layer.params, other.params)


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


def test_a_parameter_of_the_wrong_kind_is_refused():
    layer = fastrnn.LSTM(3, 4, seed=0)
    x, good = np.ones((2, 1, 3), np.float32), layer.params["weight_ih_l0"]
    for wrong, error, message in [
        (good.astype(np.float64), ValueError, "weight_ih_l0 is float64; expected float32"),
        (good[:-1], ValueError, r"weight_ih_l0 has shape \(15, 3\)"),
        (good.tolist(), TypeError, "weight_ih_l0 is a list"),
        (None, TypeError, "weight_ih_l0 is a NoneType"),
    ]:
        layer.params["weight_ih_l0"] = wrong
        for call in (layer, layer.vjp, lambda x: layer.stream()(x[0])):
            with pytest.raises(error, match=message):
                call(x)
    expected = fastrnn.LSTM(3, 4, seed=0)(x)[0]
    layer.params["weight_ih_l0"] = np.asfortranarray(good)  # another array of the right kind
    assert_close(layer(x)[0], expected, atol=0)
    del layer.params["weight_ih_l0"]
    with pytest.raises(KeyError, match="weight_ih_l0"):
        layer(x)


@pytest.mark.parametrize(
    "copied",
    [copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))],
    ids=["deepcopy", "pickle"],
)
@pytest.mark.parametrize("make", [fastrnn.LSTM, fastrnn.GRUCell], ids=["layer", "cell"])
def test_a_copy_is_equal_and_has_parameters_of_its_own(make, copied):
    layer, x = make(4, 3, seed=0), np.ones((2, 4), np.float32)
    expected = [layer(x) for _ in range(3)][-1]  # the shape recurs: a program is remembered
    copy_ = copied(layer)
    for name in layer.params:
        layer.params[name][...] = 0
    for got, want in zip(members(copy_(x)), members(expected), strict=True):
        np.testing.assert_array_equal(got[0], want[0])
    assert not np.array_equal(members(layer(x))[0], members(expected)[0])


KINDS = ["RNN", "LSTM", "GRU", "RNNCell", "LSTMCell", "GRUCell"]


@pytest.mark.parametrize("kind", KINDS)
def test_parameters_are_live(kind):
    layer = getattr(fastrnn, kind)(16, 32, seed=0)
    cell = "Cell" in kind
    x = np.full((2, 16) if cell else (1, 2, 16), 0.5, np.float32)
    h = np.full((2, 32) if cell else (1, 2, 32), 0.25, np.float32)
    state = (h, -h) if "LSTM" in kind else h

    def flat(result):
        return [a for part in members(result) for a in members(part)]

    def afresh():
        other = getattr(fastrnn, kind)(16, 32, seed=1)
        other.load_state_dict(layer.params)
        return other(x, state)

    for _ in range(3):
        layer(x, state)
    name = next(n for n in layer.params if "weight_hh" in n)

    def in_place():
        layer.params[name] *= 2

    def replaced():
        layer.params[name] = np.ones_like(layer.params[name])

    def transposed():  # in memory, and live all the same
        layer.params[name] = np.asfortranarray(layer.params[name])

    def frozen():
        layer.params[name] = layer.params[name].copy()
        layer.params[name].flags.writeable = False

    for change in (in_place, replaced, transposed, in_place, frozen):
        change()
        for _ in range(2):
            for got, want in zip(flat(layer(x, state)), flat(afresh()), strict=True):
                assert_close(got, want, atol=0)
    for wrong, message in (
        (layer.params[name][:-1], "shape"),
        (layer.params[name].astype(np.float64), "float64"),
    ):
        layer.params[name] = wrong
        with pytest.raises(ValueError, match=message):
            layer(x, state)
    del layer.params[name]
    with pytest.raises(KeyError, match="put it back"):
        layer(x, state)


def test_another_shape_of_a_parameter_in_place_is_noticed():
    layer = fastrnn.RNNCell(16, 32, seed=0)
    x = np.full((2, 16), 0.5, np.float32)
    for _ in range(3):
        layer(x)
    layer.params["weight_hh"].shape = (16, 64)
    with pytest.raises(ValueError, match="shape"):
        layer(x)


def test_flags_of_a_parameter_changed_in_place_change_nothing():
    layer = fastrnn.RNNCell(16, 32, seed=0)
    x = np.full((2, 16), 0.5, np.float32)
    expected = layer(x)
    layer.params["weight_hh"].flags.writeable = False
    assert_close(layer(x), expected, atol=0)


def test_loading_changes_all_or_nothing():
    layer, other = fastrnn.GRU(3, 4, seed=0), fastrnn.GRU(3, 4, seed=1)
    before = layer.state_dict()
    layer.params["bias_hh_l0"].flags.writeable = False
    with pytest.raises(ValueError, match=r"GRU: params\['bias_hh_l0'\] is read-only"):
        layer.load_state_dict(other.state_dict())
    del layer.params["bias_hh_l0"]
    with pytest.raises(KeyError, match="put it back"):
        layer.load_state_dict(other.state_dict())
    for name, value in layer.params.items():
        assert_close(value, before[name], atol=0, name=name)


def test_with_parameters_of_another_dtype_and_depth():
    layer = fastrnn.LSTM(3, 4, 2, seed=0)
    twin = layer.with_parameters({n: p.astype(np.float64) for n, p in layer.params.items()})
    assert (twin.dtype, twin.spec.dtype, layer.dtype) == (np.float64, np.float64, np.float32)
    x = np.random.default_rng(0).standard_normal((5, 2, 3))
    assert_close(twin(x)[0], layer(x.astype(np.float32))[0], atol=1e-6)
    below = {name: value for name, value in layer.params.items() if name.endswith("_l0")}
    one = layer.with_parameters(below, layer.spec.layer(0))
    assert (one.num_layers, list(one.shapes)) == (1, list(below))
    assert_close(one(x.astype(np.float32))[1][0], layer(x.astype(np.float32))[1][0][:1], atol=0)


def test_repr_says_what_is_not_the_default():
    assert repr(fastrnn.Linear(3, 2)) == "Linear(3, 2)"
    assert repr(fastrnn.Linear(3, 2, bias=False)) == "Linear(3, 2, bias=False)"
