"""Linear, the read-out of a network. Not recurrent, so NumPy's own matrix product does it."""

import numpy as np

from fastrnn import checks
from fastrnn.gradients import Gradients
from fastrnn.parameters import Parameters


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

    def _checked_input(self, x) -> np.ndarray:
        x = checks.floats("Linear", "input", x, self.dtype)
        if x.ndim < 1 or x.shape[-1] != self.in_features:
            raise ValueError(
                f"Linear: input has shape {x.shape}; its last axis must be in_features = "
                f"{self.in_features}."
            )
        return x

    def __call__(self, x) -> np.ndarray:
        """Return y, (..., out_features), for x, (..., in_features).

        Raises:
            TypeError, ValueError: x of another type, dtype or shape.
        """
        return self.vjp(x)[0]

    def vjp(self, x):
        """Return `y, pullback`; `pullback(d_y)` returns the Gradients of sum(y * d_y)."""
        x = self._checked_input(x)
        weight, bias = self._param("weight"), self._optional("bias")
        rows = x.reshape(-1, self.in_features)
        y = rows @ weight.T
        if bias is not None:
            y += bias
        y = y.reshape(*x.shape[:-1], self.out_features)

        def pullback(d_y) -> Gradients:
            d_y = checks.cotangent("Linear", d_y, y.shape, self.dtype)
            d_rows = np.zeros_like(y) if d_y is None else d_y
            d_rows = d_rows.reshape(-1, self.out_features)
            params = {"weight": d_rows.T @ rows}
            if bias is not None:
                params["bias"] = d_rows.sum(axis=0)
            return Gradients((d_rows @ weight).reshape(x.shape), None, params)

        return y, pullback
