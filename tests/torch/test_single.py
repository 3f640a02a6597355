"""Single steps of fastrnn.torch, and their deferred gradients, against torch's own modules.

What torch promises of autograd in general is in test_torch_autograd.py, here what could go wrong
with a way of their own: other shapes, changed weights, gradients in several goes.
"""

import copy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from torch.utils.checkpoint import checkpoint  # noqa: E402

import fastrnn.torch  # noqa: E402
from fastrnn.torch import single, twin  # noqa: E402

KINDS = ["RNN", "LSTM", "GRU", "RNNCell", "LSTMCell", "GRUCell"]
every_kind = pytest.mark.parametrize("kind", KINDS)
F64 = torch.float64


@pytest.fixture(autouse=True)
def nan_in_new_memory():
    """Fill what torch.empty returns with NaN: whoever reads it before writing is seen."""
    torch.use_deterministic_algorithms(True)
    assert torch.empty(2).isnan().all()
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture
def attempts(monkeypatch):
    """What `attempt` returned, call by call."""
    results, attempt = [], single.attempt

    def spy(*args):
        results.append(attempt(*args))
        return results[-1]

    monkeypatch.setattr(single, "attempt", spy)
    return results


def pair(kind, width=16, hidden=32, **options):
    torch.manual_seed(0)
    reference = getattr(torch.nn, kind)(width, hidden, dtype=F64, **options)
    return reference, fastrnn.torch.accelerate(copy.deepcopy(reference))


def members(state):
    return state if isinstance(state, tuple) else (state,)


def steps(module, xs, hx):
    """Run a module step by step; return the emitted h of each step, and the last state."""
    outputs = []
    for x in xs:
        if isinstance(module, torch.nn.RNNBase):
            output, hx = module(x, hx)
        else:
            hx = module(x, hx)
            output = members(hx)[0]
        outputs.append(output)
    return outputs, members(hx)


def inputs(kind, number, width=16, batch=(1,)):
    torch.manual_seed(1)
    time = () if "Cell" in kind else (1,)
    return [torch.randn(*time, *batch, width, dtype=F64) for _ in range(number)]


def assert_same_gradients(module, reference):
    for (name, got), want in zip(module.named_parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(got.grad, want.grad, rtol=1e-12, atol=1e-12, msg=name)


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
def test_a_gradient_in_several_goes(kind):
    """The weights' node is passed again and again: each time with what is new."""
    reference, module = pair(kind)
    xs = inputs(kind, 5)
    for _ in range(2):  # no change of the weights in between: the same node
        for one in (reference, module):
            outputs, _ = steps(one, xs, None)
            outputs[1].sum().backward(retain_graph=True)
            outputs[4].square().sum().backward(retain_graph=True)
            (outputs[2].sum() + outputs[4].sum()).backward()
        assert_same_gradients(module, reference)


@every_kind
def test_gradients_that_do_not_want_the_weights_leave_nothing(kind):
    reference, module = pair(kind)
    xs = [x.requires_grad_() for x in inputs(kind, 4)]
    outputs, _ = steps(module, xs, None)
    for _ in range(3):
        torch.autograd.grad(outputs[3].sum(), xs, retain_graph=True)
    assert not module_left(module)
    weight = next(module.parameters())
    (got,) = torch.autograd.grad(outputs[3].sum(), weight)
    outputs, _ = steps(reference, xs, None)
    (want,) = torch.autograd.grad(outputs[3].sum(), next(reference.parameters()))
    torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-12)
    assert not module_left(module)


def module_left(module):
    """Return what steps have left and nobody took."""
    deferred = single.known_twin(module).generation._deferred
    return deferred._left._factors


@every_kind
def test_only_some_weights_want_gradients(kind):
    reference, module = pair(kind)
    for one in (reference, module):
        for name, parameter in one.named_parameters():
            parameter.requires_grad_("weight_hh" in name)
        outputs, _ = steps(one, inputs(kind, 3), None)
        sum(o.square().sum() for o in outputs).backward()
    assert_same_gradients(
        *(
            torch.nn.ParameterList([p for p in one.parameters() if p.requires_grad])
            for one in (module, reference)
        )
    )


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


@every_kind
def test_hooks_of_weights_see_one_sum(kind):
    reference, module = pair(kind)
    seen = []
    for one in (reference, module):
        next(one.parameters()).register_hook(seen.append)
        outputs, _ = steps(one, inputs(kind, 4), None)
        sum(o.square().sum() for o in outputs).backward()
    assert len(seen) == 2
    torch.testing.assert_close(*seen, rtol=1e-12, atol=1e-12)


@every_kind
def test_double_backward_through_several_steps(kind):
    reference, module = pair(kind)
    results = []
    for one in (reference, module):
        xs = [x.requires_grad_() for x in inputs(kind, 3)]
        outputs, _ = steps(one, xs, None)
        loss = sum(o.square().sum() for o in outputs)
        d_x = torch.autograd.grad(loss, [*xs, *one.parameters()], create_graph=True)
        sum(d.square().sum() for d in d_x).backward()
        results.append([x.grad for x in xs])
    torch.testing.assert_close(*results, rtol=1e-11, atol=1e-11)
    assert_same_gradients(module, reference)


@every_kind
def test_a_change_of_weights_before_the_gradient_is_noticed(kind):
    _, module = pair(kind)
    outputs, _ = steps(module, inputs(kind, 3), None)
    with torch.no_grad():
        next(module.parameters()).add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        outputs[-1].sum().backward()


def test_a_module_does_not_live_longer_for_it():
    import gc
    import weakref

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
