"""accelerate, restore and report: only classes change, and everything else stays what it was."""

import pytest

torch = pytest.importorskip("torch")

import fastrnn.torch  # noqa: E402


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
