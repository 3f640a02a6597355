"""fastrnn.torch's modules against torch's own: numbers, states, errors, and whose path a call goes.

Gradients of gradients and the rest of autograd are in test_autograd.py.
"""

import copy
import pickle
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")


import fastrnn  # noqa: E402
import fastrnn.torch  # noqa: E402
from tests.support.states import members  # noqa: E402
from tests.support.torch_modules import KINDS, LAYERS, compare, everything, ours  # noqa: E402

every_kind = pytest.mark.parametrize("kind", LAYERS)


pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported")


@every_kind
@settings(max_examples=60)
@given(data=st.data())
def test_everything_equals_torch(kind, data):
    draw, booleans = data.draw, st.booleans()
    options = {name: draw(booleans) for name in ("bias", "batch_first", "bidirectional")}
    options["num_layers"] = draw(st.integers(1, 2))
    T, B, width, H = (draw(st.integers(1, n)) for n in (6, 5, 9, 18))
    if kind == "RNN":
        options["nonlinearity"] = draw(st.sampled_from(["tanh", "relu"]))
    if kind == "LSTM" and H > 1:
        options["proj_size"] = draw(st.integers(0, H - 1))
    if options["num_layers"] == 2:
        options["dropout"] = draw(st.sampled_from([0.0, 0.4, 1.0]))
    reference = getattr(torch.nn, kind)(width, H, dtype=torch.float64, **options)
    how = draw(st.sampled_from(["batched", "unbatched", "packed"]))
    batch = () if how == "unbatched" else (B,)
    x = torch.randn(T, *batch, width, dtype=torch.float64)
    if options["batch_first"] and batch:
        x = x.transpose(0, 1)
    rows = options["num_layers"] * (1 + options["bidirectional"])
    hx = None
    if draw(booleans):
        widths = [options.get("proj_size") or H] + [H] * (kind == "LSTM")
        hx = tuple(torch.randn(rows, *batch, wide, dtype=torch.float64) for wide in widths)
    lengths = draw(
        st.permutations([T, *draw(st.lists(st.integers(1, T), min_size=B - 1, max_size=B - 1))])
    )
    packed = how == "packed"
    # Rows of equal length: torch's sort may put them, and their masks, in another order.
    if packed and options.get("dropout"):
        lengths = list(range(T, 0, -1))[:B] + [1] * max(0, B - T)
        reference = reference.eval() if len(set(lengths)) < B else reference
    expected = everything(reference, x, hx, lengths if packed else None, packed)
    compare(everything(ours(reference), x, hx, lengths if packed else None, packed), expected)
    if packed and not options.get("dropout"):
        compare(everything(ours(reference), x, hx, np.array(lengths)), expected)


@every_kind
def test_who_computes(kind, runs):
    """The kernels where they can; torch for everything else, with its own results and errors."""
    module, x = ours(getattr(torch.nn, kind)(4, 3)), torch.randn(5, 2, 4)
    module(x)
    module(torch.nn.utils.rnn.pack_sequence([x[:, 0]]))
    with torch.no_grad():
        module(x[:, 0])
    with torch.inference_mode():
        module(x)
    assert runs() == 4
    for wrong in (x[..., :3], x.double(), x[0, 0], x[:0]):
        with pytest.raises((RuntimeError, ValueError)) as error:
            module(wrong)
        with pytest.raises(type(error.value)) as expected:
            getattr(torch.nn, kind)(4, 3)(wrong)
        assert str(error.value) == str(expected.value)
    with torch.autocast("cpu", torch.bfloat16):
        module(x)
    copy.deepcopy(module).bfloat16()(x.bfloat16())
    assert runs() == 4


def test_what_the_package_refuses_is_torchs(runs):
    x = torch.randn(2, 4)
    assert fastrnn.torch.RNNCell(4, 0)(x).shape == (2, 0)
    for package in (torch.nn, fastrnn.torch):
        with pytest.raises(RuntimeError, match="Unknown nonlinearity: sinh"):
            package.RNNCell(4, 3, nonlinearity="sinh")(x)
    assert runs() == 0
    module = fastrnn.torch.GRUCell(4, 3, "relu")  # torch takes all that is true for a bias
    torch.testing.assert_close(module(x), fastrnn.torch.restore(copy.deepcopy(module))(x))
    assert runs() == 1


@every_kind
def test_is_torchs_module(kind):
    reference = getattr(torch.nn, kind)(4, 3, num_layers=2, bidirectional=True)
    module = getattr(fastrnn.torch, kind)(4, 3, num_layers=2, bidirectional=True)
    assert isinstance(module, getattr(torch.nn, kind))
    assert repr(module) == repr(reference)
    module.load_state_dict(reference.state_dict())
    x = torch.randn(5, 2, 4)
    for copied in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        torch.testing.assert_close(copied(x)[0], reference(x)[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, of tracing
        traced = torch.jit.trace(module, (x,), check_trace=False)
    torch.testing.assert_close(traced(x)[0], reference(x)[0])
    params = dict(reference.named_parameters())
    called = torch.func.functional_call(module, params, (x,))
    torch.testing.assert_close(called[0], reference(x)[0])


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
@pytest.mark.parametrize("kind", KINDS)
def test_torch_script_has_torchs_own_module(kind):
    module = getattr(fastrnn.torch, kind)(4, 3)
    x = torch.randn(2, 4) if "Cell" in kind else torch.randn(5, 2, 4)
    model = torch.nn.Sequential(module)  # a layer alone is not called, torch's neither
    scripted = torch.jit.script(model)
    for got, want in zip(members(scripted(x)), members(module(x)), strict=True):
        torch.testing.assert_close(got, want)
    assert next(scripted.parameters()).data_ptr() == next(module.parameters()).data_ptr()
    assert type(module) is getattr(fastrnn.torch, kind)
    assert type(model[0]) is getattr(torch.nn, kind)  # torch leaves it there
    assert type(fastrnn.torch.accelerate(model)[0]) is type(module)


class Wrapped(torch.nn.Module):
    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, x: torch.Tensor):
        return self.module(x)


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")
@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU", "RNNCell", "LSTMCell", "GRUCell"])
def test_torch_script_compiles_torchs(kind):
    module = getattr(fastrnn.torch, kind)(4, 3)
    x = torch.randn(2, 4) if "Cell" in kind else torch.randn(5, 2, 4)
    scripted = torch.jit.script(Wrapped(module))
    torch.testing.assert_close(scripted(x), module(x))
    torch.nn.init.ones_(next(module.parameters()))  # which both have
    torch.testing.assert_close(scripted(x), module(x))
