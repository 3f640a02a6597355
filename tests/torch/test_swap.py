"""accelerate, restore and report: only classes change, and everything else stays what it was."""

import copy

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn.utils import parametrizations, parametrize  # noqa: E402

import fastrnn.torch  # noqa: E402
from fastrnn.torch import accelerate, report, restore  # noqa: E402
from tests.support.processes import python  # noqa: E402
from tests.support.torch_modules import KINDS, flat  # noqa: E402


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first = torch.nn.LSTM(4, 3, num_layers=2, dropout=0.5)
        self.cell = torch.nn.GRUCell(3, 2)
        self.head = torch.nn.Linear(2, 1)

    def forward(self, x):
        return self.head(self.cell(self.first(x)[0][-1]))


class Own(torch.nn.GRU):
    pass


def test_only_the_class_changes():
    model = Model().eval()
    parameters, names = list(model.parameters()), list(model.state_dict())
    called = []
    model.first.register_forward_hook(lambda *_: called.append(1))
    x = torch.randn(5, 2, 4)
    before = model(x)
    assert fastrnn.torch.accelerate(model) is model
    assert type(model.first) is fastrnn.torch.LSTM
    assert type(model.cell) is fastrnn.torch.GRUCell
    assert all(a is b for a, b in zip(model.parameters(), parameters, strict=True))
    assert list(model.state_dict()) == names
    assert not model.first.training
    torch.testing.assert_close(model(x), before)
    assert len(called) == 2
    fastrnn.torch.restore(model)
    assert type(model.first) is torch.nn.LSTM
    assert type(model.cell) is torch.nn.GRUCell


def test_records_say_what_and_why():
    model = torch.nn.ModuleDict(
        {
            "a": torch.nn.RNN(2, 2),
            "b": Own(2, 2),
            "c": torch.nn.LSTM(2, 2).bfloat16(),
            "d": torch.nn.GRU(2, 2, device="meta"),
            "e": torch.nn.Linear(2, 2),
        }
    )
    plan = fastrnn.torch.accelerate(model, dry_run=True)
    assert type(model["a"]) is torch.nn.RNN
    assert [(r.name, r.swapped) for r in plan] == [
        ("a", True),
        ("b", False),
        ("c", False),
        ("d", False),
    ]
    assert "class of its own" in plan[1].reason
    assert plan[2].reason == "weight_ih_l0 is bfloat16"
    assert plan[3].reason == "weight_ih_l0 is on meta"
    assert str(plan).splitlines()[1].split() == ["a", "RNN", "yes"]
    assert fastrnn.torch.report(fastrnn.torch.accelerate(model)) == plan
    x = torch.randn(3, 1, 2)
    model["b"](x)
    model["c"](x.bfloat16())


def test_wrong_arguments():
    with pytest.raises(TypeError, match=r"model is a list; expected a torch\.nn\.Module"):
        fastrnn.torch.accelerate([])


def test_no_library_is_imported_for_a_model_that_has_none_of_its_modules():
    printed = python(
        "import sys, torch, fastrnn.torch\n"
        "fastrnn.torch.report(fastrnn.torch.accelerate(torch.nn.Sequential(torch.nn.GRU(2, 2))))\n"
        "names = 'sb3_contrib', 'torchrl', 'tensordict', 'fastrnn.torch.hosts.'\n"
        "print([m for m in sys.modules if m.startswith(names)])"
    )
    assert printed == "[]"


def test_twice_is_once():
    model = nn.Sequential(nn.GRU(4, 3))
    assert type(accelerate(accelerate(model))[0]) is fastrnn.torch.GRU
    assert type(restore(restore(model))[0]) is nn.GRU
    own = fastrnn.torch.GRU(4, 3)
    assert restore(own) is own
    assert type(own) is nn.GRU


REGISTER = {
    "identity": lambda m, name: parametrize.register_parametrization(m, name, nn.Identity()),
    "dropconnect": lambda m, name: parametrize.register_parametrization(m, name, nn.Dropout(0.5)),
    "weight_norm": parametrizations.weight_norm,
    "spectral_norm": parametrizations.spectral_norm,
    "orthogonal": parametrizations.orthogonal,
}


def parametrized(kind, how, order):
    """Return torch's module with two parametrizations, and ours, swapped before or after."""
    torch.manual_seed(0)
    reference = getattr(nn, kind)(4, 5)
    module = copy.deepcopy(reference)
    suffix = "" if "Cell" in kind else "_l0"
    names = [f"weight_hh{suffix}", f"weight_ih{suffix}"]
    if order == "accelerate first":
        accelerate(module)
    for one in (reference, module):
        torch.manual_seed(1)
        for name in names:
            REGISTER[how](one, name)
    return reference, accelerate(module), names


every_order = pytest.mark.parametrize("order", ["accelerate first", "parametrize first"])


@every_order
@pytest.mark.parametrize("how", REGISTER)
@pytest.mark.parametrize("kind", KINDS)
def test_parametrizations_draw_and_step_as_torchs(kind, how, order, runs):
    reference, module, _ = parametrized(kind, how, order)
    x = torch.randn(3, 4) if "Cell" in kind else torch.randn(6, 3, 4)

    def calls(one):
        torch.manual_seed(2)
        results = [flat(one(x)) for _ in range(3)]
        copied = copy.deepcopy(one)
        results += [flat(copied(x)), flat(one.eval()(x))]
        return results, torch.get_rng_state(), one.state_dict()

    with torch.no_grad():  # else torch itself copies no such module
        (want, drawn, state), (got, drawn_by_ours, our_state) = calls(reference), calls(module)
    torch.testing.assert_close(got, want)
    assert torch.equal(drawn_by_ours, drawn)
    torch.testing.assert_close(our_state, state)
    assert runs() == 5
    assert report(module)[0].swapped
    for one in (reference, module):
        torch.manual_seed(3)
        flat(one.train()(x))[0].sum().backward()
    for parameter, other in zip(module.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(parameter.grad, other.grad)


@every_order
@pytest.mark.parametrize("kind", KINDS)
def test_classes_of_parametrized_modules(kind, order):
    """Whatever comes first, the class below the parametrization is the one that is asked for."""
    _, module, names = parametrized(kind, "identity", order)
    ours, torchs = getattr(fastrnn.torch, kind), getattr(nn, kind)
    before, x = list(module.parameters()), torch.randn(3, 4)
    assert type(module).__bases__ == (ours,)
    twin = copy.deepcopy(module)
    for _ in range(2):
        assert restore(module) is module
        assert type(module).__bases__[0] is torchs
        assert not isinstance(module, ours)
    assert type(module).__name__ == f"Parametrized{kind}"
    assert parametrize.type_before_parametrizations(module) is torchs
    assert parametrize.is_parametrized(module, names[0])
    assert all(p is q for p, q in zip(module.parameters(), before, strict=True))
    assert report(module)[0] == ("", f"Parametrized{kind}", False, "")
    assert isinstance(twin, ours)  # a copy shares no class with what was restored
    copied = copy.deepcopy(module)
    accelerate(module)
    assert type(module).__bases__[0] is ours
    assert isinstance(copy.deepcopy(module), ours)
    assert isinstance(copy.deepcopy(twin), ours)
    assert not isinstance(copy.deepcopy(copied), ours)
    restore(module)
    for one, expected in ((module, torchs), (twin, ours), (copied, torchs)):
        for name in names:
            parametrize.remove_parametrizations(one, name)
        assert type(one) is expected
        assert flat(one(x))[0].shape


def test_a_parametrized_module_is_pickled_no_more_than_torchs():
    reference, module, _ = parametrized("GRU", "identity", "accelerate first")
    messages = []
    for one in (reference, module, restore(copy.deepcopy(module))):
        with pytest.raises(RuntimeError) as raised:
            one.__reduce_ex__(4)
        messages.append(str(raised.value))
    assert len({*messages}) == 1


def test_what_is_said_of_a_parametrized_module():
    _, module, _ = parametrized("LSTM", "weight_norm", "accelerate first")
    assert report(module)[0] == ("", "ParametrizedLSTM", True, "")
    module.bfloat16()
    assert "is bfloat16" in report(module)[0].reason
    plain = parametrize.register_parametrization(nn.GRU(2, 2), "weight_hh_l0", nn.Identity())
    assert accelerate(plain, dry_run=True)[0].swapped
    own = parametrize.register_parametrization(Own(2, 2), "weight_hh_l0", nn.Identity())
    assert "class of its own" in accelerate(own, dry_run=True)[0].reason
    kind = type(own)
    assert type(accelerate(own)) is kind
