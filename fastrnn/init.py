"""Where training starts: each function draws the parameters of a layer, a cell or Linear anew.

In place, on the live arrays, and the object comes back, so that calls nest:
`forget_bias(orthogonal(glorot(lstm, seed=0), seed=1))`. What a function's paper is silent about,
it leaves as it is, and its docstring says so. A new object is `uniform` already.

A layer's W is one block of rows for each gate, and "per gate" means that each block is drawn as a
matrix by itself. `seed` is what np.random.default_rng takes; None: another draw at every call.
"""

import math
from collections.abc import Iterator
from typing import Any, TypeVar

import numpy as np

from fastrnn.nn.cells import RecurrentCell
from fastrnn.nn.layer import RecurrentLayer
from fastrnn.nn.linear import Linear
from fastrnn.nn.module import Module

Target = TypeVar("Target", bound=Module)


def uniform(layer: Target, seed: Any = None) -> Target:
    """Draw every parameter from U(-b, b), b = 1/sqrt(H), for Linear 1/sqrt(in_features).

    What torch's layers start with, and ours. LeCun et al. 1998, "Efficient BackProp" (section
    4.6), has the reason: sums of n terms keep their size if weights have one of about 1/sqrt(n).

    Args:
        layer: RNN, LSTM, GRU, a cell of one step, or Linear.
        seed: see the module.

    Returns:
        The same object.

    Raises:
        TypeError: it is none of these.
    """
    own, random = _check("uniform", layer), np.random.default_rng(seed)
    bound = (own.in_features if isinstance(own, Linear) else own.hidden_size) ** -0.5
    for name, shape in own.shapes.items():
        own.parameter(name)[...] = random.uniform(-bound, bound, shape)
    return layer


def glorot(layer: Target, seed: Any = None) -> Target:
    """Draw every weight, per gate, from U(-b, b), b = sqrt(6 / (rows + columns)); biases are 0.

    Forward and backward signals keep their variance as well as one bound allows: Glorot & Bengio
    2010, "Understanding the difficulty of training deep feedforward neural networks", eq. 16.

    Args:
        layer: RNN, LSTM, GRU, a cell of one step, or Linear.
        seed: see the module.

    Returns:
        The same object.

    Raises:
        TypeError: it is none of these.
    """
    own, random = _check("glorot", layer), np.random.default_rng(seed)
    for name, shape in own.shapes.items():
        bound = 0.0
        if len(shape) == 2:
            bound = math.sqrt(6 / (shape[0] // _blocks(own, name) + shape[1]))
        own.parameter(name)[...] = random.uniform(-bound, bound, shape)
    return layer


def orthogonal(layer: Target, gain: float = 1.0, seed: Any = None) -> Target:
    """Make W_hh, per gate, `gain` times a random orthogonal matrix; of Linear, the weight.

    All singular values are `gain`, so that products over many steps neither grow nor shrink by
    themselves: Saxe, McClelland & Ganguli 2014, "Exact solutions to the nonlinear dynamics of
    learning in deep linear neural networks" (arXiv 1312.6120). Drawn uniformly from all such
    matrices by the QR decomposition (Mezzadri 2007). A block that is not square, under a
    projection, has orthonormal columns, or rows if these are fewer. W_ih, W_hr and biases stay.

    Args:
        layer: RNN, LSTM, GRU, a cell of one step, or Linear.
        gain: the singular values.
        seed: see the module.

    Returns:
        The same object.

    Raises:
        TypeError: it is none of these, or the gain no number.
        ValueError: the gain is not finite.

    Example:
        >>> from fastrnn.nn.layers import RNN
        >>> w = orthogonal(RNN(2, 3, dtype=np.float64), seed=0).params["weight_hh_l0"]
        >>> bool(np.allclose(w @ w.T, np.eye(3)))
        True
    """
    own, random = _check("orthogonal", layer), np.random.default_rng(seed)
    gain = _number("orthogonal", "gain", gain)
    for name in ["weight"] if isinstance(own, Linear) else _names(own, "weight_hh"):
        (rows, columns), count = own.shapes[name], _blocks(own, name)
        blocks = [_orthonormal(random, rows // count, columns) for _ in range(count)]
        own.parameter(name)[...] = gain * np.concatenate(blocks)
    return layer


def identity(layer: Target, gain: float = 1.0, std: float = 0.001, seed: Any = None) -> Target:
    """Make W_hh `gain` times the identity, W_ih N(0, std²), and biases 0: the IRNN.

    A network of ReLUs that starts so copies its state from step to step, and the gradient back:
    Le, Jaitly & Hinton 2015, "A simple way to initialize recurrent networks of rectified linear
    units" (arXiv 1504.00941). Their gain is 1, and 0.01 where little memory is wanted.

    Args:
        layer: RNN or RNNCell; with nonlinearity="relu" it is the paper's.
        gain: what stands on the diagonal.
        std: standard deviation of W_ih.
        seed: see the module.

    Returns:
        The same object.

    Raises:
        TypeError: it is neither; units with gates start otherwise, see forget_bias.
        ValueError: a number is not finite.
    """
    own, random = _check("identity", layer), np.random.default_rng(seed)
    gain, std = _number("identity", "gain", gain), _number("identity", "std", std)
    if isinstance(own, Linear) or len(own.cell.gates) > 1:
        raise TypeError(
            f"init.identity: layer is a {type(own).__name__}; expected RNN or RNNCell, whose W_hh "
            "is one square block. For units with gates take init.orthogonal, or init.forget_bias "
            "for LSTM."
        )
    if std < 0:
        raise ValueError(f"init.identity: std must be at least 0, got {std}.")
    values = {
        "weight_hh": lambda shape: gain * np.eye(shape[0]),
        "weight_ih": lambda shape: std * random.standard_normal(shape),
    }
    for name, shape in own.shapes.items():
        own.parameter(name)[...] = values.get(name[: len("weight_hh")], np.zeros)(shape)
    return layer


def forget_bias(layer: Target, value: float = 1.0) -> Target:
    """Make the bias of the forget gate `value`: at 1 it begins by remembering, σ(1) = 0.73.

    Gers, Schmidhuber & Cummins 2000, "Learning to forget"; that it should be done by default is
    Jozefowicz, Zaremba & Sutskever 2015, "An empirical exploration of recurrent network
    architectures". torch's layout has two biases, which are added: b_ih becomes `value` and b_hh
    0, for all layers and directions. Everything else stays.

    Args:
        layer: LSTM or LSTMCell, with biases.
        value: the sum of both biases.

    Returns:
        The same object.

    Raises:
        TypeError: it has no forget gate. Of a GRU, z does that work (h' = (1 - z) n + z h), which
            the papers say nothing about.
        ValueError: it has no biases, or the value is not finite.

    Example:
        >>> from fastrnn.nn.layers import LSTM
        >>> forget_bias(LSTM(1, 2)).params["bias_ih_l0"][2:4]
        array([1., 1.], dtype=float32)
    """
    own = _check("forget_bias", layer)
    value = _number("forget_bias", "value", value)
    if isinstance(own, Linear) or "f" not in own.cell.gates:
        raise TypeError(
            f"init.forget_bias: layer is a {type(own).__name__}, which has no forget gate; "
            "expected LSTM or LSTMCell. A GRU remembers where z is near 1: to start so, set those "
            "rows of params['bias_ih_l0'], from hidden_size to 2 * hidden_size."
        )
    if not own.bias:
        raise ValueError("init.forget_bias: the layer has bias=False; make it with bias=True.")
    gate, hidden = own.cell.gates.index("f"), own.hidden_size
    rows = slice(gate * hidden, (gate + 1) * hidden)
    for kind, bias in (("bias_ih", value), ("bias_hh", 0.0)):
        for name in _names(own, kind):
            own.parameter(name)[rows] = bias
    return layer


def _check(owner: str, layer: Any) -> Any:
    if not isinstance(layer, RecurrentLayer | RecurrentCell | Linear):
        raise TypeError(
            f"init.{owner}: layer is a {type(layer).__name__}; expected RNN, LSTM, GRU, RNNCell, "
            "LSTMCell, GRUCell or Linear of fastrnn. A torch module can take the result: "
            "module.load_state_dict, with torch.from_numpy of each of layer.state_dict()."
        )
    return layer


def _number(owner: str, name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | np.number):
        raise TypeError(f"init.{owner}: {name} should be a number, got {value!r}.")
    if not math.isfinite(value):
        raise ValueError(f"init.{owner}: {name} should be finite, got {value}.")
    return float(value)


def _names(layer: Any, kind: str) -> Iterator[str]:
    """Return the names of a kind of parameter in all layers and directions."""
    return (name for name in layer.shapes if name.startswith(kind))


def _blocks(layer: Any, name: str) -> int:
    """Return how many blocks of rows a weight has: one for each gate, if it makes gates."""
    return len(layer.cell.gates) if name.startswith(("weight_ih", "weight_hh")) else 1


def _orthonormal(random: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    """Draw a matrix with orthonormal columns or, if these are fewer, rows."""
    q, r = np.linalg.qr(random.standard_normal((max(rows, columns), min(rows, columns))))
    q *= np.where(np.diagonal(r) < 0, -1.0, 1.0)  # else QR's own signs are not uniform
    return q if rows >= columns else q.T
