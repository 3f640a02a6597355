"""From what a network says to what is chosen: probabilities, and draws from them."""

import numpy as np
from numpy.typing import NDArray


def softmax(logits: NDArray) -> NDArray:
    """Return probabilities over the last axis."""
    odds = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return odds / odds.sum(axis=-1, keepdims=True)


def log_softmax(logits: NDArray) -> NDArray:
    """Return log-probabilities over the last axis, in float64."""
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def draw(logits: NDArray, temperature: float, random: np.random.Generator) -> int:
    """Return an index, with the probability that its logit gives it.

    Args:
        logits: (V,) float64.
        temperature: divides them; 0: the likeliest.
        random: draws.

    Raises:
        FloatingPointError: they are not finite.
    """
    if not np.isfinite(logits).all():
        raise FloatingPointError("the model's outputs are not finite: its training diverged")
    if temperature == 0:
        return int(logits.argmax())
    with np.errstate(over="ignore"):  # of a tiny temperature; the odds then are 0, as they should
        odds = np.exp((logits - logits.max()) / temperature).cumsum()
    return int(np.searchsorted(odds, random.random() * odds[-1], side="right"))
