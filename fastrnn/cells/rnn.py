"""The simple recurrent network (Elman 1990), with tanh or with ReLU (Le, Jaitly, Hinton 2015).

    h' = f(a_x + a_h)

The function is that of torch.nn.RNN.
"""

import numpy as np

from fastrnn.engine.cell import Cell, bind
from fastrnn.kernels.activation import tanh
from fastrnn.kernels.jit import jit
from fastrnn.kernels.simd import where_not_positive, zero_like


def equations_tanh(a_x, a_h, h):
    """The specification, in NumPy. Slow and obvious; never optimise this function."""
    return (np.tanh(a_x + a_h),)


def equations_relu(a_x, a_h, h):
    """The specification, in NumPy. Slow and obvious; never optimise this function."""
    a = a_x + a_h
    return (np.where(a.real <= 0, 0, a),)


@jit
def step_tanh(a_x, a_h, state):
    h = (tanh(a_x[0] + a_h[0]),)
    return h, h


@jit
def step_relu(a_x, a_h, state):
    a = a_x[0] + a_h[0]
    h = (where_not_positive(a, 0.0, a),)
    return h, h


@jit
def step_tanh_backward(saved, h, d_state):
    d_a = (d_state[0] * (1.0 - saved[0] * saved[0]),)
    return d_a, d_a, (zero_like(saved[0]),)


@jit
def step_relu_backward(saved, h, d_state):
    d_a = (where_not_positive(saved[0], 0.0, d_state[0]),)
    return d_a, d_a, (zero_like(saved[0]),)


_SHAPE = {"gates": ("a",), "states": ("h",), "saved": ("a",), "shared": True}

TANH = bind(
    "rnn_tanh",
    **_SHAPE,
    activations=("tanh",),
    equations=equations_tanh,
    step=step_tanh,
    step_backward=step_tanh_backward,
)
RELU = bind(
    "rnn_relu",
    **_SHAPE,
    activations=("relu",),
    equations=equations_relu,
    step=step_relu,
    step_backward=step_relu_backward,
)

_BY_NONLINEARITY = {"tanh": TANH, "relu": RELU}


def cell_of(owner: str, nonlinearity: str) -> Cell:
    """Return the cell of this nonlinearity; `owner` names the call in the error."""
    if not isinstance(nonlinearity, str) or nonlinearity not in _BY_NONLINEARITY:
        raise ValueError(f"{owner}: nonlinearity must be 'tanh' or 'relu', got {nonlinearity!r}.")
    return _BY_NONLINEARITY[nonlinearity]
