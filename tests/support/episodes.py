"""Sequences split at their resets: the oracle of `reset=`, and what tests hold against it.

The oracle knows no mask: every piece between two cuts is a call of its own, whose initial state is
zero where the sequence was cut. How a piece is computed is the caller's: by the same layer, or by
torch. Masks are (T, B) here, and turned into the caller's axes by `caller_mask`.
"""

from dataclasses import replace

import numpy as np
from hypothesis import strategies as st

from fastrnn import truncated_bptt
from tests.support.compare import assert_bits, assert_close
from tests.support.configurations import bare, members, named, run

PATTERNS = ["some", "nowhere", "at every step", "at the first", "at the last", "every second row"]


@st.composite
def masks(draw, T, B):
    """Draw where sequences are cut, (T, B) bool; past the ends of rows, too."""
    mask, pattern = np.zeros((T, B), bool), draw(st.sampled_from(PATTERNS))
    if pattern == "some":
        for b in range(B):
            bits = draw(st.integers(0, 2**T - 1))
            mask[:, b] = [bits >> t & 1 for t in range(T)]
    elif pattern == "at every step":
        mask[:] = True
    elif pattern == "at the first":
        mask[:1] = True
    elif pattern == "at the last":
        mask[-1:] = True
    elif pattern == "every second row":
        mask[:, ::2] = draw(st.booleans())
        mask[::3, 1::2] = True
    return mask


def caller_mask(drawn, mask):
    """Return a mask in the axes of a configuration's input."""
    if not drawn.batched:
        return mask[:, 0].copy()
    return np.ascontiguousarray(mask.T) if drawn.batch_first else mask


def pieces(column, length):
    """Return the ranges of steps between the cuts of one row, whose end is at `length`."""
    starts = [t for t in range(length) if t == 0 or column[t]]
    return list(zip(starts, [*starts[1:], length], strict=True)) if length else []


class Axes:
    """The arrays of a call with the axes of time and rows first: views, that can be written."""

    def __init__(self, drawn):
        self._drawn = drawn

    def steps(self, array):
        """Return an array of steps as (T, B, ...)."""
        if not self._drawn.batched:
            return array[:, None]
        return array.swapaxes(0, 1) if self._drawn.batch_first else array

    def states(self, array):
        """Return a state as (num_layers * D, B, width)."""
        return array if self._drawn.batched else array[:, None]


def whole(drawn, values, dtype):
    """Return drawn values with zeros in place of None."""
    full = replace(drawn, given=(True, True), cotangents=(True, True)).values(dtype)

    def filled(value, like):
        return np.zeros_like(like) if value is None else value

    result = {"x": values["x"], "d_output": filled(values["d_output"], full["d_output"])}
    for name in ("state", "d_state"):
        given = values[name] if values[name] is not None else (None, None)
        pairs = zip(members(given), members(full[name]), strict=False)
        result[name] = tuple(filled(value, like) for value, like in pairs)
    return result


def split(drawn, params, values, mask, run_piece):
    """Return everything a layer computes from sequences that are split at their resets.

    Args:
        drawn: the configuration, whose values these are.
        params: of the layer, by name.
        values: as `drawn.values` gives them.
        mask: (T, B) bool.
        run_piece: (configuration, values) -> what `configurations.run` returns, for a sequence
            without a batch axis.
    """
    dtype = next(iter(params.values())).dtype
    axes, values = Axes(drawn), whole(drawn, values, dtype)
    directions, count = 1 + drawn.bidirectional, len(values["state"])
    forward = [slice(0, None, directions)]  # slots of states: the last is the reverse direction
    backward = [slice(1, None, 2)] if drawn.bidirectional else []
    found = {"output": np.zeros_like(values["d_output"])}
    found["d_x"] = None if drawn.one_hot else np.zeros_like(values["x"])
    # What holds for rows of length 0; the others are written over it.
    for i in range(count):
        found[f"state {i}"] = values["state"][i].copy()
        found[f"d_state {i}"] = values["d_state"][i].copy()
    for name, param in params.items():
        found[f"d_{name}"] = np.zeros_like(param)
    lengths = (drawn.T,) * drawn.B if drawn.lengths is None else drawn.lengths
    for b, length in enumerate(lengths):
        parts = pieces(mask[:, b], length)
        if parts:  # a cut at 0 keeps the initial state out, and its gradient is 0
            for i in range(count):
                for slots in forward:
                    axes.states(found[f"d_state {i}"])[slots, b] = 0
        for start, end in parts:
            first, last = start == 0, end == length
            enters = forward * (first and not mask[0, b]) + backward * last
            leaves = forward * last + backward * first
            one = replace(
                drawn,
                T=end - start,
                B=1,
                batched=False,
                batch_first=False,
                lengths=None,
                given=(True, True),
                cotangents=(True, True),
            )
            given = {n: axes.steps(values[n])[start:end, b] for n in ("x", "d_output")}
            for name, where in (("state", enters), ("d_state", leaves)):
                states = [axes.states(s)[:, b] for s in values[name]]
                own = [np.zeros_like(s) for s in states]
                for slots in where:
                    for s, o in zip(states, own, strict=True):
                        o[slots] = s[slots]
                given[name] = bare(own)
            got = run_piece(one, given)
            axes.steps(found["output"])[start:end, b] = got["output"]
            if not drawn.one_hot:
                axes.steps(found["d_x"])[start:end, b] = got["d_x"]
            for i in range(count):
                for slots in leaves:
                    axes.states(found[f"state {i}"])[slots, b] = got[f"state {i}"][slots]
                for slots in enters:
                    axes.states(found[f"d_state {i}"])[slots, b] = got[f"d_state {i}"][slots]
            for name in params:
                found[f"d_{name}"] += got[f"d_{name}"]
    return found


def assert_equal(got, expected, tolerance=1e-12):
    """Assert that results by name are equal, to a tolerance relative to each one's largest."""
    assert got.keys() == expected.keys()
    for name, array in expected.items():
        if array is None:
            assert got[name] is None, name
        else:  # sums that cancel have no digits of their own
            assert_close(got[name], array, atol=tolerance / 10, rtol=tolerance, name=name)


def run_cut(drawn, layer, values, mask, **options):
    """Return everything a layer computes with resets, by name."""
    lengths = drawn.array_lengths()
    return run(layer, values, lengths, reset=caller_mask(drawn, mask), **options)


def check_split(drawn, mask, dtype=np.float64, tolerance=1e-12, **options):
    """Assert that a layer with resets is itself on the sequences split there."""
    layer, values = drawn.layer(dtype), drawn.values(dtype)
    expected = split(drawn, layer.params, values, mask, lambda _, given: run(layer, given))
    assert_equal(run_cut(drawn, layer, values, mask, **options), expected, tolerance)


def episode(drawn, mask, row, number):
    """Return where an episode is, (T, B) bool; and whether it is a row's first, and its last."""
    length = drawn.T if drawn.lengths is None else drawn.lengths[row]
    parts = pieces(mask[:, row], length)
    start, end = parts[number]
    where = np.zeros(mask.shape, bool)
    where[start:end, row] = True
    return where, start == 0, end == length


def outside(drawn, found, where, row, first, last, cut_at_0):
    """Return what an episode has no part in: a dict of arrays.

    Not in it: the gradients of the parameters, which are sums over all episodes.
    """
    axes, rest = Axes(drawn), {}
    for name in ("output", "d_x"):
        if found[name] is not None:
            rest[name] = axes.steps(found[name])[~where]
    for name in found:
        if "state" not in name:
            continue
        gradient = name.startswith("d_")
        slots = axes.states(found[name])
        for direction in range(1 + drawn.bidirectional):
            at_start = gradient != bool(direction)  # of the row: h_0 enters there, or h_n leaves
            own = slots[direction :: 1 + drawn.bidirectional]
            touched = first if at_start else last
            if gradient and not direction and cut_at_0:
                touched = False
            keep = [b for b in range(own.shape[1]) if b != row or not touched]
            rest[f"{name}, {direction}"] = own[:, keep]
    return rest


def check_zeros(drawn, mask, row, number, **options):
    """Assert that the loss of one episode has a gradient of exactly 0 at all others."""
    layer, values = drawn.layer(np.float64), whole(drawn, drawn.values(np.float64), np.float64)
    where, first, last = episode(drawn, mask, row, number)
    d_output = np.zeros_like(values["d_output"])
    axes = Axes(drawn)
    axes.steps(d_output)[where] = axes.steps(values["d_output"])[where]
    given = values | {"state": bare(values["state"]), "d_output": d_output, "d_state": None}
    found = run_cut(drawn, layer, given, mask, **options)
    rest = outside(drawn, found, where, row, first, last, mask[0, row])
    for name in rest:
        if name.startswith("d_"):
            assert not rest[name].any(), f"{name}: the gradient leaks"
    assert axes.steps(found["d_x"])[where].all()


def check_poison(drawn, mask, row, number, poison, dtype=np.float64, **options):
    """Assert that NaN or infinity in one episode changes no bit of the others.

    The gradients of the parameters are left out: they are sums over all episodes, and NaN.
    """
    layer, values = drawn.layer(dtype), drawn.values(dtype)
    where, *ends = episode(drawn, mask, row, number)
    clean = run_cut(drawn, layer, values, mask, **options)
    bad = values | {"x": values["x"].copy()}
    Axes(drawn).steps(bad["x"])[where] = poison
    found = run_cut(drawn, layer, bad, mask, **options)
    given = (where, row, *ends, mask[0, row])
    assert_bits(outside(drawn, found, *given), outside(drawn, clean, *given))
    return found, where


def check_stream(drawn, mask, dtype):
    """Assert that a stream that is told of resets is its layer, bit for bit; also once more."""
    layer, x = drawn.layer(dtype), drawn.values(dtype)["x"]
    output, _ = layer(x, reset=mask)
    stream = layer.stream(batch_size=drawn.B)
    for _ in range(2):
        for t in range(drawn.T):
            assert_bits(stream(x[t], reset=mask[t]), output[t], f"step {t}")
        stream.reset()


def check_truncated(drawn, mask, k1, lengths=None):
    """Assert that truncated BPTT that goes back to the begin is all of it: of x, and of chunks."""
    layer, values, own = drawn.layer(np.float64), drawn.values(np.float64), caller_mask(drawn, mask)
    expected = run(layer, values | {"d_state": None}, lengths, reset=own)
    x, d_output, axis = values["x"], values["d_output"], int(drawn.batch_first)

    def of_chunk(output, t):
        return np.take(d_output, range(t, t + output.shape[axis]), axis)

    cuts = np.sort(np.random.default_rng(drawn.seed).integers(0, drawn.T + 1, 3))
    for source, above in ((x, d_output), (iter(np.split(x, cuts, axis)), of_chunk)):
        after, grads = truncated_bptt(
            layer,
            source,
            above,
            k1,
            max(k1, drawn.T),
            values["state"],
            lengths,
            reset=own,
            wrt_input=source is x,
        )
        got = named(expected["output"], after, grads)
        assert_equal(got, expected if source is x else expected | {"d_x": None})
