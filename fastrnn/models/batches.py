"""Which sequences go together: batches of about one length, in a random order."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

_POOL = 64  # batches that are sorted together: of like lengths, and yet others in every epoch
_STEPS = 1 << 15  # of a batch that is only read, to bound memory
_ROWS = 1024


def split(count: int, fraction: float, random: np.random.Generator) -> tuple[NDArray, NDArray]:
    """Return the numbers of the sequences to learn from, and of those to validate with.

    Args:
        count: N.
        fraction: of them to validate with; rounded up, but one to learn from is left.
        random: draws them.

    Raises:
        ValueError: there is but one sequence.
    """
    if count == 1:
        raise ValueError("X has one sequence; expected at least two to validate with a part of X.")
    held_out = min(count - 1, int(np.ceil(count * fraction)))
    order = random.permutation(count)
    return np.sort(order[held_out:]), np.sort(order[:held_out])


def shuffled(
    lengths: NDArray, rows: NDArray, size: int, random: np.random.Generator
) -> Iterator[NDArray]:
    """Yield the batches of an epoch: numbers of sequences.

    Args:
        lengths: (N,) of all sequences.
        rows: which to batch.
        size: of a batch; one may be smaller.
        random: draws their order.
    """
    order = random.permutation(rows)
    found = []
    for at in range(0, len(order), _POOL * size):
        pool = order[at : at + _POOL * size]
        pool = pool[np.argsort(lengths[pool], kind="stable")]
        found += [pool[k : k + size] for k in range(0, len(pool), size)]
    for k in random.permutation(len(found)):
        yield found[k]


def sorted_by_length(lengths: NDArray) -> Iterator[NDArray]:
    """Yield batches for inference: of like lengths, and as large as memory allows."""
    order = np.argsort(lengths, kind="stable")
    begin = 0
    while begin < len(order):
        # How many fit if they are as long as the last of them, which is the longest.
        tall = np.arange(1, min(_ROWS, len(order) - begin) + 1)
        fit = tall * lengths[order[begin : begin + len(tall)]] <= _STEPS
        end = begin + max(1, int(fit.sum()))
        yield order[begin:end]
        begin = end
