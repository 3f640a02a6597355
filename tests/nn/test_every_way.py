"""An argument is taken or refused alike, whichever way a call takes; and padding is not read.

Ways: short and long calls, a single step, stacks, directions, types, integers, nothing at all. What
the messages say is in tests/test_checks.py.
"""

import numpy as np
import pytest

import fastrnn
from fastrnn import functional
from tests.support.compare import assert_bits

WAYS = {  # keywords of the layer, T, B
    "short": ({}, 2, 3),
    "one step": ({}, 1, 2),
    "one step of a stack": ({"num_layers": 2}, 1, 2),
    "long": ({"hidden_size": 40}, 60, 8),
    "stacked": ({"num_layers": 2, "dropout": 0.5}, 20, 3),
    "both directions": ({"bidirectional": True}, 9, 5),
    "batch first": ({"batch_first": True}, 9, 5),
    "float64": ({"dtype": np.float64}, 9, 5),
    "integers": ({}, 9, 5),
    "no step": ({}, 0, 3),
    "no sequence": ({}, 5, 0),
}


def made(way):
    """Return a layer and an input."""
    options, T, B = WAYS[way]
    layer = fastrnn.GRU(**{"input_size": 3, "hidden_size": 4, "seed": 0, **options})
    shape = (B, T) if layer.batch_first else (T, B)
    random = np.random.default_rng(0)
    if way == "integers":
        return layer, random.integers(0, 3, shape)
    return layer, random.normal(size=(*shape, 3)).astype(layer.dtype)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"checkpoint": -1}, ValueError),
        ({"checkpoint": 0}, ValueError),
        ({"checkpoint": -(10**30)}, ValueError),
        ({"checkpoint": True}, TypeError),
        ({"checkpoint": np.True_}, TypeError),
        ({"checkpoint": 2.0}, TypeError),
        ({"checkpoint": "2"}, ValueError),
        ({"checkpoint": b"auto"}, TypeError),
        ({"checkpoint": np.array([1, 2])}, TypeError),
        ({"checkpoint": [1]}, TypeError),
        ({"checkpoint": "auto", "memory": -1}, ValueError),
        ({"checkpoint": "auto", "memory": 0}, ValueError),
        ({"checkpoint": "auto", "memory": 1e9}, TypeError),
        ({"checkpoint": "auto", "memory": True}, TypeError),
        ({"checkpoint": "auto", "memory": "1"}, TypeError),
        ({"checkpoint": 3, "memory": 10**9}, ValueError),
        ({"memory": 10**9}, ValueError),
        ({"training": 1}, TypeError),
        ({"training": None}, TypeError),
        ({"lengths": [1]}, TypeError),
        ({"lengths": np.ones(1)}, TypeError),
    ],
    ids=str,
)
def test_what_is_refused_is_refused_every_way(way, options, error):
    layer, x = made(way)
    with pytest.raises(error, match=r"^GRU: "):
        layer.vjp(x, **options)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "options",
    [
        {"checkpoint": 1},
        {"checkpoint": np.int8(2)},
        {"checkpoint": 10**30},
        {"checkpoint": "auto"},
        {"checkpoint": "auto", "memory": 10**30},
        {"training": np.False_},
    ],
    ids=str,
)
def test_what_is_taken_is_taken_every_way(way, options):
    layer, x = made(way)
    (output, _), pullback = layer.vjp(x, **{"training": False, **options})
    (expected, _), plain = layer.vjp(x, training=False)
    assert_bits(output, expected)
    assert_bits(pullback(output).params, plain(output).params)


@pytest.mark.parametrize("way", ["short", "one step", "long", "stacked", "integers"])
def test_too_little_memory_is_refused_where_anything_is_kept(way):
    layer, x = made(way)
    with pytest.raises(ValueError, match="memory=1 bytes are too few"):
        layer.vjp(x, checkpoint="auto", memory=1)


def padded(B, T, batch_first):
    """Return classes, the same with anything past the ends, and the lengths."""
    random = np.random.default_rng(1)
    clean, lengths = random.integers(0, 5, (T, B)), random.integers(0, T + 1, B)
    lengths[0] = T
    padded = clean.copy()
    for b, length in enumerate(lengths):
        padded[length:, b] = (-1, 5, 2**62, -(2**63))[b % 4]
    return (clean.T, padded.T, lengths) if batch_first else (clean, padded, lengths)


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize(("T", "B"), [(2, 2), (30, 7)])
def test_integers_past_the_end_are_not_read(batch_first, bidirectional, T, B):
    layer = fastrnn.GRU(5, 7, 2, batch_first=batch_first, bidirectional=bidirectional, seed=0)
    clean, x, lengths = padded(B, T, batch_first)
    assert_bits(layer(x, lengths=lengths)[0], layer(clean, lengths=lengths)[0])
    for options in ({}, {"checkpoint": 1}):
        (output, _), pullback = layer.vjp(x, lengths=lengths, **options)
        (expected, _), plain = layer.vjp(clean, lengths=lengths, **options)
        assert_bits(output, expected)
        assert_bits(pullback(output).params, plain(output).params)
    traced = fastrnn.trace(layer, x, output, lengths=lengths)
    assert_bits(traced.output, output)
    wrong = x.copy()
    wrong[0, 0] = 9
    for bad, given in ((wrong, lengths), (x, None)):
        for call in (layer, layer.vjp):
            with pytest.raises(IndexError, match=r"GRU: input\[\d+, \d+\] is "):
                call(bad, lengths=given)


def test_the_place_of_what_is_no_class_is_told():
    x = np.array([[1, 2], [3, -1]])
    assert fastrnn.GRU(5, 7)(x, lengths=np.array([2, 1]))[0].shape == (2, 2, 7)
    with pytest.raises(IndexError, match=r"input\[1, 1\] is -1"):
        fastrnn.GRU(5, 7)(x, lengths=np.array([2, 2]))


def test_nor_are_they_in_functions_and_in_chunks():
    layer = fastrnn.GRU(5, 7, seed=0)
    clean, x, lengths = padded(7, 30, False)
    weights = tuple(layer.params.values())
    for reverse in (False, True):
        got, expected = (
            functional.gru(one, None, *weights, lengths=lengths, reverse=reverse)[0]
            for one in (x, clean)
        )
        assert_bits(got, expected)
    _, expected = fastrnn.truncated_bptt(layer, clean, lambda o, t: o, 3, 5, lengths=lengths)
    for given in (x, iter(np.array_split(x, 4))):
        _, got = fastrnn.truncated_bptt(layer, given, lambda o, t: o, 3, 5, lengths=lengths)
        assert_bits(got.params, expected.params)
    x[20, 0] = 9
    with pytest.raises(IndexError, match=r"truncated_bptt: input\[20, 0\] is 9"):
        fastrnn.truncated_bptt(layer, x, lambda o, t: o, 3, 5, lengths=lengths)


@pytest.mark.parametrize("T", [0, 6])
@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"training": 1}, TypeError),
        ({"wrt_input": 1}, TypeError),
        ({"d_output": np.float16}, ValueError),
        ({"d_output": complex}, TypeError),
    ],
    ids=str,
)
def test_truncated_bptt_of_no_steps_checks_what_it_checks_of_some(T, options, error):
    layer, x = fastrnn.GRU(3, 4, seed=0), np.ones((T, 2, 3), np.float32)
    given = {"d_output": np.float32, **options}
    d_output = np.ones((T, 2, 4), given.pop("d_output"))
    with pytest.raises(error, match=r"^(truncated_bptt|GRU): "):
        fastrnn.truncated_bptt(layer, x, d_output, 2, 3, **given)
