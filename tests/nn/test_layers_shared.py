"""Layers among threads and processes, parameters and numbers that went wrong, memory that is kept.

What a single well-behaved call gives is the business of test_layers.py and test_layers_contract.py.
"""

import copy
import multiprocessing
import os
import pickle
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

import fastrnn
from fastrnn.cells import CELLS, lstm
from tests.support.compare import assert_close
from tests.support.configurations import (
    Configuration,
    every_cell,
    layer_class,
    members,
    named,
    run,
    run_torch,
)

BUSY = {"T": 20, "B": 17, "I": 40, "H": 70, "num_layers": 2}


@every_cell
def test_a_layer_is_shared_between_threads(cell, threads):
    threads(3)
    drawn = [Configuration(cell, **BUSY, seed=seed) for seed in range(4)]
    drawn += [replace(c, one_hot=True, B=3, lengths=(20, 0, 7)) for c in drawn]
    layer = drawn[0].layer(np.float64)

    def both(configuration):
        values, lengths = configuration.values(np.float64), configuration.array_lengths()
        output, state = layer(values["x"], values["state"], lengths)
        arrays = run(layer, values, lengths)
        for i, s in enumerate(members(state)):
            assert_close(s, arrays[f"state {i}"], atol=0)
        assert_close(output, arrays["output"], atol=0)
        return arrays

    expected = [both(configuration) for configuration in drawn]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(3):
            for got, want in zip(pool.map(both, drawn), expected, strict=True):
                for name, array in want.items():
                    if array is not None:
                        assert_close(got[name], array, atol=0, name=name)


def _in_child(queue):
    layer = Configuration(lstm.CELL, **BUSY).layer(np.float64)
    arrays = run(layer, Configuration(lstm.CELL, **BUSY).values(np.float64))
    queue.put({name: float(array.sum()) for name, array in arrays.items()})


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_works_in_a_child_process(method, threads):
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {method} here")
    threads(4)
    context = multiprocessing.get_context(method)
    queue = context.SimpleQueue()
    _in_child(queue)  # the parent has a pool of threads, which a fork does not copy
    expected = queue.get()
    with warnings.catch_warnings():
        # Python 3.12 warns of any fork beside threads; that this one works is what is tested.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = context.Process(target=_in_child, args=(queue,), daemon=True)
        child.start()
    child.join(120)
    assert child.exitcode == 0
    assert queue.get() == expected


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_fork_while_other_threads_compute_does_not_hang(threads):
    threads(4)
    context = multiprocessing.get_context("fork")
    with ThreadPoolExecutor(2) as pool, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        stop = []

        def work():
            layer = Configuration(lstm.CELL, **BUSY).layer(np.float64)
            x = Configuration(lstm.CELL, **BUSY).values(np.float64)["x"]
            while not stop:
                layer(x)

        futures = [pool.submit(work) for _ in range(2)]
        for _ in range(3):
            queue = context.SimpleQueue()
            child = context.Process(target=_in_child, args=(queue,), daemon=True)
            child.start()
            child.join(60)
            assert child.exitcode == 0
        stop.append(True)
        for future in futures:
            future.result()


def poison(values, what, index):
    values["x"][index] = what
    return values


@every_cell
@pytest.mark.parametrize("what", [np.nan, np.inf, -np.inf], ids=["nan", "inf", "-inf"])
@pytest.mark.parametrize("H", [8, 9, 70])
def test_what_is_not_finite_propagates_as_in_torch(cell, what, H):
    configuration = Configuration(cell, T=6, B=3, I=3, H=H, lengths=(6, 4, 5))
    values = poison(configuration.values(np.float64), what, (2, 1, 0))
    layer = configuration.layer(np.float64)
    expected = run_torch(configuration, layer.params, values, np.float64)
    got = run(layer, values, configuration.array_lengths())
    # torch's own derivative of an output at 0 * inf differs between its kernels: forward first.
    assert np.isnan(expected["output"]).any() == (np.isnan(what) or "relu" in cell.name)
    for name in ("output", *[n for n in got if n.startswith("state")]):
        assert_close(got[name], expected[name], atol=1e-12, rtol=1e-12, name=name)
    for row in (0, 2):  # the other rows have nothing to do with it
        clean = configuration.values(np.float64)
        alone = run(layer, clean, configuration.array_lengths())
        assert_close(got["d_x"][:, row], alone["d_x"][:, row], atol=0, name="d_x")
    for name, array in expected.items():
        if np.isnan(what):
            assert_close(np.isnan(got[name]), np.isnan(array), atol=0, name=f"NaN in {name}")
        else:  # NaN or inf is 0 * inf or 1e-308 * inf, by how a saturated sigmoid ends
            assert_close(np.isfinite(got[name]), np.isfinite(array), atol=0, name=name)


@every_cell
@pytest.mark.parametrize("H", [9, 16])
def test_infinite_parameters_stay_in_their_units(cell, H):
    configuration = Configuration(cell, T=3, B=2, H=H)
    layer, values = configuration.layer(np.float32), configuration.values(np.float32)
    layer.params["bias_ih_l0"][0] = np.nan
    layer.params["weight_hh_l0"][:, 0] = 0
    expected = run_torch(configuration, layer.params, values, np.float32)
    got = run(layer, values)
    for name in expected:
        assert_close(np.isnan(got[name]), np.isnan(expected[name]), atol=0, name=name)


def kept(root, callers, layer):
    """Return the distinct memory below an object, by owner, other than the callers' arrays."""
    seen, owners, stack = {id(layer)}, {}, [root]
    theirs = {id(owner_of(array)) for array in callers}
    while stack:
        thing = stack.pop()
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        if isinstance(thing, np.ndarray):
            if id(owner_of(thing)) not in theirs:
                owners[id(owner_of(thing))] = owner_of(thing).nbytes
        elif isinstance(thing, dict):
            stack += thing.values()
        elif isinstance(thing, tuple | list):
            stack += thing
        elif type(thing).__module__.startswith("fastrnn"):
            stack += vars(thing).values()
    return owners.values()


def owner_of(array):
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


MANY = {
    "plain": {},
    "stack": {"num_layers": 3, "bidirectional": True},
    "dropout": {"num_layers": 3, "dropout": 0.5},
    "ragged": {"lengths": (5, 0, 3)},
    "one-hot": {"one_hot": True},
    "projected": {"proj_size": 2},
    "no state": {"given": (False, False)},
}


@every_cell
@pytest.mark.parametrize("sizes", MANY.values(), ids=MANY)
def test_nbytes_is_what_a_pullback_keeps(cell, sizes):
    """Everything reachable from it that the caller did not pass in or get back, but for padding."""
    if "proj_size" in sizes and "c" not in cell.states:
        pytest.skip("only the LSTM has a projection")
    options = {name: value for name, value in sizes.items() if name == "dropout"}
    sizes = {name: value for name, value in sizes.items() if name != "dropout"}
    configuration = Configuration(cell, **sizes)
    layer = configuration.layer(np.float32, **options)
    values, lengths = configuration.values(np.float32), configuration.array_lengths()
    (output, state), pullback = layer.vjp(values["x"], values["state"], lengths)
    callers = [output, *members(state), *layer.params.values(), values["x"]]
    callers += [] if values["state"] is None else members(values["state"])
    owners = kept(pullback, callers, layer)
    assert sum(owners) - 256 * len(owners) <= pullback.nbytes <= sum(owners)


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
    expected = [layer(x) for _ in range(3)][-1]  # the shape recurs: there are shortcuts to copy
    copy_ = copied(layer)
    for name in layer.params:
        layer.params[name][...] = 0
    for got, want in zip(members(copy_(x)), members(expected), strict=True):
        np.testing.assert_array_equal(got[0], want[0])
    assert not np.array_equal(members(layer(x))[0], members(expected)[0])


def test_every_cell_has_a_layer():
    assert all(layer_class(cell)[0] for cell in CELLS)
    assert all(layer_class(cell, suffix="Cell")[0] for cell in CELLS)
    assert named(np.ones(1), (np.ones(2),), fastrnn.Gradients(None, np.ones(3), {})).keys() == {
        "output",
        "d_x",
        "state 0",
        "d_state 0",
    }
