"""Where torch's own operations compute: pieces that are found, cut out and put back."""

import copy
import functools
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from fastrnn.torch import pieces  # noqa: E402
from tests.support.states import bare, members  # noqa: E402
from tests.support.torch_episodes import gradients, split  # noqa: E402

F64 = torch.float64


@given(st.data())
def test_pieces_are_what_lies_between_two_resets(data):
    T, B = data.draw(st.integers(1, 7), "T"), data.draw(st.integers(1, 4), "B")
    rng = np.random.default_rng(data.draw(st.integers(0, 99), "seed"))
    reset = rng.random((T, B)) < data.draw(st.sampled_from([0, 0.3, 1]), "share")
    lengths = rng.integers(0, T + 1, B) if data.draw(st.booleans(), "lengths") else None
    found = pieces.split(lengths, reset)
    number, expected = 0, []
    for b in range(B):
        end = T if lengths is None else lengths[b]
        cuts = [0, *(t for t in range(1, end) if reset[t, b]), end]
        assert found.first[b] == number
        for first, last in itertools.pairwise(cuts):
            expected.append((b, first, last - first, first == 0 and not (end and reset[0, b])))
            assert (found.of_step[first:last, b] == number).all()
            number += 1
        assert found.last[b] == number - 1
    got = zip(found.row, found.start, found.length, found.opens, strict=True)
    assert [tuple(map(int, piece)) for piece in got] == [tuple(map(int, e)) for e in expected]


@pytest.mark.parametrize("unbatched", [False, True], ids=["batch", "no batch"])
@pytest.mark.parametrize("batch_first", [False, True], ids=["T first", "B first"])
@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_torchs_layer_on_pieces(kind, batch_first, unbatched):
    torch.manual_seed(0)
    module = getattr(nn, kind)(4, 5, 2, bidirectional=True, dtype=F64)
    other = copy.deepcopy(module)
    other.batch_first = batch_first
    x, reset = torch.randn(6, 3, 4, dtype=F64, requires_grad=True), torch.rand(6, 3) < 0.4
    hx = [torch.randn(4, 3, 5, dtype=F64, requires_grad=True) for _ in range(1 + (kind == "LSTM"))]
    hx = bare(tuple(hx))
    given, state, mask = x, hx, reset.numpy()
    if unbatched:
        x, reset, hx = x[:, :1], reset[:, :1], bare(tuple(s[:, :1] for s in members(hx)))
        given, state, mask = x[:, 0], bare(tuple(s[:, 0] for s in members(hx))), mask[:, :1]
    elif batch_first:
        given = x.transpose(0, 1)
    run = functools.partial(nn.Module.__call__, other)
    output, after = pieces.by_pieces(run, other, given, state, None, mask)
    if unbatched:
        output, after = output[:, None], bare(tuple(s[:, None] for s in members(after)))
    elif batch_first:
        output = output.transpose(0, 1)
    got = gradients(other, x, hx, (output, after))
    for one, want in zip(got, gradients(module, x, hx, split(module, x, hx, reset)), strict=True):
        torch.testing.assert_close(one, want, rtol=1e-12, atol=1e-12)
