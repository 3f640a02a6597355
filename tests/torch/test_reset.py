"""Episodes under torch: `reset=` is torch's layer on sequences split at the resets, everywhere.

By the kernels, by torch's own operations, compiled, packed; how a piece is found: test_pieces.py.
"""

import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn.utils import rnn as packing  # noqa: E402

import fastrnn.torch  # noqa: E402
from fastrnn.torch import single  # noqa: E402
from tests.support.states import bare, members  # noqa: E402
from tests.support.torch_episodes import gradients, loop, split  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported")
KINDS = ["RNN", "LSTM", "GRU"]
F64 = torch.float64
every_kind = pytest.mark.parametrize("kind", KINDS)


def case(kind, T=6, B=3, seed=0, share=0.35, **options):
    """A torch layer, input, state and resets."""
    torch.manual_seed(seed)
    module = getattr(nn, kind)(4, 5, dtype=F64, **options)
    slots = module.num_layers * (1 + module.bidirectional)
    x = torch.randn(T, B, 4, dtype=F64, requires_grad=True)
    widths = [module.proj_size or 5, 5][: 1 + (kind == "LSTM")]
    hx = tuple(torch.randn(slots, B, w, dtype=F64, requires_grad=True) for w in widths)
    return module, x, bare(hx), torch.rand(T, B) < share


def assert_same(got, want, tolerance=1e-12):
    assert len(got) == len(want)
    for one, other in zip(got, want, strict=True):
        assert one.shape == other.shape
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)


def called(module, x, hx, reset, **more):
    """The call of a module of any order of axes, with (T, B, ...) in and out."""
    if not module.batch_first:
        return module(x, hx, reset=reset, **more)
    output, state = module(x.transpose(0, 1), hx, reset=reset.T, **more)
    return output.transpose(0, 1), state


@every_kind
@settings(max_examples=40)
@given(data=st.data())
def test_it_is_torch_on_split_sequences(kind, data):
    T, B = data.draw(st.sampled_from([1, 2, 9, 31]), "T"), data.draw(st.integers(1, 5), "B")
    options = {
        "num_layers": data.draw(st.integers(1, 2), "layers"),
        "bidirectional": data.draw(st.booleans(), "both directions"),
    }
    if kind == "LSTM":
        options["proj_size"] = data.draw(st.sampled_from([0, 3]), "projection")
    share = data.draw(st.sampled_from([0.0, 0.1, 0.5, 1.0]), "share")
    module, x, hx, reset = case(kind, T, B, data.draw(st.integers(0, 99)), share, **options)
    lengths = None
    if data.draw(st.booleans(), "lengths"):
        lengths = data.draw(st.lists(st.integers(0, T), min_size=B, max_size=B), "lengths")
        lengths = torch.tensor(lengths)
    ours = fastrnn.torch.accelerate(copy.deepcopy(module))
    ours.batch_first = data.draw(st.booleans(), "batch first")
    want = gradients(module, x, hx, split(module, x, hx, reset, lengths))
    more = {} if lengths is None else {"lengths": lengths}
    assert_same(gradients(ours, x, hx, called(ours, x, hx, reset, **more)), want)
    if not module.bidirectional and lengths is None:
        assert_same(gradients(module, x, hx, loop(module, x, hx, reset)), want)


@every_kind
@pytest.mark.parametrize("batched", [True, False], ids=["batch", "no batch"])
def test_the_gradient_of_a_gradient(kind, batched):
    module, x, _, reset = case(kind, num_layers=2, bidirectional=True)
    ours = fastrnn.torch.accelerate(module)
    x, reset = (x, reset) if batched else (x[:, 0], reset[:, 0])
    x = x.detach().requires_grad_()
    assert torch.autograd.gradgradcheck(lambda x: ours(x, reset=reset)[0], (x,))


@every_kind
@pytest.mark.parametrize("dtype", [F64, torch.bfloat16], ids=["kernels", "torch's own way"])
def test_packed_input(kind, dtype):
    module, x, hx, reset = case(kind, num_layers=2, bidirectional=True)
    ours = fastrnn.torch.accelerate(module.to(dtype))
    x, lengths = x.detach().to(dtype), torch.tensor([4, 6, 2])
    hx = bare(tuple(s.detach().to(dtype) for s in members(hx)))
    want, state = ours(x, hx, lengths=lengths, reset=reset)
    for order in (slice(None), torch.tensor([1, 0, 2])):  # the second as torch wants it sorted
        packed = packing.pack_padded_sequence(
            x[:, order], lengths[order], enforce_sorted=order != slice(None)
        )
        part = bare(tuple(s[:, order] for s in members(hx)))
        output, after = ours(packed, part, reset=reset[:, order])
        padded, _ = packing.pad_packed_sequence(output)
        torch.testing.assert_close(padded, want[:, order], rtol=0, atol=0)
        for one, other in zip(members(after), members(state), strict=True):
            torch.testing.assert_close(one, other[:, order], rtol=0, atol=0)


@every_kind
def test_compiled_it_is_one_node_of_the_same_numbers(kind):
    torch._dynamo.reset()
    module, x, hx, reset = case(kind, num_layers=2, bidirectional=True)
    ours = fastrnn.torch.accelerate(module)
    together = torch.compile(ours, fullgraph=True, backend="aot_eager")
    want = gradients(ours, x, hx, ours(x, hx, reset=reset))
    assert_same(gradients(ours, x, hx, together(x, hx, reset=reset)), want, 0)
    other = ~reset
    want = ours(x, hx, reset=other)[0]
    torch.testing.assert_close(together(x, hx, reset=other)[0], want, rtol=0, atol=0)


@every_kind
@pytest.mark.parametrize("way", ["kernels", "torch's own way"])
def test_nothing_crosses_a_reset(kind, way):
    """What an episode holds, NaN and infinity too, is nowhere in others, nor in their gradients."""
    module, x, hx, _ = case(kind, num_layers=2)
    ours = fastrnn.torch.accelerate(module)
    reset = torch.zeros(6, 3, dtype=torch.bool)
    reset[2] = reset[4] = True
    bad = x.detach().clone()
    bad[2, 0], bad[3, 1] = float("nan"), float("inf")
    bad.requires_grad_()
    found = []
    for source in (x, bad):
        output, state = ours(source, hx, reset=reset)
        loss = output[:2].sum() + output[4:].sin().sum() + sum(s.sum() for s in members(state))
        graph = way != "kernels"  # the gradient of a gradient is torch's
        d_x, *d_hx = torch.autograd.grad(loss, [source, *members(hx)], create_graph=graph)
        found.append((output[:2], output[4:], *members(state), d_x[:2], d_x[4:], *d_hx))
    for one, other in zip(*found, strict=True):
        assert torch.equal(one, other)
    assert not output[3, 1].isfinite().all()


@every_kind
def test_the_gradient_of_other_episodes_is_zero(kind):
    module, x, hx, _ = case(kind, num_layers=2, bidirectional=True)
    reset = torch.zeros(6, 3, dtype=torch.bool)
    reset[2], reset[4] = True, True
    output, _ = fastrnn.torch.accelerate(module)(x, hx, reset=reset)
    d_x, *d_hx = torch.autograd.grad(output[2:4].sum(), [x, *members(hx)])
    assert not d_x[:2].any()
    assert not d_x[4:].any()
    assert d_x[2:4].all()
    assert not any(d.any() for d in d_hx)


@every_kind
def test_checkpoints_and_threads_change_no_bit(kind):
    module, x, hx, reset = case(kind, 1500, 2, share=0.02, num_layers=2)
    ours = fastrnn.torch.accelerate(module)
    want = gradients(ours, x, hx, ours(x, hx, reset=reset))
    ours.checkpoint = 100
    assert_same(gradients(ours, x, hx, ours(x, hx, reset=reset)), want, 0)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        assert_same(gradients(ours, x, hx, ours(x, hx, reset=reset)), want, 0)
    finally:
        torch.set_num_threads(before)


@every_kind
@pytest.mark.parametrize("state", ["a state", "none", "a wrong one"])
def test_a_single_step_takes_the_short_way_with_rows_of_its_state_zero(kind, state, monkeypatch):
    module, x, hx, _ = case(kind, T=1, num_layers=2)
    ours, reset = fastrnn.torch.accelerate(module), torch.tensor([[True, False, True]])
    x, called_with = x.detach(), []
    if state == "a wrong one":
        with pytest.raises(RuntimeError, match="Expected hidden"):
            ours(x, bare(tuple(s[:, :2] for s in members(hx))), reset=reset)
        return
    hx = None if state == "none" else bare(tuple(s.detach() for s in members(hx)))
    attempt = single.attempt
    monkeypatch.setattr(single, "attempt", lambda *a: called_with.append(a) or attempt(*a))
    with torch.no_grad():
        for _ in range(2):
            output, after = ours(x, hx, reset=reset)
            again, other = ours(x[:, 1], reset=reset[:, 0])
        if hx is not None:
            zero = [torch.where(reset[0, :, None], 0, s) for s in members(hx)]
            hx = bare(tuple(zero))
        want, state = split(module, x, hx, reset) if hx is not None else ours(x)
    assert_same([output, *members(after)], [want, *members(state)])
    assert_same(
        [again, *members(other)], [*(t[:, 0] for t in ours(x[:, 1:2])[:1]), *members(other)]
    )
    assert len(called_with) >= 4


def test_dropout_draws_the_masks_it_draws_without_resets():
    module = fastrnn.torch.LSTM(3, 4, 2, dropout=0.5)
    x, none = torch.ones(5, 2, 3), torch.zeros(5, 2, dtype=torch.bool)
    first = none.clone()
    first[0] = True  # where the state is zero anyway
    results = []
    for reset in (None, none, first):
        torch.manual_seed(0)
        results.append(module(x, reset=reset)[0])
    for result in results[1:]:
        torch.testing.assert_close(result, results[0], rtol=0, atol=0)


WRONG = {
    "float": (torch.zeros(6, 3), TypeError, "reset is float32; expected bool"),
    "batch first": (torch.zeros(3, 6, dtype=torch.bool), ValueError, r"\(T, B\) = \(6, 3\)"),
    "three axes": (torch.zeros(6, 3, 1, dtype=torch.bool), ValueError, r"\(6, 3, 1\)"),
    "a list": ([[True] * 3] * 6, TypeError, "reset is a list"),
}


@pytest.mark.parametrize("dtype", [F64, torch.bfloat16], ids=["kernels", "torch's own way"])
@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_masks_are_named_whichever_way_the_call_goes(wrong, dtype):
    reset, error, message = WRONG[wrong]
    module, x = fastrnn.torch.GRU(4, 5, dtype=dtype), torch.zeros(6, 3, 4, dtype=dtype)
    with pytest.raises(error, match=f"GRU: .*{message}"):
        module(x, reset=reset)
    assert np.isfinite(module(x)[0].float().detach().numpy()).all()
