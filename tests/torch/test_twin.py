"""Twins: parameters that move or change are seen, memory is shared, torch's threads followed."""

import contextlib
import copy
import gc
import weakref

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn.utils import prune  # noqa: E402

import fastrnn  # noqa: E402
import fastrnn.torch  # noqa: E402
from fastrnn.torch import autograd, twin  # noqa: E402
from tests.support.torch_modules import KINDS, LAYERS, ours  # noqa: E402

every_kind = pytest.mark.parametrize("kind", LAYERS)


@every_kind
def test_moved_and_changed_parameters_are_seen(kind):
    module, x = ours(getattr(torch.nn, kind)(4, 3)), torch.randn(5, 2, 4)
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


@every_kind
def test_a_twin_is_kept_as_long_as_its_module(kind):
    module = getattr(fastrnn.torch, kind)(4, 3)
    module(torch.randn(5, 2, 4))
    known = twin.twin_of(module)
    assert twin.twin_of(module) is known
    assert twin.known_twin(module) is known
    module.double()
    again = twin.twin_of(module)
    assert again is not known
    assert again.dtype is torch.float64
    gone = weakref.ref(again)
    del again, known, module
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("kind", KINDS)
def test_arrays_are_views_of_the_parameters(kind):
    module = getattr(fastrnn.torch, kind)(4, 3, bias="LSTM" in kind)
    arrays = [a for own in twin.twin_of(module).arrays() for a in own if a.size]
    parameters = list(module.parameters())
    assert [a.ctypes.data for a in arrays] == [p.data_ptr() for p in parameters]
    assert [a.shape for a in arrays] == [tuple(p.shape) for p in parameters]


def test_the_spec_of_a_module():
    module = fastrnn.torch.LSTM(4, 6, 2, bidirectional=True, proj_size=3, bias=False)
    spec = twin.twin_of(module).spec
    ours = fastrnn.LSTM(4, 6, 2, bidirectional=True, proj_size=3, bias=False).spec
    assert spec == ours
    assert twin.twin_of(fastrnn.torch.RNN(4, 6, nonlinearity="relu")).spec.cell.name == "rnn_relu"
    assert twin.spec_of(torch.float32, "LSTM", 0, 6, 1, True, False, False, 0) is None
    assert twin.spec_of(torch.float32, "MGU", 4, 6, 1, True, False, False, 0) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.to(torch.bfloat16),
        lambda m: setattr(m.weight_hh_l0, "data", m.weight_hh_l0.data.double()),
    ],
    ids=["bfloat16", "mixed"],
)
def test_what_is_torchs_has_no_twin(change):
    module = fastrnn.torch.GRU(4, 3)
    change(module)
    assert twin.twin_of(module) is None


def test_states_that_torch_should_look_at():
    shapes, h = [(1, 2, 3), (1, 2, 3)], torch.zeros(1, 2, 3)
    assert twin.states_of(None, torch.float32, shapes) == ()
    assert twin.states_of((h, h), torch.float32, shapes) == (h, h)
    for wrong in (h, (h,), (h, h[0]), (h, h.double()), (h, h.to_sparse()), "hc"):
        assert twin.states_of(wrong, torch.float32, shapes) is None


class Counts(nn.Module):
    """A parametrization that knows how often its tensor was asked for."""

    reads = 0

    def forward(self, weight):
        self.reads += 1
        return weight


@pytest.mark.parametrize("kind", KINDS)
def test_weights_are_read_as_often_as_torch_reads_them(kind):
    """And not at all where the call will be torch's, which reads them itself."""
    reference = getattr(nn, kind)(4, 3)
    module = fastrnn.torch.accelerate(copy.deepcopy(reference))
    name = "weight_hh" if "Cell" in kind else "weight_hh_l0"
    count, ours = Counts(), Counts()
    nn.utils.parametrize.register_parametrization(reference, name, count)
    nn.utils.parametrize.register_parametrization(module, name, ours)
    x = torch.randn(2, 4)
    for one in (x, x, x[0]) if "Cell" in kind else (x, x[:, None], x[:1, None], x[:1, None]):
        reference(one)
        module(one)
        assert ours.reads == count.reads > 0
    for wrong in (x[..., :3], x[:0], x.double()):
        for one in (reference, module):
            with contextlib.suppress(RuntimeError, ValueError):
                one(wrong)
        assert ours.reads == count.reads
    with torch.autocast("cpu", torch.bfloat16):
        reference(x)
        module(x)
    for one in (reference, module):
        one.bfloat16()(x.bfloat16())
    assert ours.reads == count.reads
    assert twin.twin_of(module) is None
    assert ours.reads == count.reads


def test_what_else_a_users_class_holds_does_not_matter(runs):
    module = type("Own", (fastrnn.torch.GRU,), {})(4, 3)
    module.head, module.scale = nn.Linear(3, 2).bfloat16(), nn.Parameter(torch.ones(1).double())
    module(torch.randn(5, 2, 4))
    assert runs() == 1
    assert fastrnn.torch.report(module)[0].swapped
    assert len(twin.parameters_of(module)) == 4


def test_a_twin_of_another_dtype_is_none():
    module = fastrnn.torch.GRU(4, 3)
    for _ in range(2):
        assert twin.twin_of(module, torch.float64) is None
        assert twin.twin_of(module, torch.float32) is not None


def test_weights_that_torch_was_given_otherwise():
    """What torch computes with is its list: a host may have put other tensors there."""
    module, x = fastrnn.torch.LSTM(4, 3), torch.randn(5, 2, 4)
    reference = fastrnn.torch.restore(copy.deepcopy(module))
    for one in (module, reference):
        del one.weight_hh_l0
        one.weight_hh_l0 = torch.ones(12, 3)
    torch.testing.assert_close(module(x)[0], reference(x)[0])
    for one in (module, reference):
        one._parameters["weight_ih_l0"] = nn.Parameter(torch.ones(12, 4))
    torch.testing.assert_close(module(x)[0], reference(x)[0])


@pytest.mark.parametrize("kind", KINDS)
def test_weights_of_another_shape_reach_no_kernel(kind):
    """Kernels work on raw memory: a parameter that was replaced is looked at before they run."""
    module = getattr(fastrnn.torch, kind)(4, 3)
    assert twin.twin_of(module) is not None
    name = next(name for name, _ in module.named_parameters() if "weight_hh" in name)
    setattr(module, name, nn.Parameter(getattr(module, name).detach()[:, :2].clone()))
    assert twin.twin_of(module) is None
