"""Which way calls go under each mode, and that `report` tells it; the numbers are torch's."""

import contextlib
import copy

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn.utils.rnn import pack_padded_sequence  # noqa: E402
from torch.overrides import TorchFunctionMode  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

import fastrnn.torch  # noqa: E402
from fastrnn.torch import ways  # noqa: E402
from tests.support.torch_modules import KINDS, LAYERS, flat  # noqa: E402

every_kind = pytest.mark.parametrize("kind", KINDS)


class SeesOperations(TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return func(*args, **(kwargs or {}))


class SeesFunctions(TorchFunctionMode):
    def __torch_function__(self, func, types, args=(), kwargs=None):
        return func(*args, **(kwargs or {}))


@contextlib.contextmanager
def default_device(device):
    torch.set_default_device(device)
    yield
    torch.set_default_device(None)


@contextlib.contextmanager
def inside(*modes):
    with contextlib.ExitStack() as stack:
        for mode in modes:
            stack.enter_context(mode)
        yield


NOTHING = {
    "set_default_device(cpu)": lambda: default_device("cpu"),
    "set_default_device(meta)": lambda: default_device("meta"),
    "device(meta)": lambda: torch.device("meta"),
    "two devices": lambda: inside(default_device("cpu"), torch.device("meta")),
    "inference": torch.inference_mode,
    "no_grad": torch.no_grad,
    "anomaly": torch.autograd.detect_anomaly,
    "autocast of another device": lambda: torch.autocast("cuda", torch.float16),
    "autocast that is off": lambda: torch.autocast("cpu", torch.bfloat16, enabled=False),
}
TORCHS = {
    "torch.autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "SeesOperations": SeesOperations,
    "SeesFunctions": lambda: inside(torch.device("cpu"), SeesFunctions()),
    "Flop": lambda: FlopCounterMode(display=False),
    "forward-mode": torch.autograd.forward_ad.dual_level,
}
quiet = pytest.mark.filterwarnings("ignore::UserWarning")


def modules(kind, **options):
    torch.manual_seed(0)
    reference = getattr(nn, kind)(4, 5, **options)
    return reference, fastrnn.torch.accelerate(copy.deepcopy(reference))


def arguments(kind):
    """Yield the input and the state of calls, as a module takes them."""
    torch.manual_seed(1)
    if "Cell" in kind:
        yield torch.randn(3, 4), None
        yield torch.randn(4), (torch.randn(5), torch.randn(5)) if "LSTM" in kind else torch.randn(5)
        return
    x, h = torch.randn(6, 3, 4), torch.randn(4, 3, 5)
    yield x, (h, h.cos()) if "LSTM" in kind else h
    yield x[:1], None
    yield x[:1], None  # a step that is known by now
    yield x[:, 0], None
    yield pack_padded_sequence(x, torch.tensor([2, 6, 4]), enforce_sorted=False), None


def same_calls(kind, mode, runs, by_kernels):
    """Assert that calls equal torch's in all, and whose they were."""
    options = {} if "Cell" in kind else {"num_layers": 2, "dropout": 0.5, "bidirectional": True}
    reference, module = modules(kind, **options)
    for x, hx in arguments(kind):
        results, before = [], runs()
        for one in (reference, module):
            torch.manual_seed(2)
            with mode():
                results.append(flat(r for r in one(x, hx) if r is not None))
        tolerance = {} if results[0][0].dtype is torch.float32 else {"rtol": 0.05, "atol": 0.05}
        for want, got in zip(*results, strict=True):
            torch.testing.assert_close(got, want, **tolerance)
            assert got.requires_grad == want.requires_grad
            assert got.is_inference() == want.is_inference()
        assert runs() - before == by_kernels
        yield fastrnn.torch.report(module)[0]


@quiet
@every_kind
@pytest.mark.parametrize("name", NOTHING)
def test_modes_that_change_nothing_change_nothing(kind, name, runs):
    for record in same_calls(kind, NOTHING[name], runs, by_kernels=True):
        assert (record.swapped, record.reason) == (True, "")


@quiet
@every_kind
@pytest.mark.parametrize("name", TORCHS)
def test_modes_that_want_torchs_operations_get_them_and_are_told(kind, name, runs):
    for record in same_calls(kind, TORCHS[name], runs, by_kernels=False):
        assert not record.swapped
        assert name in record.reason


@quiet  # torch.export, of torch's own attributes
@every_kind
def test_transforms_and_traces_are_told(kind):
    reference, module = modules(kind)
    x = torch.randn(3, 4) if "Cell" in kind else torch.randn(6, 3, 4)

    def gradient(one):
        return torch.func.grad(lambda x: flat(one(x))[0].sum())(x)

    torch.testing.assert_close(gradient(module), gradient(reference))
    assert fastrnn.torch.report(module)[0].reason == "last call: inside a transform of torch.func"
    torch.export.export(nn.Sequential(module), (x,))
    assert fastrnn.torch.report(module)[0].reason  # which is not told, and took nothing back
    module(x)
    assert fastrnn.torch.report(module)[0].swapped
    assert ways.told(module) == ""


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
def test_a_trace_is_told():
    _, module = modules("GRU")
    torch.jit.trace(module, (torch.randn(6, 3, 4),), check_trace=False)
    assert "torch.jit.trace" in fastrnn.torch.report(module)[0].reason


class Own(torch.Tensor):
    pass


@every_kind
def test_inputs_and_states_are_told(kind, runs):
    reference, module = modules(kind)
    x, hx = list(arguments(kind))[0 if "Cell" in kind else 1]
    state = [torch.zeros(3, 5).as_subclass(Own)] if "Cell" in kind else None
    state = state or [torch.zeros(1, 3, 5).as_subclass(Own)]
    state = tuple(2 * state) if "LSTM" in kind else state[0]
    for given, words in [((x.as_subclass(Own), hx), "input is a Own"), ((x, state), "hx is")]:
        for _ in range(2):
            torch.testing.assert_close(flat(module(*given)), flat(reference(*given)))
        assert runs() == 0
        record = fastrnn.torch.report(module)[0]
        assert not record.swapped
        assert words in record.reason
    before = copy.deepcopy(module)
    with pytest.raises((RuntimeError, ValueError)):
        module(x.double())
    assert words in fastrnn.torch.report(module)[0].reason  # a call that failed was none
    assert fastrnn.torch.report(before)[0].swapped  # a copy has not been called
    assert vars(before).keys() == vars(reference).keys()


@pytest.mark.parametrize("kind", LAYERS)
def test_a_known_step_takes_back_what_was_told(kind, runs):
    _, module = modules(kind)
    x = torch.randn(1, 3, 4)
    for _ in range(2):
        module(x)
    for _ in range(2):
        with SeesFunctions():
            module(x)
        assert not fastrnn.torch.report(module)[0].swapped
        module(x)
        assert fastrnn.torch.report(module)[0].swapped
    assert runs() == 4


def test_what_a_tensor_is_that_kernels_do_not_read():
    x = torch.ones(2, 3)
    assert ways.of_tensor(x) == ways.of_tensor(x.t()) == ""
    assert ways.of_tensor(x.half()) == "float16"
    assert ways.of_tensor(x.to("meta")) == "on meta"
    assert ways.of_tensor([1]) == "a list"
    assert "order" in ways.of_tensor(x.to_sparse())
    assert ways.of_input(x, 3, 2) == ""
    assert ways.of_input(x, 4, 2) == ways.of_input(x, 3, 3) == "input is (2, 3)"
    assert ways.mode() == ""
