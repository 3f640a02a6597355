"""Which sequences go together: batches of similar lengths, in a random order.

How a batch is laid out for a layer is in sequences.py.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

_POOL = 64  # batches' sequences that are sorted together: similar lengths, new batches every epoch
MAX_STEPS = 1 << 15  # at most, padding included, in a batch for inference, to bound memory
MAX_ROWS = 1024  # at most in such a batch


def split(count: int, fraction: float, random: np.random.Generator) -> tuple[NDArray, NDArray]:
    """Return the numbers of the sequences to learn from, and of those to validate with.

    Args:
        count: N, of all sequences.
        fraction: the part to validate with; rounded up, but at least one is learnt from.
        random: draws them.

    Raises:
        ValueError: there is only one sequence.
    """
    if count == 1:
        raise ValueError("X has one sequence; expected at least two to validate with a part of X.")
    held_out = min(count - 1, int(np.ceil(count * fraction)))
    order = random.permutation(count)
    return np.sort(order[held_out:]), np.sort(order[:held_out])


def shuffled(
    lengths: NDArray, rows: NDArray, size: int, random: np.random.Generator
) -> list[NDArray]:
    """Return the batches of an epoch: each the numbers of its sequences.

    Args:
        lengths: (N,) of all sequences, in steps.
        rows: the numbers of the sequences to batch.
        size: of a batch; those at the end may be smaller.
        random: draws the order.
    """
    order = random.permutation(rows)
    found, size = [], int(size)  # a small NumPy integer would overflow
    for at in range(0, len(order), _POOL * size):
        pool = order[at : at + _POOL * size]
        pool = pool[np.argsort(lengths[pool], kind="stable")]
        found += [pool[k : k + size] for k in range(0, len(pool), size)]
    return [found[k] for k in random.permutation(len(found))]


def sorted_by_length(lengths: NDArray) -> Iterator[NDArray]:
    """Yield batches for inference: of similar lengths, and as large as memory allows.

    Args:
        lengths: (N,) of all sequences, in steps.
    """
    order = np.argsort(lengths, kind="stable")
    start = 0
    while start < len(order):
        # A batch is padded to its last sequence, which is the longest.
        sizes = np.arange(1, min(MAX_ROWS, len(order) - start) + 1)
        fits = sizes * lengths[order[start : start + len(sizes)]] <= MAX_STEPS
        end = start + max(1, int(fits.sum()))
        yield order[start:end]
        start = end
