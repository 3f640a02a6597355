"""Lengths where torch computes: row by row they are what torch's layer gives; zeros among them."""

import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

import fastrnn.torch  # noqa: E402
from fastrnn.torch import native  # noqa: E402
from tests.support.states import members  # noqa: E402
from tests.support.torch_modules import F64, KINDS, LAYERS, everything, flat, inputs, pair  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported")
T, LENGTHS = 6, [[2, 0, 6, 0], [4, 1, 3, 6], [0, 0, 0, 0]]
every_kind = pytest.mark.parametrize("kind", LAYERS)
OPTIONS = [{}, {"batch_first": True, "bidirectional": True}, {"num_layers": 2}, {"proj_size": 3}]
every_option = pytest.mark.parametrize("options", OPTIONS, ids=str)


def make(kind, options, dtype):
    if kind != "LSTM" and "proj_size" in options:
        options = {}
    torch.manual_seed(0)
    reference = getattr(nn, kind)(4, 5, dtype=dtype, **options)
    batch_first, rows = reference.batch_first, reference.num_layers * (1 + reference.bidirectional)
    x = torch.randn(4, T, 4) if batch_first else torch.randn(T, 4, 4)
    widths = [reference.proj_size or 5, 5][: 1 + (kind == "LSTM")]
    state = tuple(torch.randn(rows, 4, width).to(dtype) for width in widths)
    return reference, fastrnn.torch.accelerate(copy.deepcopy(reference)), x.to(dtype), state


def row_by_row(reference, x, state, lengths):
    """Compute what is wanted by torch's own layer, one row after the other."""
    batch = 0 if reference.batch_first else 1
    outputs, states = [], []
    for b, end in enumerate(lengths):
        row, after = x.narrow(batch, b, 1), tuple(h[:, b : b + 1].contiguous() for h in state)
        output = x.new_zeros(())
        if end:
            hx = after if len(after) == 2 else after[0]
            output, after = reference(row.narrow(1 - batch, 0, end), hx)
            rest = T - end
            output = nn.functional.pad(
                output, (0, 0, 0, rest) if batch == 0 else (0, 0, 0, 0, 0, rest)
            )
        outputs.append(output)
        states.append(members(after))
    like = next((o for o in outputs if o.dim()), None)
    outputs = [o if o.dim() or like is None else torch.zeros_like(like) for o in outputs]
    output = torch.cat(outputs, batch) if like is not None else None
    return output, [torch.cat(h, 1) for h in zip(*states, strict=True)]


@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
@every_option
@every_kind
def test_bfloat16_takes_lengths(kind, options, lengths, runs):
    reference, module, x, state = make(kind, options, torch.bfloat16)
    for given in (state, tuple(torch.zeros_like(h) for h in state)):
        hx = given if kind == "LSTM" else given[0]
        if not any(h.any() for h in given):
            hx = None
        output, after = module(x, hx, lengths=lengths)
        want, states = row_by_row(reference, x, given, lengths)
        if want is None:
            want = torch.zeros_like(output)
        torch.testing.assert_close([output, *members(after)], [want, *states], rtol=0.02, atol=0.02)
        assert output.shape[:2] == x.shape[:2]
    assert runs() == 0
    assert "bfloat16" in fastrnn.torch.report(module)[0].reason


class Watch(torch.overrides.TorchFunctionMode):
    def __torch_function__(self, func, types, args=(), kwargs=None):
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
@every_option
@every_kind
def test_both_ways_are_equal_with_their_gradients(kind, options, lengths, runs):
    _, module, x, state = make(kind, options, torch.float64)
    if module.num_layers == 2:
        module.dropout = 0.5
        lengths = [n + (n > 0) * (b % 2) for b, n in enumerate(lengths)]
        lengths = [min(n, T) for n in lengths]
    for hx in (None, state):
        expected = everything(module, x, hx, np.array(lengths))
        before = runs()
        with Watch():
            found = everything(module, x, hx, np.array(lengths))
        assert runs() == before == 1 + (hx is not None)
        for got, want in zip(found, expected, strict=True):
            torch.testing.assert_close(
                got, torch.zeros_like(got) if want is None else want, rtol=1e-10, atol=1e-12
            )


@every_kind
def test_wrong_lengths_have_the_same_error_both_ways(kind):
    x = torch.randn(T, 2, 4)
    wrongs = [[7, 1], [-1, 1], [1.5, 2.0], [1], [[1, 2]]]
    for wrong in wrongs:
        for lengths in (wrong, torch.tensor(wrong)):
            messages = []
            for dtype in (torch.float32, torch.bfloat16):
                module = getattr(fastrnn.torch, kind)(4, 5, dtype=dtype)
                with pytest.raises((TypeError, ValueError)) as raised:
                    module(x.to(dtype), lengths=lengths)
                messages.append(str(raised.value))
                with pytest.raises(ValueError, match="lengths with unbatched input"):
                    module(x[:, 0].to(dtype), lengths=[3])
            assert messages[0] == messages[1]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("given", [False, True], ids=["zeros", "states"])
def test_torchs_own_operations_compute_what_a_module_does(kind, given):
    """They stand in where a gradient of a gradient is asked for."""
    reference, module = pair(kind, 5, 7)
    (x,) = inputs(kind, 1, 5, (3,))
    shape = (3, 7) if "Cell" in kind else (1, 3, 7)
    states = [torch.randn(shape, dtype=F64) for _ in range(1 + ("LSTM" in kind))]
    hx = None if not given else tuple(states) if "LSTM" in kind else states[0]
    run = native.cell if "Cell" in kind else native.layer
    got = run(module, x, states if given else (), list(module.parameters()))
    torch.testing.assert_close(flat(got), flat(reference(x, hx)), rtol=0, atol=0)


@pytest.mark.parametrize("batch_first", [False, True])
def test_lengths_by_torchs_own_operations(batch_first):
    module = fastrnn.torch.LSTM(5, 7, 2, bidirectional=True, batch_first=batch_first, dtype=F64)
    x, lengths = torch.randn(4, 4, 5, dtype=F64), [4, 0, 2, 3]
    got = native.layer(module, x, (), list(module.parameters()), np.array(lengths))
    expected = flat(module(x, lengths=lengths))
    torch.testing.assert_close(flat(got), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
def test_the_gradient_of_a_gradient_with_lengths(kind, lengths):
    module = getattr(fastrnn.torch, kind)(3, 2, dtype=F64)
    x = torch.randn(T, 4, 3, dtype=F64, requires_grad=True)

    def output(x):
        return module(x, lengths=lengths)[0]

    assert torch.autograd.gradgradcheck(output, (x,))
