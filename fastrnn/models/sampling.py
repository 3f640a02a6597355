"""Probabilities from a network's outputs, and symbols drawn from them.

The most probable sequences are found in search.py.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastrnn.models import guard
from fastrnn.models import vocabulary as symbols
from fastrnn.models.vocabulary import Vocabulary
from fastrnn.nn.layer import RecurrentLayer
from fastrnn.nn.linear import Linear


def softmax(logits: NDArray) -> NDArray:
    """Return probabilities over the last axis."""
    odds = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return odds / odds.sum(axis=-1, keepdims=True)


def log_softmax(logits: NDArray) -> NDArray:
    """Return log-probabilities over the last axis, in float64."""
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def prompted(prompt: Sequence, vocabulary: Vocabulary, unknown: int | None = None) -> list[int]:
    """Return the indices of a prompt.

    Args:
        prompt: a str where the vocabulary is one, else a sequence of symbols.
        vocabulary: of the network.
        unknown: the index of a symbol that is not in the vocabulary; None: there may be none.

    Raises:
        ValueError: the network has never seen a symbol of it.
    """
    if not len(prompt):
        return []
    text = isinstance(vocabulary, str)
    if isinstance(prompt, str) != text:
        raise ValueError(
            f"the prompt is {prompt!r}; expected a {'str' if text else 'sequence of symbols'}"
        )
    values = symbols.codes(str(prompt)) if text else guard.array("the prompt", prompt)
    indices, inside = symbols.encode(values, vocabulary)
    if unknown is not None:
        indices = np.where(inside, indices.astype(np.int64), unknown)
    elif not inside.all():
        strange = sorted({prompt[k] for k in np.flatnonzero(~inside).tolist()})
        listed = ", ".join(map(repr, strange))
        what = "characters" if text else "symbols"
        raise ValueError(f"the prompt has {what} that the model has never seen: {listed}")
    return indices.tolist()


def continued(
    rnn: RecurrentLayer,
    head: Linear,
    before: Sequence[int],
    *,
    state: Any = None,
    length: int,
    temperature: float,
    seed: int,
) -> Iterator[int]:
    """Return an iterator over the indices of the symbols with which a network goes on.

    Args:
        rnn: reads.
        head: predicts the next symbol.
        before: the indices of what comes before, at least one.
        state: the initial state; None: zero.
        length: how many symbols.
        temperature: divides the logits; 0 always takes the likeliest symbol.
        seed: of the random numbers.

    Raises:
        ValueError: an argument is out of its range.
    """
    if not 0 <= temperature < math.inf:
        raise ValueError(f"the temperature must be finite and not below 0; got {temperature}")
    for name, value in (("length", length), ("seed", seed)):
        if value < 0:
            raise ValueError(f"the {name} must not be below 0; got {value}")
    return _continued(rnn, head, before, state, length, temperature, np.random.default_rng(seed))


def _continued(rnn, head, before, state, length, temperature, random) -> Iterator[int]:
    step = rnn.stream(batch_size=1) if state is None else _from_state(rnn, state)
    *earlier, index = before
    for symbol in earlier:
        step(np.array([symbol]))
    for _ in range(length):
        index = _draw(head(step(np.array([index])))[0].astype(np.float64), temperature, random)
        yield index


def _from_state(rnn: RecurrentLayer, state: Any):
    """Return a function of one symbol, as a stream is, with a first state other than zero."""

    def step(symbol: NDArray) -> NDArray:
        nonlocal state
        output, state = rnn(symbol[None], state)
        return output[0]

    return step


def _draw(logits: NDArray, temperature: float, random: np.random.Generator) -> int:
    if not np.isfinite(logits).all():
        raise FloatingPointError("the model's outputs are not finite: its training diverged")
    if temperature == 0:
        return int(logits.argmax())
    with np.errstate(over="ignore"):  # of a tiny temperature; the odds then are 0, as they should
        odds = np.exp((logits - logits.max()) / temperature).cumsum()
    return int(np.searchsorted(odds, random.random() * odds[-1], side="right"))
