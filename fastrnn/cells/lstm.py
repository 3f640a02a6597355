"""Long short-term memory (Hochreiter & Schmidhuber 1997; forget gate: Gers et al. 2000).

    i = σ(a_i)    f = σ(a_f)    g = tanh(a_g)    o = σ(a_o)        a = a_x + a_h
    c' = f c + i g
    h' = o tanh(c')

Gate order i, f, g, o and both biases are those of torch.nn.LSTM. A projection of h' (Sak et al.
2014) is applied by the engine, not by the cell.
"""

import numpy as np

from fastrnn.engine.cell import bind
from fastrnn.kernels.activation import sigmoid, tanh
from fastrnn.kernels.jit import jit
from fastrnn.kernels.simd import fma, zero_like


def equations(a_x, a_h, h, c):
    """The specification, in NumPy. Slow and obvious; never optimise this function."""
    i, f, g, o = np.split(a_x + a_h, 4, axis=-1)
    i, f, o = ((1 + np.tanh(a / 2)) / 2 for a in (i, f, o))
    c = f * c + i * np.tanh(g)
    return o * np.tanh(c), c


@jit(inline=True)  # else its many constants are loaded again for every vector
def step(a_x, a_h, state):
    i = sigmoid(a_x[0] + a_h[0])
    f = sigmoid(a_x[1] + a_h[1])
    g = tanh(a_x[2] + a_h[2])
    o = sigmoid(a_x[3] + a_h[3])
    c = state[1]
    c_new = fma(f, c, i * g)
    return (o * tanh(c_new), c_new), (i, f, g, o, c)


@jit
def step_backward(saved, h, d_state):
    i, f, g, o, c = saved
    tanh_c = tanh(fma(f, c, i * g))
    d_h, d_c = d_state
    d_c = fma(d_h * o, 1.0 - tanh_c * tanh_c, d_c)
    d_a = (
        d_c * g * (i * (1.0 - i)),
        d_c * c * (f * (1.0 - f)),
        d_c * i * (1.0 - g * g),
        d_h * tanh_c * (o * (1.0 - o)),
    )
    return d_a, d_a, (zero_like(d_h), d_c * f)


CELL = bind(
    "lstm",
    gates=("i", "f", "g", "o"),
    activations=("sigmoid", "sigmoid", "tanh", "sigmoid"),
    states=("h", "c"),
    saved=("i", "f", "g", "o", "c"),
    shared=True,
    equations=equations,
    step=step,
    step_backward=step_backward,
)
