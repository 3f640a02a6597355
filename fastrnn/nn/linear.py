"""Linear, the read-out of a network, on the products of the recurrence (kernels/affine.py).

Not on NumPy's: the threads of its BLAS go on spinning after a product, for longer than a pass of
a small recurrent layer takes, and hold the cores that the layer would use.
"""

import math

import numpy as np

from fastrnn import checks
from fastrnn.engine import buffers
from fastrnn.engine.plan import is_shared
from fastrnn.kernels import threads
from fastrnn.kernels.affine import PIECE, affine_backward, affine_forward, affine_weights_backward
from fastrnn.nn import sizes
from fastrnn.nn.gradients import Gradients
from fastrnn.nn.module import Module


class Linear(Module):
    """y = x Wᵀ + b over the last axis; the function of torch.nn.Linear.

    Args:
        in_features: size of the last axis of x, at least 1.
        out_features: size of the last axis of y, at least 1.
        bias: have a bias; default True.
        dtype: np.float32 (default) or np.float64.
        seed: of the parameters, U(-1/sqrt(in), 1/sqrt(in)); None (default): different values each
            time.

    Raises:
        TypeError, ValueError: an argument of another type or out of range.

    Example:
        >>> linear = Linear(3, 2, seed=0)
        >>> y, pullback = linear.vjp(np.ones((5, 4, 3), np.float32))
        >>> pullback(np.ones_like(y)).params["weight"].shape
        (2, 3)
    """

    def __init__(self, in_features, out_features, bias=True, *, dtype=np.float32, seed=None):
        super().__init__(checks.float_dtype("Linear", dtype))
        self.in_features = checks.integer("Linear", "in_features", in_features)
        self.out_features = checks.integer("Linear", "out_features", out_features)
        shapes: dict[str, tuple[int, ...]] = {"weight": (self.out_features, self.in_features)}
        self.bias = checks.boolean("Linear", "bias", bias)
        if self.bias:
            shapes["bias"] = (self.out_features,)
        given = f"in_features = {self.in_features:,} and out_features = {self.out_features:,}"
        nbytes = sum(map(math.prod, shapes.values())) * self.dtype.itemsize
        sizes.check(f"Linear with {given}", sizes.Amount(len(shapes), nbytes))
        self._draw_parameters(shapes, self.in_features**-0.5, seed)

    def __repr__(self) -> str:
        return self._described(self.in_features, self.out_features, bias=True, dtype=np.float32)

    def __call__(self, x) -> np.ndarray:
        """Return y, (..., out_features), for x, (..., in_features).

        Raises:
            TypeError, ValueError: x of another type, dtype or shape.
        """
        return self.vjp(x)[0]

    def vjp(self, x):
        """Compute y and return its gradient as a function.

        Args:
            x: (..., in_features), of the dtype.

        Returns:
            `y, pullback`: y is (..., out_features); `pullback(d_y)` returns the Gradients of
            sum(y * d_y); d_y may be None: zero. If x or the parameters are changed in place
            before it is called, its result is undefined.

        Raises:
            TypeError, ValueError: x, or d_y, of another type, dtype or shape.
        """
        x = checks.floats("Linear", "input", x, self.dtype)
        if x.ndim < 1 or x.shape[-1] != self.in_features:
            raise ValueError(
                f"Linear: input has shape {x.shape}; its last axis must be in_features = "
                f"{self.in_features}."
            )
        weight, bias = buffers.plain(self.parameter("weight")), None
        if "bias" in self.shapes:
            bias = self.parameter("bias")
        rows = buffers.plain(x.reshape(-1, self.in_features))
        y = _forward(rows, weight, bias).reshape(*x.shape[:-1], self.out_features)

        def pullback(d_y) -> Gradients:
            d_y = checks.cotangent("Linear", d_y, y.shape, self.dtype)
            d_y = np.zeros(y.shape, self.dtype) if d_y is None else d_y
            d_rows = buffers.plain(d_y.reshape(-1, self.out_features))
            d_x, params = _backward(rows, weight, bias, d_rows)
            return Gradients(d_x.reshape(x.shape), None, params)

        return y, pullback


def _threads_for(rows: int, weight: np.ndarray) -> int:
    return threads.get_num_threads() if is_shared(2 * rows * weight.size) else 1


def _forward(x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None) -> np.ndarray:
    """Return x weightᵀ + bias."""
    (rows, k), columns, dtype = x.shape, len(weight), x.dtype
    y = buffers.new((rows, columns), dtype)
    packed, start = buffers.aligned(dtype, (k * buffers.padded(columns, dtype),), (columns,))
    nothing = buffers.new(0, dtype)
    n = _threads_for(rows, weight)
    affine_forward(
        threads.call(n),
        n,
        x,
        weight,
        nothing if bias is None else buffers.plain(bias),
        y,
        packed,
        start,
    )
    return y


def weight_gradients(x: np.ndarray, d_y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return d_yᵀ x (M, K), and d_y summed over its rows (M,).

    Args:
        x: (N, K), at least one row; C-contiguous, as d_y.
        d_y: (N, M), of the same float type.
    """
    (rows, k), columns, dtype = x.shape, d_y.shape[1], x.dtype
    pitch = buffers.pitch(k, dtype)
    zeros, x_rows = buffers.aligned(dtype, (k,), (min(rows, PIECE) * pitch,))
    d_weight, d_bias = buffers.new((columns, k), dtype), buffers.new(columns, dtype)
    n = _threads_for(rows, d_weight)
    affine_weights_backward(threads.call(n), n, x, d_y, d_weight, d_bias, zeros, x_rows, pitch)
    return d_weight, d_bias


def _backward(x, weight, bias, d_y) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return the gradients at x and at the parameters."""
    (rows, k), columns, dtype = x.shape, len(weight), x.dtype
    pitch = buffers.pitch(k, dtype)
    packed, zeros, x_rows = buffers.aligned(
        dtype, (columns * buffers.padded(k, dtype),), (k,), (min(rows, PIECE) * pitch,)
    )
    d_x = buffers.new((rows, k), dtype)
    new = buffers.new if rows else buffers.zeros
    params: dict[str, np.ndarray] = {"weight": new((columns, k), dtype)}
    if bias is not None:
        params["bias"] = new(columns, dtype)
    n = _threads_for(rows, weight)
    affine_backward(
        threads.call(n),
        n,
        x,
        weight,
        d_y,
        d_x,
        params["weight"],
        params.get("bias", buffers.new(0, dtype)),
        packed,
        zeros,
        x_rows,
        pitch,
    )
    return d_x, params
