"""Deferred gradients of weights: torch's sums, in however many goes they are asked for."""

import copy
import types

import pytest

torch = pytest.importorskip("torch")


import fastrnn  # noqa: E402
from fastrnn.torch import deferred, single  # noqa: E402
from tests.support.torch_modules import KINDS, assert_same_gradients, inputs, pair, steps  # noqa: E402

pytestmark = pytest.mark.usefixtures("nan_in_new_memory")
every_kind = pytest.mark.parametrize("kind", KINDS)


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
        list(module.parameters())[1].add_(1)  # W_hh
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        outputs[-1].sum().backward()


def test_the_first_step_is_on_its_own_and_later_ones_share_a_token():
    weights = [torch.randn(3, 2, requires_grad=True) for _ in range(4)]
    twin = types.SimpleNamespace(spec=fastrnn.RNN(2, 3).spec)
    generation = deferred.Generation(weights)
    assert generation.deferred(twin) is None
    shared = generation.deferred(twin)
    assert generation.deferred(twin) is shared
    assert shared.token.requires_grad
    assert generation.is_now()
    generation.pending = False
    assert generation.deferred(twin) is None
    with torch.no_grad():
        weights[2].add_(1)
    assert not generation.is_now()
    other = deferred.Generation(weights)
    weights[0].requires_grad_(False)
    assert not other.is_now()


@pytest.mark.parametrize("given", [False, True], ids=["zeros", "states"])
@pytest.mark.parametrize("shared", [False, True])
def test_factors_become_the_products_of_each_layer(given, shared):
    """Of two layers, three steps; what was computed already is added."""
    torch.manual_seed(0)
    weights = [torch.zeros(s, requires_grad=True) for s in ((6, 2), (6, 3), (6,), (6,)) * 2]
    weights[4] = torch.zeros(6, 3, requires_grad=True)
    node = deferred.Deferred(weights, layers=2, hidden=3)
    expected, ready = [torch.zeros_like(w) for w in weights], [torch.randn_like(w) for w in weights]

    class Leave(torch.autograd.Function):
        @staticmethod
        def forward(ctx, token):
            return token.new_zeros(1)

        @staticmethod
        def backward(ctx, d):
            assert node.wanted()
            for layer, factors in enumerate(node.factors()):
                for rows in (1, 2, 1):
                    d_x = d_h = torch.randn(rows, 6)
                    if not shared:
                        d_h = torch.randn(rows, 6)
                    x, h = torch.randn(rows, weights[4 * layer].shape[1]), torch.randn(rows, 3)
                    factors.append(deferred.Factors(d_x, d_h, x, h if given else None))
                    parts = d_x.T @ x, d_h.T @ (h * given), d_x.sum(0), d_h.sum(0)
                    for i, part in enumerate(parts):
                        expected[4 * layer + i] += part
            node.add_ready(ready)
            return d.new_zeros(0)

    Leave.apply(node.token).backward()
    for weight, total, more in zip(weights, expected, ready, strict=True):
        torch.testing.assert_close(weight.grad, total + more)


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_steps_of_different_batches_share_one_product(kind):
    """Sequences that end one after the other: fewer rows at every step."""
    module = fastrnn.torch.accelerate(getattr(torch.nn, kind)(16, 32, dtype=torch.float64))
    reference = fastrnn.torch.restore(copy.deepcopy(module))
    xs = [torch.randn(1, rows, 16, dtype=torch.float64) for rows in (4, 4, 2, 2, 1)]
    for _ in range(2):  # the second time, single steps are prepared
        for one in (reference, module):
            one.zero_grad()
            state, total = None, 0
            for x in xs:
                if state is not None:
                    members = state if kind == "LSTM" else (state,)
                    members = tuple(s[:, : x.shape[1]] for s in members)
                    state = members if kind == "LSTM" else members[0]
                output, state = one(x, state)
                total = total + output.square().sum()
            total.backward()
        assert_same_gradients(module, reference)
