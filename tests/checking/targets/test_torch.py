"""gradcheck of torch functions: right ones pass, wrong ones are named."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.autograd import Function  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from fastrnn.checking import GradcheckError, gradcheck  # noqa: E402
from fastrnn.checking.targets.dispatch import problem_of  # noqa: E402
from tests.support.tensors import drawn, names_of  # noqa: E402

both = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["f32", "f64"])


class Sigmoid(Function):
    """sigmoid(x @ w.T), right."""

    @staticmethod
    def forward(ctx, x, w):
        ctx.save_for_backward(x, w)
        return torch.sigmoid(x @ w.t())

    @staticmethod
    def backward(ctx, d):
        x, w = ctx.saved_tensors
        y = torch.sigmoid(x @ w.t())
        d = d * y * (1 - y)
        return d @ w, d.t() @ x


def wrong(change):
    """Return it with another backward: change(dx, dw, d, ctx) -> gradients."""

    def backward(ctx, d):
        return change(*Sigmoid.backward(ctx, d), d, ctx)

    return type("Wrong", (Sigmoid,), {"backward": staticmethod(backward)}).apply


class Power(Function):
    """x ** k, in the newer style."""

    @staticmethod
    def forward(x, k):
        return x**k

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(inputs[0])
        ctx.k = inputs[1]

    @staticmethod
    def backward(ctx, d):
        return d * ctx.k * ctx.saved_tensors[0] ** (ctx.k - 1), None


FUNCTIONS = {
    "written by hand": (Sigmoid.apply, drawn(4, 3), drawn(2, 3)),
    "its class": (Sigmoid, drawn(4, 3), drawn(2, 3)),
    "setup_context": (Power.apply, drawn(4), 3),
    "kinks": (torch.relu, torch.tensor([0.0, 1.0, -1.0, 2.0])),
    "nested": (
        lambda x, hc: {"a": x * hc[0], "b": [hc[1]["k"], x.argmax(), None]},
        drawn(3),
        (drawn(3), {"k": drawn(3)}),
    ),
    "an input comes back": (lambda x, y: (x, x * y), drawn(3), drawn(3)),
    "no axes": (lambda x: x**3, drawn()),
    "complex outputs": (torch.fft.rfft, drawn(6)),
    "calls autograd": (
        lambda x: torch.autograd.grad((x**3).sum(), x, create_graph=True)[0],
        drawn(3),
    ),
    "dropout": (lambda x: F.dropout(x, 0.5) ** 2, drawn(30)),
    "views": (lambda x: x.view(-1) ** 2, drawn(2, 3)),
    "unused": (lambda x, mask: x * (mask > 0), drawn(3), drawn(3)),
}


WRONG = {
    "sign": lambda dx, dw, d, ctx: (dx, -dw),
    "term": lambda dx, dw, d, ctx: (dx, d.t() @ ctx.saved_tensors[0]),
    "none": lambda dx, dw, d, ctx: (dx, None),
    "transposed": lambda dx, dw, d, ctx: (dx, dw.t()),
    "scaled": lambda dx, dw, d, ctx: (dx, dw * 1.0001),
}


@both
@pytest.mark.parametrize("name", FUNCTIONS)
def test_right_functions(name, dtype):
    target, *inputs = FUNCTIONS[name]
    inputs = torch.utils._pytree.tree_map_only(torch.Tensor, lambda t: t.to(dtype), inputs)
    assert gradcheck(target, inputs).kind == "torch function"


@both
@pytest.mark.parametrize("name", WRONG)
def test_wrong_functions(name, dtype):
    with pytest.raises(GradcheckError) as error:
        gradcheck(wrong(WRONG[name]), (drawn(2, 2, dtype=dtype), drawn(2, 2, dtype=dtype) + 1))
    report = error.value.report
    assert {v.name: bool(v.wrong) for v in report.variables} == {"x": False, "w": True}
    assert report.worst.name.startswith("w[")
    assert report.target == "Wrong"


def test_what_else_is_wrong_has_its_name():
    def failed(target, *inputs):
        report = gradcheck(target, inputs, raise_exception=False)
        return {p.name for p in report.properties if not p.ok}

    class Writes(Function):
        @staticmethod
        def forward(ctx, x):
            x.mul_(2)  # without mark_dirty
            return x.clone()

        @staticmethod
        def backward(ctx, d):
            return 2 * d

    class Undefined(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.set_materialize_grads(False)
            return 2 * x, 3 * x

        @staticmethod
        def backward(ctx, d, e):
            return 2 * d + 3 * e

    def in_place(dx, dw, d, ctx):
        d.zero_()
        return dx, dw

    def accumulating(dx, dw, d, ctx):
        ctx.total = getattr(ctx, "total", 0) + dw
        return dx, ctx.total

    x, w = drawn(4, 3), drawn(2, 3)
    assert "inputs untouched" in failed(Writes.apply, drawn(3))
    assert "inputs untouched" in failed(wrong(in_place), x, w)
    assert "repeatable" in failed(wrong(accumulating), x, w)
    assert "repeatable" in failed(lambda x: x * np.random.default_rng().random(), x)
    assert failed(Undefined.apply, drawn(3)) == {"missing cotangents"}
    detached = gradcheck(lambda x: (x**2).detach(), x, raise_exception=False)
    assert detached.variables[0].wrong == 12
    partly = gradcheck(lambda x: (x**2, x.detach()), x)
    assert partly.notes == ["not checked, as they require no gradient: outputs [1]"]


def test_names_of_functions():
    assert names_of(Sigmoid.apply, drawn(4, 3), drawn(2, 3)) == ["x", "w"]
    assert names_of(Power, drawn(4), 3) == ["x"]
    assert names_of(torch.add, drawn(2), drawn(2)) == ["inputs[0]", "inputs[1]"]
    assert names_of(lambda *xs: xs[0], drawn(2)) == ["inputs[0]"]
    assert names_of(FUNCTIONS["nested"][0], *FUNCTIONS["nested"][1:]) == [
        "x",
        "hc[0]",
        "hc[1]['k']",
    ]


def test_which_inputs_are_variables():
    a, b = drawn(3, 3), drawn(3, 3)
    assert names_of(torch.matmul, a, b) == ["inputs[0]", "inputs[1]"]
    report = gradcheck(lambda x, y: x @ y, (a.requires_grad_(), b))
    assert [v.name for v in report.variables] == ["x"]
    assert report.notes == ["constant, as they require no gradient: y"]
    assert gradcheck(nn.Linear(3, 2), b, wrt="bias").variables[0].checked == 2


def test_random_numbers():
    """Dropout's masks are those of both precisions; other random numbers are not."""
    x = drawn(40)
    assert not gradcheck(lambda x: F.dropout(x, 0.4), x).notes
    (note,) = gradcheck(lambda x: x * torch.rand_like(x), x).notes
    assert "float64" in note
    assert not gradcheck(lambda x: x * torch.rand_like(x), x.double()).notes
    masks = [problem_of(nn.Dropout(), (x,), seed).vjp([x.numpy()])[0][0] for seed in (1, 1, 2)]
    assert np.array_equal(masks[0], masks[1])
    assert not np.array_equal(masks[0], masks[2])


def test_what_a_target_makes_itself_follows_it_to_float64():
    assert gradcheck(lambda x: torch.eye(3) @ x, drawn(3, 2))
