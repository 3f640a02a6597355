"""Tensors in nested arguments and results: found, named, replaced, and converted to arrays.

Nested means what torch calls a pytree, and PackedSequences. What is called with the arguments is
not decided here: see torch.py and torch_module.py.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence
from torch.utils import _pytree as pytree

from fastrnn.checking.problem import Arrays, Variable
from fastrnn.torch.twin import FLOATS


class Arguments:
    """The inputs of a target.

    If any tensor requires a gradient, those that do are the variables, as for
    torch.autograd.gradcheck; if none does, all of float32 and float64 are.

    Attributes:
        variables: the arrays whose gradient is checked.
        constants: names of the other floating tensors.
    """

    def __init__(self, names: Sequence[str], inputs: tuple):
        """Find the variables.

        Args:
            names: one for each input.
            inputs: as the user gave them; they are never changed.

        Raises:
            TypeError: a floating tensor cannot be checked, or is a NumPy array.
        """
        found, self._nesting = pytree.tree_flatten_with_path(inputs, is_leaf=_is_packed)
        self._leaves = [leaf for _, leaf in found]
        floating: dict[int, tuple[str, Tensor]] = {}
        for place, (path, leaf) in enumerate(found):
            first: Any = path[0]  # of the tuple
            name = f"{names[first.idx]}{pytree.keystr(path[1:])}" + ".data" * _is_packed(leaf)
            tensor = _tensor_in(leaf)
            if tensor is None:
                _refuse_arrays(name, leaf)
            elif tensor.is_floating_point() or tensor.is_complex():
                refuse_unusual(name, name, tensor)
                floating[place] = (name, tensor)
        self._places = [p for p, (_, t) in floating.items() if t.requires_grad] or [*floating]
        self.variables = [
            Variable(name, np.array(array_of(tensor), order="C"))
            for name, tensor in map(floating.__getitem__, self._places)
        ]
        self.constants = [n for place, (n, _) in floating.items() if place not in self._places]

    def built(self, values: Arrays, dtype: torch.dtype | None, wants: bool, through: bool):
        """Return the arguments of a call, all their tensors new, and those of the variables.

        Args:
            values: of the variables.
            dtype: of all floating tensors; None: their own.
            wants: the variables require gradients.
            through: the call gets clones of the variables, which it may change in place while
                autograd follows.
        """
        values_at = dict(zip(self._places, values, strict=True))
        leaves, variables = list(self._leaves), []
        for place, leaf in enumerate(self._leaves):
            tensor = _tensor_in(leaf)
            if tensor is None:
                continue
            if place in values_at:
                variables.append(tensor_of(values_at[place], dtype).requires_grad_(wants))
                tensor = variables[-1].clone() if through else variables[-1]
            else:
                floating = dtype is not None and tensor.is_floating_point()
                tensor = tensor.detach().to(dtype if floating else tensor.dtype, copy=True)
            leaves[place] = PackedSequence(tensor, *leaf[1:]) if _is_packed(leaf) else tensor
        return pytree.tree_unflatten(leaves, self._nesting), variables


def floats_in(result: Any) -> list[Tensor]:
    """Return the floating and complex tensors of a result, which may be nested."""
    tensors = [_tensor_in(leaf) for leaf in pytree.tree_leaves(result, is_leaf=_is_packed)]
    return [
        tensor
        for tensor in tensors
        if tensor is not None and (tensor.is_floating_point() or tensor.is_complex())
    ]


def tensor_of(array: Any, dtype: torch.dtype | None = None) -> Tensor:
    """Return a tensor with its own memory; with gaps in memory if the array has gaps."""
    array = np.asarray(array)
    tensor = torch.from_numpy(np.array(array, order="C"))
    tensor = tensor if dtype is None else tensor.to(dtype)
    if array.flags.c_contiguous or not tensor.is_floating_point():
        return tensor
    wide = tensor.new_full([2 * n for n in tensor.shape], torch.nan)
    return wide[tuple(slice(None, None, 2) for _ in tensor.shape)].copy_(tensor)


def array_of(tensor: Tensor) -> np.ndarray:
    """Return a view of a tensor as an array, or a copy if NumPy has no such view."""
    tensor = tensor.detach()
    tensor = tensor.to_dense() if tensor.layout != torch.strided else tensor
    tensor = tensor.float() if tensor.dtype in (torch.bfloat16, torch.float16) else tensor
    return tensor.resolve_conj().resolve_neg().numpy()


def refuse_unusual(name: str, whole: str, tensor: Tensor) -> None:
    """Raise a TypeError unless this is float32 or float64, strided, on the CPU.

    Args:
        name: of the tensor, for the message.
        whole: what the user can convert: the tensor, or the module it belongs to.
        tensor: to check.
    """
    if tensor.is_complex():
        what = str(tensor.dtype)
        instead = "torch.view_as_real(z), and torch.view_as_complex in a function around the target"
    elif tensor.device.type != "cpu":
        what, instead = f"on {tensor.device.type}", f"{whole}.cpu()"
    elif tensor.layout != torch.strided:
        what, instead = f"of layout {tensor.layout}", f"{whole}.to_dense()"
    elif tensor.dtype not in FLOATS:
        what, instead = str(tensor.dtype), f"{whole}.double()"
    else:
        return
    raise TypeError(
        f"gradcheck: {name} is {what}; expected float32 or float64 in memory of the CPU: use "
        f"{instead}."
    )


def _refuse_arrays(name, leaf):
    if isinstance(leaf, np.ndarray | np.generic) and leaf.dtype.kind in "fc":
        raise TypeError(
            f"gradcheck: {name} is a NumPy array, of a torch target; expected a tensor, e.g. "
            f"torch.from_numpy({name})."
        )


def _is_packed(leaf) -> bool:
    return isinstance(leaf, PackedSequence)


def _tensor_in(leaf) -> Tensor | None:
    tensor = leaf.data if _is_packed(leaf) else leaf
    return tensor if isinstance(tensor, Tensor) else None
