"""Single steps of fastrnn.torch against torch's own modules.

What torch promises of autograd in general is in test_autograd.py, deferred gradients of weights in
test_deferred.py; here what could go wrong with a way of their own: other shapes, changed weights.
"""

import gc
import weakref

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from torch.utils.checkpoint import checkpoint  # noqa: E402

import fastrnn  # noqa: E402
import fastrnn.torch  # noqa: E402
from fastrnn.torch import single, twin  # noqa: E402
from tests.support.torch_modules import F64, KINDS, assert_same_gradients, inputs, pair, steps  # noqa: E402

pytestmark = pytest.mark.usefixtures("nan_in_new_memory")
every_kind = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture
def attempts(monkeypatch):
    """What `attempt` returned, call by call."""
    results, attempt = [], single.attempt

    def spy(*args):
        results.append(attempt(*args))
        return results[-1]

    monkeypatch.setattr(single, "attempt", spy)
    return results


@every_kind
@settings(max_examples=25)
@given(data=st.data())
def test_steps_train_as_torchs_do(kind, data):
    draw = data.draw
    width, hidden = draw(st.sampled_from([3, 16])), draw(st.sampled_from([5, 16, 32]))
    batch = draw(st.sampled_from([(), (1,), (2,)]))
    options = {"bias": draw(st.booleans())}
    if "Cell" not in kind:
        options |= {"num_layers": draw(st.integers(1, 2)), "batch_first": draw(st.booleans())}
    reference, module = pair(kind, width, hidden, **options)
    given_state, wanted = draw(st.booleans()), draw(st.booleans())
    optimisers = [torch.optim.SGD(m.parameters(), lr=0.1) for m in (reference, module)]
    for _ in range(3):  # the first step of all goes the general way
        leaves = []
        for one, optimiser in zip((reference, module), optimisers, strict=True):
            xs = inputs(kind, 4, width, batch)
            if options.get("batch_first") and batch:
                xs = [x.transpose(0, 1).contiguous() for x in xs]
            xs = [x.requires_grad_(wanted) for x in xs]
            hx = None
            if given_state:
                layers = (options["num_layers"],) if "Cell" not in kind else ()
                shape = (*layers, *batch, hidden)
                hx = [
                    torch.linspace(-1, k, torch.Size(shape).numel(), dtype=F64).view(shape)
                    for k in range(1 + ("LSTM" in kind))
                ]
                hx = [h.requires_grad_() for h in hx]
            given_hx = None if hx is None else tuple(hx) if "LSTM" in kind else hx[0]
            outputs, last = steps(one, xs, given_hx)
            optimiser.zero_grad()
            results = [*outputs, *last]
            torch.autograd.backward(results, [torch.cos(r.detach()) for r in results])
            leaves.append([*results, *(x.grad for x in xs if wanted), *(h.grad for h in hx or ())])
        for want, got in zip(*leaves, strict=True):
            torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-12)
        assert_same_gradients(module, reference)
        for optimiser in optimisers:
            optimiser.step()


@every_kind
def test_it_is_tried_and_what_changed_is_seen(kind, attempts):
    reference, module = pair(kind)
    (x,) = inputs(kind, 1)
    module(x)
    assert attempts == [None]

    def check(taken, x, *state):
        torch.testing.assert_close(module(x, *state), reference(x, *state), rtol=1e-12, atol=1e-12)
        assert (attempts[-1] is not None) == taken

    check(True, x)
    with torch.no_grad():
        check(True, x)
        for one in (reference, module):
            next(iter(one.parameters())).mul_(2)
    check(True, x)
    check(True, x.transpose(0, -1).clone().transpose(0, -1))  # other strides: the same numbers
    with torch.inference_mode():
        check(True, x)
    name = next(n for n, _ in module.named_parameters() if "weight_hh" in n)
    for one in (reference, module):
        getattr(one, name).data = 3 * getattr(one, name).data  # other memory: prepared again
    check(False, x)
    check(True, x)
    with torch.no_grad():
        for one in (reference, module):
            if "RNN" in kind:  # square
                getattr(one, name).t_()
    check("RNN" not in kind, x)
    for wrong in (x[..., :3], x.float()):
        with pytest.raises((RuntimeError, ValueError)):
            module(wrong)
        assert attempts[-1] is None


@every_kind
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpoints_recompute_steps_another_way(kind, layers, reentrant):
    """At first some steps go the general way, or on their own; when computed again, none may."""
    options = {} if "Cell" in kind or layers == 1 else {"num_layers": layers}
    reference, module = pair(kind, **options)
    for one in (reference, module):
        for _ in range(3):
            xs = [x.requires_grad_() for x in inputs(kind, 4)]

            def loss(*xs, one=one):
                return sum(output.square().sum() for output in steps(one, xs, None)[0])

            checkpoint(loss, *xs, use_reentrant=reentrant).backward()
    assert_same_gradients(module, reference)


def test_a_changed_state_does_not_change_the_gradient_of_a_stack():
    reference, module = pair("GRU", num_layers=2)
    for one in (reference, module):
        outputs, (last,) = steps(one, inputs("GRU", 3), None)
        with torch.no_grad():
            last.zero_()
        outputs[-1].sum().backward()
    assert_same_gradients(module, reference)


def test_a_module_does_not_live_longer_for_it():

    module = fastrnn.torch.GRU(16, 32)
    outputs, last = steps(module, [torch.zeros(1, 1, 16)] * 4, None)
    sum(o.sum() for o in outputs).backward()
    seen, count = weakref.ref(module), len(twin._twins)
    del module, outputs, last
    gc.collect()
    assert seen() is None
    assert len(twin._twins) == count - 1


@every_kind
def test_wrong_states_are_torchs_errors(kind, attempts):
    reference, module = pair(kind)
    (x,) = inputs(kind, 1)
    h = torch.zeros(1, 1, 32, dtype=F64) if "Cell" not in kind else torch.zeros(1, 32, dtype=F64)
    good = (h, h) if "LSTM" in kind else h
    for _ in range(2):
        module(x, good)
    assert attempts[-1] is not None
    for wrong in ((h,), (h, h, h), [h], (h, None), h[..., :3], h.float(), "h"):
        with pytest.raises(Exception) as expected:  # noqa: PT011
            reference(x, wrong)
        with pytest.raises(type(expected.value)) as got:
            module(x, wrong)
        assert attempts[-1] is None
        assert str(got.value) == str(expected.value)


def test_another_number_of_threads(attempts):
    module, x, before = fastrnn.torch.GRU(16, 32), torch.zeros(1, 1, 16), torch.get_num_threads()
    try:
        for count in (1, 2, 1):
            torch.set_num_threads(count)
            for _ in range(2):
                module(x)
            assert attempts[-1] is not None
    finally:
        torch.set_num_threads(before)


def test_dropout_in_training_goes_the_general_way(attempts):
    module = fastrnn.torch.GRU(16, 32, num_layers=2, dropout=0.5)
    x = torch.zeros(1, 1, 16)
    for _ in range(3):
        module(x)
    assert attempts == [None] * 3
    module.eval()(x)
    assert attempts[-1] is not None


def test_dropout_that_is_set_after_a_step_acts():
    module, x = fastrnn.torch.LSTM(16, 32, 2), torch.ones(1, 1, 16)
    for _ in range(3):
        module(x)
    module.dropout = 0.5
    assert len({module(x)[0].sum().item() for _ in range(8)}) > 1
    module.eval()
    assert len({module(x)[0].sum().item() for _ in range(8)}) == 1
