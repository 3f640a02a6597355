"""fastrnn.torch's modules against torch's own: numbers, states, errors, and whose path a call goes.

Gradients of gradients and the rest of autograd are in test_torch_autograd.py.
"""

import copy
import pickle
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.compare import assert_close

torch = pytest.importorskip("torch")

from torch.nn.utils import prune  # noqa: E402

import fastrnn  # noqa: E402
import fastrnn.torch  # noqa: E402
from fastrnn.torch import autograd  # noqa: E402

KINDS = {"RNN": torch.nn.RNN, "LSTM": torch.nn.LSTM, "GRU": torch.nn.GRU}
pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported")
every_kind = pytest.mark.parametrize("kind", KINDS)


def ours(module):
    return fastrnn.torch.accelerate(copy.deepcopy(module))


def members(state):
    return state if isinstance(state, tuple) else (state,)


def everything(module, x, hx, lengths=None, packed=False):
    """Run a module and return all it computes and all gradients, from seeded cotangents."""
    x = x.clone().requires_grad_()
    hx = None if hx is None else tuple(h.clone().requires_grad_() for h in members(hx))
    module.zero_grad()
    argument = x
    if packed:
        argument = torch.nn.utils.rnn.pack_padded_sequence(
            x, torch.tensor(lengths), module.batch_first, enforce_sorted=False
        )
    given = hx if hx is None or isinstance(module, torch.nn.LSTM) else hx[0]
    torch.manual_seed(1)
    if lengths is not None and not packed:
        output, state = module(x, given, lengths=lengths)
    else:
        output, state = module(argument, given)
    if packed:
        time = x.shape[1 if module.batch_first else 0]
        output, _ = torch.nn.utils.rnn.pad_packed_sequence(
            output, module.batch_first, total_length=time
        )
    results = [output, *members(state)]
    cotangents = [torch.sin(torch.arange(r.numel(), dtype=r.dtype)).view(r.shape) for r in results]
    torch.autograd.backward(results, cotangents)
    return [r.detach() for r in results] + [t.grad for t in (x, *(hx or ()), *module.parameters())]


def compare(got, expected):
    for i, (one, other) in enumerate(zip(got, expected, strict=True)):
        assert_close(one.numpy(), other.numpy(), atol=1e-12, rtol=1e-12, name=f"array {i}")


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
    reference = KINDS[kind](width, H, dtype=torch.float64, **options)
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


@pytest.mark.parametrize("batch", [(), (3,)], ids=["unbatched", "batched"])
@pytest.mark.parametrize("state", [False, True], ids=["zeros", "given"])
@pytest.mark.parametrize("options", [{}, {"bias": False}], ids=["bias", "no_bias"])
@pytest.mark.parametrize("kind", ["RNNCell", "LSTMCell", "GRUCell"])
def test_cells_equal_torch(kind, options, state, batch, runs):
    reference = getattr(torch.nn, kind)(5, 7, dtype=torch.float64, **options)
    results = []
    for module in (reference, ours(reference)):
        torch.manual_seed(0)
        x, h, c = (
            torch.randn(*batch, n, dtype=torch.float64, requires_grad=True) for n in (5, 7, 7)
        )
        hx = None if not state else (h, c) if kind == "LSTMCell" else h
        new = members(module(x, hx))
        torch.autograd.backward(new, [torch.cos(n.detach()) for n in new])
        leaves = [x, *(members(hx) if state else ()), *module.parameters()]
        results.append([n.detach() for n in new] + [leaf.grad for leaf in leaves])
    compare(results[1], results[0])
    assert runs() == 1


@every_kind
def test_who_computes(kind, runs):
    """The kernels where they can; torch for everything else, with its own results and errors."""
    module, x = ours(KINDS[kind](4, 3)), torch.randn(5, 2, 4)
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
            KINDS[kind](4, 3)(wrong)
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
def test_moved_and_changed_parameters_are_seen(kind):
    module, x = ours(KINDS[kind](4, 3)), torch.randn(5, 2, 4)
    module(x)
    with torch.no_grad():
        module.weight_hh_l0.zero_()
    reference = fastrnn.torch.restore(copy.deepcopy(module))
    torch.testing.assert_close(module(x)[0], reference(x)[0])
    module.weight_ih_l0.data = torch.zeros_like(module.weight_ih_l0)
    reference.weight_ih_l0.data.zero_()
    torch.testing.assert_close(module(x)[0], reference(x)[0])
    torch.testing.assert_close(module.double()(x.double())[0], reference.double()(x.double())[0])
    module.weight_hh_l0 = torch.nn.Parameter(torch.ones_like(module.weight_hh_l0))
    reference.weight_hh_l0 = torch.nn.Parameter(torch.ones_like(module.weight_hh_l0))
    torch.testing.assert_close(module(x.double())[0], reference(x.double())[0])


def test_memory_is_shared_in_and_out(monkeypatch):
    module, x = fastrnn.torch.GRU(4, 3), torch.randn(5, 2, 4)
    module(x)
    seen = []
    arrays_of, tensors_of = autograd.arrays_of, autograd.tensors_of

    def arrays(tensors):
        seen.extend(result := arrays_of(tensors))
        return result

    def tensors(arrays):
        seen.extend(arrays)
        return tensors_of(arrays)

    monkeypatch.setattr(autograd, "arrays_of", arrays)
    monkeypatch.setattr(autograd, "tensors_of", tensors)
    output, h_n = module(x)
    places = {array.ctypes.data for array in seen}
    assert {x.data_ptr(), output.data_ptr(), h_n.data_ptr()} <= places


@every_kind
def test_is_torchs_module(kind):
    reference = KINDS[kind](4, 3, num_layers=2, bidirectional=True)
    module = getattr(fastrnn.torch, kind)(4, 3, num_layers=2, bidirectional=True)
    assert isinstance(module, KINDS[kind])
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
@pytest.mark.parametrize("kind", [*KINDS, "RNNCell", "LSTMCell", "GRUCell"])
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


def test_weight_norm_and_pruning():
    x = torch.randn(5, 2, 4)
    for change in (
        lambda m: prune.l1_unstructured(m, "weight_hh_l0", 0.5),
        lambda m: torch.nn.utils.parametrizations.weight_norm(m, "weight_hh_l0"),
    ):
        torch.manual_seed(0)
        module = change(fastrnn.torch.GRU(4, 3))
        plain = torch.nn.GRU(4, 3)
        plain.load_state_dict({n: getattr(module, n).detach() for n in plain.state_dict()})
        torch.testing.assert_close(module(x)[0], plain(x)[0])
        module(x)[0].sum().backward()
        assert all(p.grad is not None for p in module.parameters())


def test_lengths_may_be_zero_and_are_checked():
    module, x = fastrnn.torch.LSTM(4, 3), torch.randn(5, 2, 4)
    output, (h, _) = module(x, lengths=torch.tensor([0, 3]))
    assert not output[:, 0].any()
    assert not h[:, 0].any()
    torch.testing.assert_close(output[:3, 1:], module(x[:3, 1:])[0])
    with pytest.raises(ValueError, match=r"lengths\[1\] is 6; expected whole numbers"):
        module(x, lengths=[1, 6])
    with pytest.raises(ValueError, match="lengths with packed input"):
        module(torch.nn.utils.rnn.pack_sequence([x[:, 0]]), lengths=[5])


def test_threads_follow_torch_unless_told(monkeypatch, threads):
    from fastrnn.kernels import threads as own

    monkeypatch.setattr(own._pool, "chosen", False)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        fastrnn.torch.GRU(4, 3)(torch.randn(5, 2, 4))
        assert fastrnn.get_num_threads() == 3
        threads(2)
        fastrnn.torch.GRU(4, 3)(torch.randn(5, 2, 4))
        assert fastrnn.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


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
