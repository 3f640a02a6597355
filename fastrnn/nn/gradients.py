"""What every pullback of the package returns.

One record for all cells and layers, so that code that trains or checks a network needs to know no
cell. It holds arrays and computes nothing.
"""

from __future__ import annotations

from typing import NamedTuple

from numpy.typing import NDArray


class Gradients(NamedTuple):
    """The gradient of a scalar loss with respect to everything a recurrent network was given.

    Attributes:
        input: like x, or None where x was integer indices, which have no gradient.
        state: like the state: an array, or `(d_h, d_c)` for an LSTM; None for what has no state.
        params: name -> array, with the names and shapes of the parameters that were given.

    Example:
        >>> import numpy as np
        >>> grads = Gradients(np.zeros((5, 2, 4)), np.zeros((2, 3)), {"w_hh": np.ones((3, 3))})
        >>> grads.params["w_hh"].shape
        (3, 3)
    """

    input: NDArray | None
    state: NDArray | tuple[NDArray, NDArray] | None
    params: dict[str, NDArray]
