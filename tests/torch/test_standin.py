"""Code that asks for a module's class, name or file has torch's answer; fx, torch.ao, pickles."""

import copy
import inspect
import io
import pickle
from multiprocessing.reduction import ForkingPickler

import pytest

from tests.support.processes import python

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

import fastrnn.torch  # noqa: E402
from fastrnn.torch import standin  # noqa: E402
from tests.support.torch_modules import KINDS  # noqa: E402

every_kind = pytest.mark.parametrize("kind", KINDS)
quantises = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")


class Noted(fastrnn.torch.LSTM):
    """A user's class, with a state of its own."""

    def __init__(self, *args, note="", **options):
        super().__init__(*args, **options)
        self.note = note

    def __getstate__(self):
        return super().__getstate__() | {"note": self.note + "!"}


def accelerated(kind):
    """Return a model of one module, its module and an input."""
    torch.manual_seed(0)
    model = fastrnn.torch.accelerate(nn.Sequential(getattr(nn, kind)(4, 5)))
    return model, model[0], torch.randn(3, 4) if "Cell" in kind else torch.randn(6, 3, 4)


def as_torch_computes(module, x):
    return fastrnn.torch.restore(copy.deepcopy(module))(x)


@every_kind
def test_a_class_equals_the_one_it_stands_in_for(kind):
    ours, torchs = getattr(fastrnn.torch, kind), getattr(nn, kind)
    assert ours == torchs
    assert torchs == ours
    assert not ours != torchs
    assert ours in {torchs}
    assert {ours: 1}[torchs] == 1
    assert torchs in (ours,)
    others = [c for name in KINDS if name != kind for c in (getattr(nn, name),)]
    assert ours not in others
    assert standin.replaced(ours) is torchs
    assert Noted not in (nn.LSTM, fastrnn.torch.LSTM)
    assert standin.replaced(Noted) is None
    assert {Noted} != {nn.LSTM}


@every_kind
def test_an_instance_names_torchs_file_and_the_class_ours(kind):
    ours = getattr(fastrnn.torch, kind)
    assert ours(4, 5).__module__ == getattr(nn, kind).__module__
    assert ours.__module__ == "fastrnn.torch.modules"
    assert repr(ours) == f"<class 'fastrnn.torch.modules.{kind}'>"
    assert inspect.getfile(ours).endswith("modules.py")
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert pickle.loads(pickle.dumps(ours, protocol)) is ours
    assert Noted(4, 5).__module__ == Noted.__module__ == __name__


@every_kind
def test_fx_has_a_leaf(kind):
    model, module, x = accelerated(kind)
    traced = torch.fx.symbolic_trace(model)
    assert [node.op for node in traced.graph.nodes] == ["placeholder", "call_module", "output"]
    assert type(traced.get_submodule("0")) is type(module)
    torch.testing.assert_close(traced(x), model(x), rtol=0, atol=0)


@quantises
@every_kind
def test_torch_ao_quantises_it_as_torchs(kind):
    model, module, x = accelerated(kind)
    model.eval()
    plain = fastrnn.torch.restore(copy.deepcopy(model))
    ao = torch.ao.quantization
    assert type(ao.quantize_dynamic(model, {nn.Linear})[0]) is type(module)
    for wanted in (None, {getattr(nn, kind)}, {"0": ao.default_dynamic_qconfig}):
        quantised = ao.quantize_dynamic(model, wanted)
        expected = ao.quantize_dynamic(plain, wanted)
        if kind != "RNN":  # torch.ao has none
            assert type(quantised[0]) is type(expected[0])
            assert "quantized" in type(quantised[0]).__module__
        torch.testing.assert_close(quantised(x), expected(x), rtol=1e-5, atol=1e-6)
        assert type(module) is getattr(fastrnn.torch, kind)  # of a copy


@quantises
def test_what_waits_to_be_quantised_stays_torchs():
    model, module, _ = accelerated("LSTMCell")
    module.qconfig = None
    assert type(module) is fastrnn.torch.LSTMCell
    module.qconfig = torch.ao.quantization.default_dynamic_qconfig
    assert type(module) is nn.LSTMCell
    assert type(fastrnn.torch.accelerate(model)[0]) is nn.LSTMCell
    assert "qconfig" in fastrnn.torch.report(model)[0].reason


@every_kind
def test_pickles_hold_torchs_module(kind, tmp_path):
    _, module, x = accelerated(kind)
    module(x)
    expected, torchs = as_torch_computes(module, x), getattr(nn, kind)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        read = pickle.loads(pickle.dumps(module, protocol))
        assert type(read) is torchs
        assert vars(read).keys() == vars(fastrnn.torch.restore(copy.deepcopy(module))).keys()
        torch.testing.assert_close(read(x), expected, rtol=0, atol=0)
    torch.save(module, tmp_path / "module.pt")
    generator = torch.get_rng_state()
    with torch.serialization.safe_globals([torchs]):
        read = torch.load(tmp_path / "module.pt", weights_only=True)
    assert type(read) is torchs
    assert torch.equal(torch.get_rng_state(), generator)  # nothing was drawn for it
    torch.testing.assert_close(read(x), expected, rtol=0, atol=0)


def test_files_are_read_where_this_package_is_not(tmp_path):
    torch.save([accelerated(kind)[1] for kind in KINDS], tmp_path / "modules.pt")
    python(
        "import sys; sys.modules['fastrnn'] = None; import torch; "
        f"found = torch.load({str(tmp_path / 'modules.pt')!r}, weights_only=False); "
        f"assert [type(m) for m in found] == [getattr(torch.nn, k) for k in {KINDS}]"
    )


@every_kind
def test_copies_and_processes_have_the_same_class(kind):
    _, module, x = accelerated(kind)
    module.me = module  # a circle
    deep, shallow = copy.deepcopy(module), copy.copy(module)
    sent = pickle.loads(bytes(ForkingPickler.dumps(module)))
    for one in (deep, shallow, sent):
        assert type(one) is type(module)
        torch.testing.assert_close(one(x), module(x), rtol=0, atol=0)
    assert deep.me is deep
    places = [p.data_ptr() for p in module.parameters()]
    assert [p.data_ptr() for p in shallow.parameters()] == places
    assert not {p.data_ptr() for p in deep.parameters()} & {*places}
    plain = fastrnn.torch.restore(copy.deepcopy(module))
    assert type(pickle.loads(bytes(ForkingPickler.dumps(plain)))) is type(plain)


def test_a_users_class_is_pickled_and_copied_as_itself():
    module = Noted(4, 5, note="a")
    torch.save(module, file := io.BytesIO())
    for one in (
        copy.copy(module),
        copy.deepcopy(module),
        pickle.loads(pickle.dumps(module)),
        pickle.loads(bytes(ForkingPickler.dumps(module))),
        torch.load(io.BytesIO(file.getvalue()), weights_only=False),
    ):
        assert type(one) is Noted
        assert one.note == "a!"
