"""Tensors in nested arguments: found, named, converted, and refused."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn.utils.rnn import pack_padded_sequence  # noqa: E402

from fastrnn.checking import gradcheck  # noqa: E402
from fastrnn.checking.targets.pytree import Arguments, array_of, floats_in, tensor_of  # noqa: E402
from tests.support.tensors import drawn  # noqa: E402


@pytest.mark.parametrize(
    ("target", "inputs", "error", "text"),
    [
        (torch.relu, drawn(3).half(), TypeError, r"inputs\[0\] is torch.float16; .*\.double\(\)"),
        (torch.abs, drawn(3) * 1j, TypeError, "view_as_real"),
        (torch.relu, drawn(3).to("meta"), TypeError, r"on meta; .*\.cpu\(\)"),
        (torch.relu, drawn(2, 2).to_sparse(), TypeError, r"to_dense\(\)"),
        (
            nn.Linear(3, 2).bfloat16(),
            drawn(3),
            TypeError,
            r"weight is torch.bfloat16; .*module.double",
        ),
        (nn.Linear(3, 2), (np.ones(3),), TypeError, r"torch.from_numpy\(input\)"),
        ((torch.relu, torch.relu), drawn(3), TypeError, "NumPy arrays"),
        (lambda x: x.argmax(), drawn(3), TypeError, "no floating tensor"),
        (lambda x: x @ drawn(3), drawn(3), TypeError, "does not run in float64"),
        (torch.relu, torch.arange(3), ValueError, "no gradient to check"),
    ],
)
def test_refusals(target, inputs, error, text):
    with pytest.raises(error, match=text):
        gradcheck(target, inputs)


def test_tensors_are_found_and_named_in_nested_arguments():
    packed = pack_padded_sequence(drawn(4, 2, 3), torch.tensor([4, 2]))
    inputs = ({"a": [drawn(2), 7]}, torch.arange(3), packed)
    arguments = Arguments(["x", "index", "sequence"], inputs)
    assert [v.name for v in arguments.variables] == ["x['a'][0]", "sequence.data"]
    assert not arguments.constants
    assert np.array_equal(arguments.variables[1].value, packed.data.numpy())


def test_those_that_require_a_gradient_are_the_variables():
    x, y = drawn(2).requires_grad_(), drawn(3)
    arguments = Arguments(["x", "y"], (x, y))
    assert [v.name for v in arguments.variables] == ["x"]
    assert arguments.constants == ["y"]


@pytest.mark.parametrize("through", [False, True])
def test_arguments_are_built_of_new_tensors(through):
    x, y = drawn(2), drawn(3)
    arguments = Arguments(["x", "y"], ({"k": x}, (y, 5)))
    values = [np.full(2, 3.0), np.full(3, 4.0)]
    (first, (second, five)), leaves = arguments.built(values, torch.float64, True, through)
    assert five == 5
    assert all(leaf.requires_grad and leaf.is_leaf for leaf in leaves)
    assert first["k"].dtype == second.dtype == torch.float64
    assert (first["k"] is leaves[0]) is not through
    assert second.tolist() == [4, 4, 4]
    assert x.dtype == torch.float32
    assert not x.requires_grad


def test_floats_in_a_result():
    z = torch.zeros(2, dtype=torch.complex64)
    result = {"a": drawn(2), "b": [torch.arange(2), None, z]}
    assert [tensor.dtype for tensor in floats_in(result)] == [torch.float32, torch.complex64]


def test_a_tensor_has_gaps_where_its_array_has():
    whole = tensor_of(np.ones((4, 3)))
    assert whole.is_contiguous()
    gaps = tensor_of(np.ones((4, 6))[:, ::2], torch.float32)
    assert (gaps.dtype, gaps.tolist()) == (torch.float32, [[1.0] * 3] * 4)
    assert not gaps.is_contiguous()


def test_an_array_of_a_tensor_that_numpy_cannot_show():
    assert array_of(drawn(3).bfloat16()).dtype == np.float32
    assert array_of((drawn(3) * 1j).conj()).dtype == np.complex64
    assert array_of(drawn(2, 2).to_sparse()).shape == (2, 2)
    x = drawn(3)
    assert np.shares_memory(array_of(x.requires_grad_()), x.detach().numpy())
