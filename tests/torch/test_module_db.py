"""PyTorch's own cases of its recurrent modules, run on fastrnn.torch's.

The cases (options, inputs, errors) come from `module_db`, torch's list of its modules for its own
tests; what is checked of each is what PyTorch's test/test_modules.py checks, mostly tighter: the
numbers are compared with torch.nn's module too, and who computed them is counted. So the cases are
PyTorch's choice: few sizes, no batch axis, no packed input: test_modules.py has those.

Of PyTorch's checks these are left out: transfer to other devices and parity with them, which need
one; channels-last formats, which need an input of four axes; modules that work in place, for none
of these can; and whether `module_db` is right that a mode matters, which is for torch to test.
To save minutes, numerical gradients are of training mode only (without dropout they are eval's),
and gradients of gradients by one parameter alone instead of by each.
"""

import copy
import functools
import inspect
import io
import itertools
import pickle
from typing import NamedTuple

import pytest
from hypothesis import settings

from tests.support.compare import assert_close

torch = pytest.importorskip("torch")
profile = settings.get_current_profile_name()
common = pytest.importorskip("torch.testing._internal.common_modules")  # needs expecttest
settings.load_profile(profile)  # the import loads another, of fewer examples, for every test

from torch.utils._pytree import tree_flatten, tree_leaves, tree_map, tree_unflatten  # noqa: E402

import fastrnn.torch  # noqa: E402

TOLERANCES = {torch.float64: (1e-14, 1e-12), torch.float32: (1e-6, 1e-5)}  # absolute, relative
PACKAGES = fastrnn.torch, torch.nn
RECURRENT = torch.nn.RNN.__module__
INFOS = {c.__name__: i for i in common.module_db if (c := i.module_cls).__module__ == RECURRENT}
pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported")


class Case(NamedTuple):
    """One input of module_db."""

    name: str
    dtype: torch.dtype
    training: bool
    index: int = 0
    errors: bool = False

    def __str__(self):
        mode = "train" if self.training else "eval"
        return f"{self.name}-{str(self.dtype).removeprefix('torch.')}-{mode}-{self.index}"

    def inputs(self, requires_grad=False):
        return inputs_of(self._replace(index=0), requires_grad)

    def arguments(self, requires_grad=False):
        given = self.inputs(requires_grad)[self.index].forward_input
        assert not given.kwargs
        return copy.deepcopy(given.args)

    def module(self, package, **options):
        given = self.inputs()[self.index].constructor_input
        torch.manual_seed(1)
        return getattr(package, self.name)(*given.args, **given.kwargs, **options)

    def pair(self):
        """Return fastrnn's module and torch's, with the same parameters."""
        module = self.module(fastrnn.torch).to(self.dtype).train(self.training)
        return module, fastrnn.torch.restore(copy.deepcopy(module))


@functools.cache
def inputs_of(case, requires_grad):
    torch.manual_seed(0)
    info = INFOS[case.name]
    make = info.module_error_inputs_func if case.errors else info.module_inputs_func
    return make(info, "cpu", case.dtype, requires_grad, case.training)


def cases(dtypes=(torch.float64, torch.float32), modes=(True, False), errors=False):
    found = []
    for name, dtype, training in itertools.product(INFOS, dtypes, modes):
        if training or INFOS[name].train_and_eval_differ:
            first = Case(name, dtype, training, errors=errors)
            found += [first._replace(index=i) for i in range(len(first.inputs()))]
    return pytest.mark.parametrize("case", found, ids=str)


def compare(got, expected, dtype, exact=False):
    """Assert that all tensors of two results are the same, as well as their dtype can tell."""
    got, expected = tree_leaves(got), tree_leaves(expected)
    assert {tensor.dtype for tensor in (*got, *expected)} == {dtype}
    atol, rtol = (0, 0) if exact else TOLERANCES[dtype]
    for i, pair in enumerate(zip(got, expected, strict=True)):
        assert_close(*(t.detach().numpy() for t in pair), atol=atol, rtol=rtol, name=f"tensor {i}")


def gradients(module, arguments, cotangents):
    """Return the outputs of a call and the gradients that it leaves, output by output."""
    leaves = [*tree_leaves(arguments), *module.parameters()]
    for leaf in leaves:
        leaf.grad = None
    outputs = module(*arguments)
    for output, cotangent in zip(tree_leaves(outputs), cotangents, strict=True):
        output.backward(cotangent, retain_graph=True)
    return outputs, [leaf.grad for leaf in leaves]


def spread(tensor):
    """Return an equal tensor whose entries are not side by side."""
    result = tensor.detach().repeat_interleave(2, dim=-1)[..., ::2]
    assert not result.is_contiguous()
    return result.requires_grad_(tensor.requires_grad)


def test_there_are_cases_of_every_module():
    assert set(INFOS) == {"RNN", "LSTM", "GRU", "RNNCell", "LSTMCell", "GRUCell"}
    for name in INFOS:
        assert all(one.reference_fn for one in Case(name, torch.float64, True).inputs())
        assert "inplace" not in inspect.signature(getattr(fastrnn.torch, name)).parameters


@cases()
def test_forward(case, runs):
    (module, torchs), reference = case.pair(), case.inputs()[case.index].reference_fn
    for requires_grad in (False, True):
        arguments = case.arguments(requires_grad)
        outputs = module(*arguments)
        compare(outputs, torchs(*arguments), case.dtype)
        compare(outputs, reference(module, *arguments), case.dtype)  # with a batch of one
    assert runs() == 4
    module.train(not case.training)  # without dropout, it does not matter
    if not INFOS[case.name].train_and_eval_differ:
        del module.training
    with torch.no_grad():
        compare(module(*arguments), outputs, case.dtype, exact=True)
    assert runs() == 5


@cases()
def test_construction(case, runs):
    module, torchs = (case.module(p, device="cpu", dtype=case.dtype) for p in PACKAGES)
    assert [repr(module), str(module)] == [repr(torchs), str(torchs)]
    compare(module.state_dict(), torchs.state_dict(), case.dtype, exact=True)
    with torch.device("meta"):
        module, like = (case.module(package).to(case.dtype) for package in PACKAGES)
    assert module(*tree_map(lambda t: t.to("meta"), case.arguments()))[0].is_meta
    assert runs() == 0
    for parameter, other in zip(module.parameters(), like.parameters(), strict=True):
        assert (parameter.shape, parameter.stride()) == (other.shape, other.stride())
    module.to_empty(device="cpu").load_state_dict(torchs.state_dict())
    compare(module(*case.arguments()), torchs(*case.arguments()), case.dtype)
    assert runs() == 1


@pytest.mark.parametrize("swap", [False, True], ids=["set", "swap"])  # torch has two ways
@cases([torch.float32])  # it goes through both
def test_conversion(case, swap, runs, monkeypatch):
    monkeypatch.setattr(torch.__future__, "_swap_module_params_on_conversion", swap)
    module, torchs = case.pair()
    parameters = list(map(id, module.parameters()))
    for name, *to in [["float"], ["double"], ["to", "cpu", torch.float32], ["to", torch.float64]]:
        getattr(module, name)(*to)
        getattr(torchs, name)(*to)
        dtype = next(torchs.parameters()).dtype
        assert list(map(id, module.parameters())) == parameters
        arguments = tree_map(lambda t, d=dtype: t.to(d), case.arguments())
        compare(module(*arguments), torchs(*arguments), dtype)
        # Torch swaps nothing that a graph still holds: this one is gone with its pass.
        tree_leaves(module(*arguments))[0].sum().backward()
        assert {parameter.grad.dtype for parameter in module.parameters()} == {dtype}
    assert runs() == 8


@cases()
def test_copies(case, runs):
    module, _ = case.pair()
    outputs = module(*case.arguments())
    torch.save(module, file := io.BytesIO())
    filled = case.module(fastrnn.torch, dtype=case.dtype)
    torch.nn.init.zeros_(next(filled.parameters()))
    filled.load_state_dict(module.state_dict())
    files = [
        pickle.loads(pickle.dumps(module)),
        torch.load(io.BytesIO(file.getvalue()), weights_only=False),
    ]
    assert all(type(read) is getattr(torch.nn, case.name) for read in files)
    copies = [filled, copy.deepcopy(module), *map(fastrnn.torch.accelerate, files)]
    for parameter in module.parameters():
        parameter.data.zero_()  # theirs are other memory
    for copied in copies:
        assert type(copied) is type(module)
        compare(copied(*case.arguments()), outputs, case.dtype, exact=True)
    assert runs() == 5


@cases()
def test_gradients(case, runs):
    """Equal to torch's, whatever lies side by side in inputs and gradients."""
    module, torchs = case.pair()
    dense = case.arguments(True), [t.detach().cos() for t in tree_leaves(torchs(*case.arguments()))]
    wide = [tree_map(spread, one) for one in dense]
    expected = gradients(torchs, *dense)
    for given in itertools.product(*zip(dense, wide, strict=True)):
        compare(gradients(module, *given), expected, case.dtype)
    for memory_format in (torch.preserve_format, torch.contiguous_format):
        got = gradients(module.to(memory_format=memory_format), *dense)
        compare(got, expected, case.dtype)
        assert all(tensor.is_contiguous() for tensor in tree_leaves(got))
    assert runs() == 6
    module.zero_grad(set_to_none=False)
    assert not any(parameter.grad.any() for parameter in module.parameters())
    module.zero_grad()
    assert {parameter.grad for parameter in module.parameters()} == {None}


@pytest.mark.parametrize("check", ["gradcheck", "gradgradcheck"])
@cases([torch.float64], [True])
def test_numerical_gradients(case, check, runs):
    inputs, structure = tree_flatten(case.arguments(True))
    parameters = list((module := case.pair()[0]).parameters())

    def function(*leaves):
        given = tree_unflatten(leaves[: len(inputs)], structure)
        return tuple(tree_leaves(module(*given)))

    alone = parameters if check == "gradcheck" else parameters[-1:]
    for wanted in [parameters, *([parameter] for parameter in alone)]:
        module.requires_grad_(False)
        for parameter in wanted:
            parameter.requires_grad_()
        # As PyTorch's tests do: by random projections, and with batches of gradients besides.
        options = {"fast_mode": True, "check_batched_grad": True, "nondet_tol": 0.0}
        assert getattr(torch.autograd, check)(function, (*inputs, *parameters), **options)
    assert runs() > 1 + len(alone)


@cases(errors=True)
def test_errors(case, runs):
    """The error that PyTorch expects, in torch.nn's very words."""
    one = case.inputs()[case.index]
    given, call = one.module_error_input.constructor_input, one.module_error_input.forward_input
    messages = []
    for package in PACKAGES:
        with pytest.raises(one.error_type, match=one.error_regex) as raised:  # noqa: PT012
            module = getattr(package, case.name)(*given.args, **given.kwargs)
            assert one.error_on is common.ModuleErrorEnum.FORWARD_ERROR
            module(*call.args, **call.kwargs)
        messages.append((raised.type, str(raised.value)))
    assert messages[0] == messages[1]
    assert runs() == 0
