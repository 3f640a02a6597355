"""One long text to learn from, and to evaluate on: streams, read side by side.

Files are read in corpus.py, and text is written in sampling.py.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastrnn.losses import softmax_cross_entropy
from fastrnn.models import network
from fastrnn.models.sequences import Sequences
from fastrnn.models.vocabulary import Vocabulary
from fastrnn.nn.layer import RecurrentLayer
from fastrnn.nn.linear import Linear

_SECTIONS = 32  # of a text that is being evaluated, read side by side
_CONTEXT = 512  # symbols before each section, which lead to its initial state
_CHUNK = 128  # symbols at a time, to bound memory


def is_text(X: Any) -> bool:
    """Return whether X is one text, a str or an array of integers, and not sequences."""
    if isinstance(X, np.ndarray):
        return X.ndim == 1 and X.dtype.kind in "iu"
    return isinstance(X, str)


def split(owner: str, indices: NDArray, fraction: float) -> tuple[NDArray, NDArray]:
    """Return what to learn from, and the end of a text, which is held out.

    Args:
        owner: the model, for errors.
        indices: (length,) of the symbols.
        fraction: that is held out, rounded up to whole symbols.

    Raises:
        ValueError: that is one symbol, from which nothing can be predicted.
    """
    count = int(np.ceil(len(indices) * fraction))
    if count == 1:
        raise ValueError(
            f"{owner}: validation_fraction = {fraction} of X is 1 symbol; expected at least two."
        )
    learnt, held_out = np.split(indices, [len(indices) - count])
    return learnt, held_out


def streams(indices: NDArray, rows: int, steps: int | None) -> Sequences:
    """Return a text cut into streams of whole pieces, each going on where the last one ended.

    Args:
        indices: (length,) of the symbols.
        rows: how many streams.
        steps: symbols of a piece; what is left at the end of a stream is not read. None: streams
            are whole.

    Raises:
        ValueError: the text is too short.
    """
    rows, steps = int(rows), None if steps is None else int(steps)
    length = (len(indices) - 1) // rows
    if length < (steps or 1):
        raise ValueError(
            f"the text has {len(indices):,} symbols to learn from; {rows:,} streams of "
            f"{steps or 1:,} need {rows * (steps or 1) + 1:,}: give more text, or lower batch_size "
            "or truncate"
        )
    whole = length if steps is None else length // steps * steps
    return Sequences(indices, np.arange(rows) * length, np.full(rows, whole))


def first_symbol(vocabulary: Vocabulary) -> int:
    """Return the index of what stands for the start of a text: a line's end, if there is one."""
    return max(0, vocabulary.find("\n")) if isinstance(vocabulary, str) else 0


def mean_loss(rnn: RecurrentLayer, head: Linear, indices: NDArray) -> float:
    """Return the mean over a text of -log of the probability that its next symbol was given.

    Every symbol but the first is predicted once. To be fast, the text is read in 32 sections side
    by side; each starts in the state to which the 512 symbols before it lead (or as many as there
    are). Symbols for which the network has no output are unknown: read as zeros, and not counted.

    Args:
        rnn: reads.
        head: predicts the next symbol.
        indices: (length,) integers, at least two.
    """
    rnn = network.reader(rnn, indices)
    known = indices < head.out_features
    count = len(indices) - 1
    length = -(-count // _SECTIONS)
    starts = np.minimum(np.arange(_SECTIONS) * length, count)
    context = np.minimum(starts, _CONTEXT)
    before = np.minimum(starts - context + np.arange(_CONTEXT)[:, None], count)
    _, state = rnn(indices[before], lengths=context)
    total = 0.0
    for t in range(0, length, _CHUNK):
        at = starts + np.arange(t, min(t + _CHUNK, length))[:, None]
        inside = at < count
        at = np.minimum(at, count - 1)
        inside &= known[at + 1]
        output, state = rnn(indices[at], state)
        loss, _ = softmax_cross_entropy(head(output), indices[at + 1], mask=inside, reduction="sum")
        total += loss
    return total / int(np.count_nonzero(known[1:]))
