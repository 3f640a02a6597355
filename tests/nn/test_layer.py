"""Calls of layers: which bits come out, of rows, of empty input, by any number of threads.

Whether the numbers are right is test_layers.py's; what becomes of arguments, test_arguments.py's.
"""

import numpy as np
import pytest

import fastrnn
from fastrnn.engine.plan import is_shared
from tests.support.bad_input import H, I
from tests.support.compare import assert_bits, assert_close, few_ulp
from tests.support.configurations import bare, both_dtypes, case, every_cell, members, run

# Enough work for four threads: plan.is_shared.
BUSY = {"T": 40, "B": 17, "I": 40, "H": 70, "num_layers": 1, "bidirectional": False}


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
            for i in range(3):  # from the second on, the program is remembered
                output, _ = layer(values["x"], values["state"])
                results[-1][f"call {i}"] = output
            stream = layer.stream(configuration.B)
            for t in range(min(4, configuration.T)):
                results[-1][f"stream {t}"] = stream(values["x"][t]).copy()
    for result in results[1:]:
        assert_bits(result, results[0])


CONSTRUCTOR = {
    "input 0": ((0, H), {}, ValueError, "input_size must be at least 1, got 0"),
    "hidden -1": ((I, -1), {}, ValueError, "hidden_size must be at least 1, got -1"),
    "float size": (
        (I, 6.0),
        {},
        TypeError,
        r"hidden_size should be of type int, got 6.0 \(float\)",
    ),
    "bool size": ((True, H), {}, TypeError, "input_size should be of type int, got True"),
    "string size": (("5", H), {}, TypeError, "input_size should be of type int"),
    "no layers": ((I, H), {"num_layers": 0}, ValueError, "num_layers must be at least 1"),
    "bias": ((I, H), {"bias": 1}, TypeError, "bias should be of type bool"),
    "batch_first": (
        (I, H),
        {"batch_first": "yes"},
        TypeError,
        "batch_first should be of type bool",
    ),
    "order": (
        (I, H, 1, True, 0.5),
        {},
        TypeError,
        "batch_first .* order of the arguments is that of torch.nn",
    ),
    "bidirectional": (
        (I, H),
        {"bidirectional": None},
        TypeError,
        "bidirectional should be of type bool",
    ),
    "dropout 2": ((I, H, 2), {"dropout": 2}, ValueError, r"dropout should be a number in \[0, 1\]"),
    "dropout NaN": ((I, H, 2), {"dropout": np.nan}, ValueError, "dropout should be"),
    "dropout True": ((I, H, 2), {"dropout": True}, ValueError, "dropout should be"),
    "dropout text": ((I, H, 2), {"dropout": "0.5"}, ValueError, "dropout should be"),
    "proj H": (
        (I, H),
        {"proj_size": H},
        ValueError,
        "proj_size has to be smaller than hidden_size = 6, got 6",
    ),
    "proj -1": ((I, H), {"proj_size": -1}, ValueError, "proj_size must be at least 0"),
    "float16": (
        (I, H),
        {"dtype": np.float16},
        ValueError,
        "dtype must be np.float32 or np.float64",
    ),
    "int dtype": ((I, H), {"dtype": int}, ValueError, "dtype must be np.float32 or np.float64"),
    "no dtype": ((I, H), {"dtype": "floaty"}, ValueError, "dtype must be .* got 'floaty'"),
    "dtype None": ((I, H), {"dtype": None}, ValueError, "dtype must be"),
    "dtype int": ((I, H), {"dtype": 3}, ValueError, "dtype must be"),
}


@pytest.mark.parametrize(
    ("args", "options", "error", "message"), CONSTRUCTOR.values(), ids=CONSTRUCTOR
)
def test_constructor(args, options, error, message):
    with pytest.raises(error, match="LSTM: " + message):
        fastrnn.LSTM(*args, **options)
