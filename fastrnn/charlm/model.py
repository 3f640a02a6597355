"""The network: how it is made, how good it is, and what it writes.

How it learns is in `training`.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

import fastrnn
from fastrnn.charlm.config import LAYERS, Config
from fastrnn.charlm.file import read
from fastrnn.layers import _Recurrent

_SECTIONS = 32  # of a text that is being evaluated, read side by side
_CONTEXT = 512  # characters before each of them, to arrive in its first state
_CHUNK = 128  # characters at a time, to bound memory


class Model(NamedTuple):
    """A network: character i of the vocabulary is input i of `rnn` and output i of `head`."""

    vocabulary: str
    rnn: _Recurrent
    head: fastrnn.Linear


def build(config: Config, vocabulary: str) -> Model:
    """Return an untrained network; equal seeds give equal ones."""
    rnn_seed, head_seed = map(int, np.random.SeedSequence(config.seed).generate_state(2))
    symbols = len(vocabulary)
    rnn = LAYERS[config.cell](symbols, config.hidden, config.layers, seed=rnn_seed)
    return Model(vocabulary, rnn, fastrnn.Linear(config.hidden, symbols, seed=head_seed))


def load(path: Path) -> Model:
    """Return the network in a file that `fastrnn train` wrote.

    Args:
        path: the file.

    Raises:
        ValueError: it is no such file, or damaged.
        OSError: it cannot be read.
    """
    file = read(path)
    model = build(file.config, file.vocabulary)
    file.restore(path, rnn=model.rnn, head=model.head)
    return model


def bits_per_character(model: Model, indices: NDArray) -> float:
    """Return the mean over a text of -log2 of the probability that its next character was given.

    Every character but the first is predicted once. To be fast, the text is read in 32 sections
    side by side; each begins in the state that the 512 characters before it lead to (or all there
    are, if fewer).

    Args:
        model: the network.
        indices: (length,) integers, at least two.
    """
    count = len(indices) - 1
    length = -(-count // _SECTIONS)
    starts = np.minimum(np.arange(_SECTIONS) * length, count)
    context = np.minimum(starts, _CONTEXT)
    before = np.minimum(starts - context + np.arange(_CONTEXT)[:, None], count)
    _, state = model.rnn(indices[before], lengths=context)
    total = 0.0
    for t in range(0, length, _CHUNK):
        at = starts + np.arange(t, min(t + _CHUNK, length))[:, None]
        inside = at < count
        at = np.minimum(at, count - 1)
        output, state = model.rnn(indices[at], state)
        loss, _ = fastrnn.losses.softmax_cross_entropy(
            model.head(output), indices[at + 1], mask=inside, reduction="sum"
        )
        total += loss
    return total / count / math.log(2)


def sample(
    model: Model, prompt: str = "", length: int = 500, temperature: float = 1.0, seed: int = 0
) -> Iterator[str]:
    """Return an iterator over the characters with which the network continues a prompt.

    Args:
        model: the network.
        prompt: what to continue; an empty one stands for the start of a line.
        length: how many characters.
        temperature: divides the logits; 0 always takes the likeliest character.
        seed: of the random numbers.

    Raises:
        ValueError: an argument is out of its range.
    """
    if unknown := sorted(set(prompt) - set(model.vocabulary)):
        listed = ", ".join(map(repr, unknown))
        raise ValueError(f"the prompt has characters that the model has never seen: {listed}")
    if not 0 <= temperature < math.inf:
        raise ValueError(f"the temperature must be finite and not below 0; got {temperature}")
    for name, value in (("length", length), ("seed", seed)):
        if value < 0:
            raise ValueError(f"the {name} must not be below 0; got {value}")
    return _continue(model, prompt, length, temperature, np.random.default_rng(seed))


def _continue(
    model: Model, prompt: str, length: int, temperature: float, rng: np.random.Generator
) -> Iterator[str]:
    index_of = {character: index for index, character in enumerate(model.vocabulary)}
    *before, index = [index_of[character] for character in prompt] or [index_of.get("\n", 0)]
    stream = model.rnn.stream(batch_size=1)
    for earlier in before:
        stream(np.array([earlier]))
    for _ in range(length):
        hidden = stream(np.array([index]))
        index = _draw(model.head(hidden)[0].astype(np.float64), temperature, rng)
        yield model.vocabulary[index]


def _draw(logits: NDArray, temperature: float, rng: np.random.Generator) -> int:
    if not np.isfinite(logits).all():
        raise FloatingPointError("the model's outputs are not finite: its training diverged")
    if temperature == 0:
        return int(logits.argmax())
    with np.errstate(over="ignore"):  # of a tiny temperature; the odds then are 0, as they should
        odds = np.exp((logits - logits.max()) / temperature).cumsum()
    return int(np.searchsorted(odds, rng.random() * odds[-1], side="right"))
