"""Who is measured: one function each that runs a layer forward, and forward and back.

All start from the same float32 parameters and input, and compute the same: the output, or the
gradients of the input and of every parameter. What is not installed, or has no such cell, is
skipped visibly.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest

import fastrnn
from fastrnn import layers, reference
from fastrnn.cells import Cell


class Contender(NamedTuple):
    """A layer, ready to run."""

    forward: Callable[[], np.ndarray]  # -> output
    train: Callable[[], dict[str, np.ndarray]]  # -> gradients, that of the input as "input"


def layer_of(cell: Cell, **sizes):
    """Return the layer that wears a cell, whichever class it is."""
    for kind in layers._Recurrent.__subclasses__():
        options = {"nonlinearity": cell.name.removeprefix("rnn_")} if kind is layers.RNN else {}
        if kind is layers.RNN and not cell.name.startswith("rnn_"):
            continue
        layer = kind(**sizes, **options)
        if layer.cell is cell:
            return layer
    raise LookupError(f"no layer wears the cell {cell.name}")


def of_fastrnn(layer, x, d_output):
    """This package."""

    def train():
        (_, _), pullback = layer.vjp(x)
        grads = pullback(d_output)
        return {"input": grads.input, **grads.params}

    return Contender(lambda: layer(x)[0], train)


def of_reference(layer, x, d_output):
    """Plain NumPy: what the kernels are checked against, and what one would write by hand."""
    vjp = getattr(reference, f"{type(layer).__name__.lower()}_vjp", None)
    if vjp is None:
        pytest.skip(f"reference.py has no {type(layer).__name__}")
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    weights = [layer.params[name] for name in names]
    options = {"nonlinearity": layer.nonlinearity} if hasattr(layer, "nonlinearity") else {}

    def train():
        (_, _), pullback = vjp(x, None, *weights, **options)
        grads = pullback(d_output)
        return {"input": grads.input, **dict(zip(names, grads.params.values(), strict=True))}

    return Contender(lambda: vjp(x, None, *weights, **options)[0][0], train)


def of_torch(layer, x, d_output):
    """torch.nn, eager."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    kind = getattr(torch.nn, type(layer).__name__, None)
    if kind is None:
        pytest.skip(f"torch.nn has no {type(layer).__name__}")
    torch.set_num_threads(fastrnn.get_num_threads())
    options = {"nonlinearity": layer.nonlinearity} if hasattr(layer, "nonlinearity") else {}
    twin = kind(layer.input_size, layer.hidden_size, **options)
    twin.load_state_dict({name: torch.from_numpy(v) for name, v in layer.state_dict().items()})
    x_torch, d_torch = torch.from_numpy(x), torch.from_numpy(d_output)

    def forward():
        with torch.no_grad():
            return twin(x_torch)[0].numpy()

    def train():
        leaf = x_torch.detach().requires_grad_()
        twin.zero_grad()
        twin(leaf)[0].backward(d_torch)
        grads = {name: p.grad.numpy() for name, p in twin.named_parameters()}
        return {"input": leaf.grad.numpy(), **grads}

    return Contender(forward, train)


CONTENDERS = {"fastrnn": of_fastrnn, "torch": of_torch, "reference": of_reference}
