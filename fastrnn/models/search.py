"""The best sequences that a decoder can write, by beam search; a beam of 1 is greedy search.

All sentences and all hypotheses of a step go through the network as one batch. Random sequences are
drawn in sampling.py.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastrnn import checks
from fastrnn.models.network import next_logits
from fastrnn.models.sampling import log_softmax
from fastrnn.models.vocabulary import Vocabulary, decode
from fastrnn.nn.layer import RecurrentLayer
from fastrnn.nn.linear import Linear


class Decoder(NamedTuple):
    """A network that writes.

    Attributes:
        rnn: reads the symbol before.
        head: predicts the next; its last output is the boundary.
        vocabulary: the symbols, without the boundary.
        longest: symbols of the longest sequence that it has learnt.
    """

    rnn: RecurrentLayer
    head: Linear
    vocabulary: Vocabulary
    longest: int


def write(
    owner: str,
    decoder: Decoder,
    state: Any,
    count: int,
    *,
    beam: int,
    max_length: int | None,
    length_penalty: float,
) -> list:
    """Return the best sequence found for each of some states: strings, or lists of symbols.

    Args:
        owner: the model, for errors.
        decoder: the network.
        state: of `count` sentences, (L, count, H).
        count: of sentences.
        beam: hypotheses that are kept; 1: at every step the likeliest symbol.
        max_length: symbols after which a sequence is cut off; None: twice the longest.
        length_penalty: exponent that makes up for the cost of length; 0: none.

    Raises:
        TypeError, ValueError: one of the last three is out of range.
    """
    longest = 2 * decoder.longest if max_length is None else max_length
    if not 0 <= length_penalty < np.inf:
        raise ValueError(f"{owner}: length_penalty must be at least 0, got {length_penalty!r}.")
    found = search(
        partial(next_logits, decoder.rnn, decoder.head),
        state,
        count,
        len(decoder.vocabulary),
        beam=checks.integer(owner, "beam", beam),
        max_length=checks.integer(owner, "max_length", longest),
        length_penalty=length_penalty,
    )
    return [decode(indices, decoder.vocabulary) for indices in found]


def search(
    step: Callable[[NDArray, Any], tuple[NDArray, Any]],
    state: Any,
    count: int,
    boundary: int,
    *,
    beam: int,
    max_length: int,
    length_penalty: float,
) -> list[list[int]]:
    """Return for each sentence the indices of the best sequence found.

    At every step the `beam` best hypotheses of a sentence are kept, finished ones among them, by
    their log-probability over ((5 + length) / 6)**length_penalty; the search of a sentence ends
    when all of them are finished, or after `max_length` steps. The length counts the boundary.

    Args:
        step: (symbols (M,), state) -> (logits (M, V), state), for M hypotheses.
        state: of the `count` sentences: arrays (L, count, H), one or a tuple of them.
        count: of sentences.
        boundary: the symbol with which sequences start and end.
        beam: hypotheses that are kept; 1: at every step the likeliest symbol.
        max_length: symbols after which a sequence is cut off.
        length_penalty: 0: none, so that short ones are preferred, as each symbol costs.

    Raises:
        FloatingPointError: a logit is not finite.

    Source: Wu et al. 2016, arXiv:1609.08144, eq. 14, without its coverage penalty.
    """
    sentences = np.arange(count)  # that are still searched
    written = np.empty((count, 1, 0), np.int64)
    total, lengths = np.zeros((count, 1)), np.zeros((count, 1), np.int64)
    done = np.zeros((count, 1), bool)
    last = np.full(count, boundary)
    found: list[list[int]] = [[] for _ in range(count)]
    for _ in range(max_length):
        logits, state = step(last, state)
        if not np.isfinite(logits).all():
            raise FloatingPointError("the model's outputs are not finite: its training diverged")
        gain = log_softmax(logits).reshape(*total.shape, -1)
        gain[done] = -np.inf
        gain[done, boundary] = 0  # a finished one stays as it is
        lengths = lengths + ~done
        reached = total[:, :, None] + gain
        rank = reached / ((5 + lengths) / 6)[:, :, None] ** length_penalty
        best = np.argsort(-rank.reshape(len(total), -1), axis=1, kind="stable")[:, :beam]
        parent, symbol = np.divmod(best, gain.shape[2])
        total = np.take_along_axis(reached.reshape(len(total), -1), best, 1)
        lengths = np.take_along_axis(lengths, parent, 1)
        done = (symbol == boundary) | np.isneginf(total)
        before = np.take_along_axis(written, parent[:, :, None], 1)
        written = np.concatenate([before, symbol[:, :, None]], 2)
        on = ~done.all(axis=1)
        for n in np.flatnonzero(~on):
            found[sentences[n]] = written[n, 0].tolist()
        rows = parent + np.arange(len(on))[:, None] * gain.shape[1]
        state = _select(state, rows[on].reshape(-1))
        sentences, written, total = sentences[on], written[on], total[on]
        lengths, done, last = lengths[on], done[on], symbol[on].reshape(-1)
        if not len(sentences):
            break
    for n, sentence in enumerate(sentences):
        found[sentence] = written[n, 0].tolist()
    return [row[: row.index(boundary)] if boundary in row else row for row in found]


def _select(state: Any, rows: NDArray) -> Any:
    if isinstance(state, tuple):
        return tuple(member[:, rows] for member in state)
    return state[:, rows]
