"""The best sequences that a decoder can write: beam search, and greedy search, its width of 1.

All sentences and all hypotheses of a step go through the network as one batch.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastrnn import checks
from fastrnn.models.network import next_logits
from fastrnn.models.sampling import log_softmax
from fastrnn.models.vocabulary import Vocabulary, decode
from fastrnn.nn.layer import RecurrentLayer
from fastrnn.nn.linear import Linear


def write(
    owner: str,
    rnn: RecurrentLayer,
    head: Linear,
    state: Any,
    count: int,
    vocabulary: Vocabulary,
    longest: int,
    *,
    beam: int,
    max_length: int | None,
    length_penalty: float,
) -> list:
    """Return the best sequence found for each of some states: strings, or lists of symbols.

    Args:
        owner: the model, for errors.
        rnn: the decoder.
        head: says its next symbol; the last is the boundary.
        state: of `count` sentences, (L, count, H).
        count: of sentences.
        vocabulary: of the symbols but the boundary.
        longest: sequence that was learnt.
        beam: as in `search`.
        max_length: symbols after which a sequence is cut off; None: twice the longest.
        length_penalty: as in `search`.

    Raises:
        TypeError, ValueError: one of the last three is out of range.
    """
    most = 2 * longest if max_length is None else max_length
    if not 0 <= length_penalty < np.inf:
        raise ValueError(f"{owner}: length_penalty must be at least 0, got {length_penalty!r}.")
    found = search(
        partial(next_logits, rnn, head),
        state,
        count,
        len(vocabulary),
        beam=checks.integer(owner, "beam", beam),
        most=checks.integer(owner, "max_length", most),
        length_penalty=length_penalty,
    )
    return [decode(indices, vocabulary) for indices in found]


def search(
    step: Callable[[NDArray, Any], tuple[NDArray, Any]],
    state: Any,
    count: int,
    boundary: int,
    *,
    beam: int,
    most: int,
    length_penalty: float,
) -> list[list[int]]:
    """Return for each sentence the indices of the best sequence found.

    At every step the `beam` best hypotheses of a sentence are kept, finished ones among them, by
    their log-probability over ((5 + length) / 6)**length_penalty; the search of a sentence ends
    when all of them are finished, or after `most` steps. The length counts the boundary.

    Args:
        step: (symbols (M,), state) -> (logits (M, V), state), for M hypotheses.
        state: of the `count` sentences: arrays (L, count, H), one or a tuple of them.
        count: of sentences.
        boundary: the symbol with which sequences begin and end.
        beam: hypotheses that are kept; 1: at every step the likeliest symbol.
        most: symbols of a sequence.
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
    for _ in range(most):
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
