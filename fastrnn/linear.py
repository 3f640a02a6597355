"""Linear, the read-out of a network, on the products of the recurrence (kernels/gemm.py).

Not on NumPy's: the threads of its BLAS go on spinning after a product, for longer than a pass of
a small recurrent layer takes, and hold the cores that the layer would use.
"""

import numpy as np

from fastrnn import checks, workspace
from fastrnn.gradients import Gradients
from fastrnn.kernels import gemm, threads
from fastrnn.kernels.tile import TERMS, WIDEST
from fastrnn.parameters import Parameters
from fastrnn.unrolled import terms_over_time
from fastrnn.weights import pack_transposed, plain

_PIECE = 1024  # rows between two looks at the gradient of the weight: they stay in cache


class Linear(Parameters):
    """y = x Wᵀ + b over the last axis; the function of torch.nn.Linear.

    Args:
        in_features: size of the last axis of x.
        out_features: size of the last axis of y.
        bias: have a bias.
        dtype: np.float32 or np.float64.
        seed: of the parameters, U(-1/sqrt(in), 1/sqrt(in)).

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
        if checks.boolean("Linear", "bias", bias):
            shapes["bias"] = (self.out_features,)
        self._make(shapes, self.in_features**-0.5, seed)

    def __repr__(self) -> str:
        return f"Linear({self.in_features}, {self.out_features})"

    def __call__(self, x) -> np.ndarray:
        """Return y, (..., out_features), for x, (..., in_features).

        Raises:
            TypeError, ValueError: x of another type, dtype or shape.
        """
        return self.vjp(x)[0]

    def vjp(self, x):
        """Return `y, pullback`; `pullback(d_y)` returns the Gradients of sum(y * d_y).

        Raises:
            TypeError, ValueError: x, or d_y, of another type, dtype or shape.
        """
        x = checks.floats("Linear", "input", x, self.dtype)
        if x.ndim < 1 or x.shape[-1] != self.in_features:
            raise ValueError(
                f"Linear: input has shape {x.shape}; its last axis must be in_features = "
                f"{self.in_features}."
            )
        weight, bias = self._param("weight"), self._optional("bias")
        rows = plain(x.reshape(-1, self.in_features))
        y = _affine(rows, weight, bias).reshape(*x.shape[:-1], self.out_features)

        def pullback(d_y) -> Gradients:
            d_y = checks.cotangent("Linear", d_y, y.shape, self.dtype)
            d_y = np.zeros(y.shape, self.dtype) if d_y is None else d_y
            d_rows = plain(d_y.reshape(-1, self.out_features))
            params = {"weight": _outer(d_rows, rows)}
            if bias is not None:
                params["bias"] = d_rows.sum(axis=0, dtype=np.float64).astype(self.dtype)
            return Gradients(_times(d_rows, weight).reshape(x.shape), None, params)

        return y, pullback


def _cuts(count: int, operations: float) -> list[tuple[int, int]]:
    """Return ranges of `count` rows, one for each thread that this much work is worth."""
    parts = workspace.parts(operations, threads.get_num_threads())
    return [(count * i // parts, count * (i + 1) // parts) for i in range(parts)]


def _affine(x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None) -> np.ndarray:
    """Return x weightᵀ + bias."""
    k, columns, dtype = x.shape[1], len(weight), x.dtype
    packed, start = workspace.empty(dtype, (k * workspace.padded(columns, dtype),), (columns,))
    gemm.pack_gates(plain(weight), 1, WIDEST, packed)
    start[...] = 0 if bias is None else bias
    return _product(x, packed, k, start)


def _times(d_y: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return d_y weight."""
    k_packed = workspace.padded(len(weight), d_y.dtype)
    packed = pack_transposed(weight, 1, k_packed)
    return _product(d_y, packed, k_packed, np.zeros(weight.shape[1], d_y.dtype))


def _product(a: np.ndarray, packed: np.ndarray, k_packed: int, start: np.ndarray) -> np.ndarray:
    """Return start + a b, b packed in panels of k_packed rows, of which a may use fewer."""
    (rows, k), columns, dtype = a.shape, len(start), a.dtype
    panel = WIDEST * workspace.lanes(dtype) * k_packed
    result = np.empty((rows, columns), dtype)
    threads.run(gemm.product, [
        (r1 - r0, columns, k, TERMS, a.reshape(-1), r0 * k, k, 1, packed, 0, panel, 0, WIDEST,
         start, 0, 0, result.reshape(-1), r0 * columns, columns)
        for r0, r1 in _cuts(rows, 2 * result.size * k)
    ])  # fmt: skip
    return result


def _outer(d_y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return d_yᵀ x, the sum over the rows of their outer products."""
    (rows, m), columns, dtype = d_y.shape, x.shape[1], d_y.dtype
    pitch = workspace.pitch(columns, dtype)
    [padded] = workspace.empty(dtype, (rows * pitch,))
    padded.reshape(rows, pitch)[:, :columns] = x  # the product reads whole vectors
    d_weight = np.zeros((m, columns), dtype)
    panel = WIDEST * workspace.lanes(dtype)
    for r0 in range(0, rows, _PIECE):
        count = min(_PIECE, rows - r0)
        threads.run(gemm.product, [
            (m1 - m0, columns, count, terms_over_time(count), d_y.reshape(-1), r0 * m + m0, 1, m,
             padded, r0 * pitch, panel, pitch, WIDEST,
             d_weight.reshape(-1), m0 * columns, columns,
             d_weight.reshape(-1), m0 * columns, columns)
            for m0, m1 in _cuts(m, 2 * count * d_weight.size)
        ])  # fmt: skip
    return d_weight
