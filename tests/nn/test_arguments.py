"""Arguments of calls and pullbacks: read in any form, left alone, and what a pullback keeps.

What is refused is in tests/test_checks.py.
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from fastrnn.cells import lstm
from fastrnn.nn import arguments
from fastrnn.nn.arguments import read_call, read_state, read_step
from fastrnn.nn.call import Call
from fastrnn.nn.program import prepare
from fastrnn.nn.spec import Spec
from tests.support.compare import assert_bits, assert_close
from tests.support.configurations import Configuration, bare, case, every_cell, members, named, run


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
        assert_bits(again[factor], arrays)
        assert_bits(from_threads[factor], arrays)
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
        assert_bits(named(output, state, got), named(output, state, pullback(*with_zeros)))
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
    assert_bits(run(layer, given, form(lengths)), expected)
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


@pytest.fixture
def spec():
    return Spec(lstm.CELL, np.dtype(np.float32), 5, 6)


@pytest.mark.parametrize(
    ("shape", "integers", "batch_first", "expected"),
    [
        ((4, 3, 5), False, False, (4, 3, True, False)),
        ((4, 3, 5), False, True, (3, 4, True, True)),
        ((4, 5), False, True, (4, 1, False, False)),  # one sequence has no batch to come first
        ((4, 3), True, False, (4, 3, True, False)),
        ((4, 3), True, True, (3, 4, True, True)),
        ((4,), True, True, (4, 1, False, False)),
    ],
)
def test_a_sequence_says_which_call_it_is(spec, shape, integers, batch_first, expected, threads):
    threads(2)
    x = np.zeros(shape, np.int8 if integers else np.float32)
    read, call, _ = read_call("test", spec, x, None, batch_first=batch_first)
    assert np.shares_memory(read, x) or integers
    assert (call.time, call.batch, call.batched, call.batch_first) == expected
    assert (call.one_hot, call.threads, call.stacked, call.emit) == (integers, 2, True, True)


@pytest.mark.parametrize(
    ("shape", "integers", "batch", "batched"),
    [
        ((3, 5), False, 3, True),
        ((5,), False, 1, False),
        ((3,), True, 3, True),
        ((), True, 1, False),
    ],
)
def test_a_step_says_which_call_it_is(spec, shape, integers, batch, batched):
    _, call = read_step("test", spec, np.zeros(shape, int if integers else np.float32))
    assert (call.time, call.batch, call.batched, call.one_hot) == (1, batch, batched, integers)
    assert (call.stacked, call.emit) == (False, False)


def test_a_state_of_the_right_kind_is_taken_as_it_is(spec):
    program = prepare(spec, Call(4, 3, 1))
    h, c = (np.zeros((1, 3, 6), np.float32) for _ in "hc")
    given_state = (h, c)
    assert read_state("test", "state", "{}_0", given_state, program) is given_state
    assert read_state("test", "state", "{}_0", None, program) is None
    read = read_state("test", "state", "{}_0", (None, c), program)
    assert read[0] is None
    assert np.shares_memory(read[1], c)
    with pytest.raises(ValueError, match=r"test: d_c_n has shape \(1, 6, 3\)"):
        read_state("test", "d_state", "d_{}_n", (h, c.reshape(1, 6, 3)), program)


def test_gradients_are_named_and_what_is_missing_is_left_out():
    a, b, c = (np.full(1, i) for i in range(3))
    assert arguments.named([("a", None), (None, "c")], [(a, b), (b, c)]) == {"a": a, "c": c}
