"""Gated recurrent unit (Cho et al. 2014), in the form that resets after the product.

    r = σ(a_xr + a_hr)    z = σ(a_xz + a_hz)    n = tanh(a_xn + r a_hn)
    h' = (1 - z) n + z h

Gate order r, z, n and both biases are those of torch.nn.GRU; the paper's first version and cuDNN
have this form, its last version resets before the product.
"""

import numpy as np

from fastrnn.engine.cell import bind
from fastrnn.kernels.activation import sigmoid, tanh
from fastrnn.kernels.jit import jit
from fastrnn.kernels.simd import fma


def equations(a_x, a_h, h):
    """The specification, in NumPy. Slow and obvious; never optimise this function."""
    x_r, x_z, x_n = np.split(a_x, 3, axis=-1)
    h_r, h_z, h_n = np.split(a_h, 3, axis=-1)
    r = (1 + np.tanh((x_r + h_r) / 2)) / 2
    z = (1 + np.tanh((x_z + h_z) / 2)) / 2
    n = np.tanh(x_n + r * h_n)
    return ((1 - z) * n + z * h,)


@jit
def step(a_x, a_h, state):
    r = sigmoid(a_x[0] + a_h[0])
    z = sigmoid(a_x[1] + a_h[1])
    n = tanh(fma(r, a_h[2], a_x[2]))
    return (fma(z, state[0] - n, n),), (r, z, n, a_h[2])


@jit
def step_backward(saved, h, d_state):
    r, z, n, a_hn = saved
    d_h = d_state[0]
    d_z = d_h * (h - n) * (z * (1.0 - z))
    d_n = d_h * (1.0 - z) * (1.0 - n * n)
    d_r = d_n * a_hn * (r * (1.0 - r))
    return (d_r, d_z, d_n), (d_r, d_z, d_n * r), (d_h * z,)


CELL = bind(
    "gru",
    gates=("r", "z", "n"),
    activations=("sigmoid", "sigmoid", "tanh"),
    states=("h",),
    saved=("r", "z", "n", "a_hn"),
    shared=False,
    equations=equations,
    step=step,
    step_backward=step_backward,
)
