"""How much each sequence or class counts: sample_weight, class_weight, and weighted losses.

scikit-learn's meaning: a sequence of weight 2 counts as if it were there twice, one of weight 0 is
not learnt from at all, and only the ratios of weights matter. Which sequences make a batch is not
decided here.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastrnn import losses
from fastrnn.models import guard
from fastrnn.models.sampling import log_softmax
from fastrnn.models.sequences import Sequences


def sample_weights(owner: str, given: Any, count: int) -> NDArray | None:
    """Return sample_weight, checked, (N,) of float64; None: every sequence counts alike.

    Args:
        owner: the model, for errors.
        given: the weights, or None.
        count: N.

    Raises:
        TypeError, ValueError: it has another shape, an entry below 0 or not finite, or none above.
    """
    if given is None:
        return None
    found = guard.array(f"{owner}: sample_weight", given, numeric=True)
    if found.dtype.kind not in "fiub":
        raise TypeError(f"{owner}: sample_weight is {found.dtype}; expected numbers, (N,).")
    if found.shape != (count,):
        raise ValueError(
            f"{owner}: sample_weight has shape {found.shape}; expected (N,) = ({count},), one "
            "number for each sequence."
        )
    found = found.astype(np.float64)
    wrong = np.flatnonzero(~((found >= 0) & np.isfinite(found)))
    if len(wrong):
        raise ValueError(
            f"{owner}: sample_weight[{wrong[0]}] is {found[wrong[0]]}; expected finite numbers of "
            "at least 0."
        )
    if not found.any():
        raise ValueError(
            f"{owner}: Sample weights must contain at least one non-zero number; all {count} of "
            "sample_weight are 0."
        )
    return found / found.max()  # only ratios matter, and sums do not overflow


def check_class_weight(owner: str, given: Any) -> None:
    """Raise TypeError or ValueError unless it is None, "balanced" or a dict of weights."""
    if given is None or (isinstance(given, str) and given == "balanced"):
        return
    if not isinstance(given, Mapping):
        raise ValueError(
            f"{owner}: class_weight must be None, 'balanced' or a dict from class to weight; got "
            f"{given!r}."
        )
    for label, weight in given.items():
        number = isinstance(weight, int | float | np.number) and not isinstance(weight, bool)
        if not number or not 0 <= weight < np.inf:
            raise ValueError(
                f"{owner}: class_weight[{label!r}] is {weight!r}; expected a finite number of at "
                "least 0."
            )


def of_classes(
    owner: str, given: Any, classes: NDArray, indices: NDArray, weights: NDArray | None
) -> NDArray | None:
    """Return (n,) weights of labels, with those of their classes; None: all alike.

    Args:
        owner: the model, for errors.
        given: None; a dict, in which a class that is missing has weight 1; or "balanced":
            n / (C * bincount), in which a label of weight 2 is two.
        classes: (C,) the labels.
        indices: (n,) the class of each label.
        weights: (n,) of the labels; None: all alike.

    Raises:
        ValueError: keys of the dict are no classes, and some classes are no keys.
    """
    if given is None:
        return weights
    if isinstance(given, str):
        count = np.bincount(indices, weights, len(classes))
        with np.errstate(divide="ignore"):
            found = np.where(count > 0, count.sum() / (len(classes) * count), 0.0)
        return found[indices] if weights is None else found[indices] * weights
    named = classes.tolist()
    others = [label for label in given if label not in named]
    missing = [label for label in named if label not in given]
    if others and missing:
        raise ValueError(
            f"{owner}: The classes, {missing}, are not in class_weight, which has {others}, of "
            "which y has none."
        )
    found = np.array([given.get(label, 1) for label in named], np.float64)[indices]
    found = found if weights is None else found * weights
    if not found.any():
        raise ValueError(f"{owner}: class_weight leaves a weight of 0 to all that y has.")
    return found


def per_sequence(weights: NDArray | None) -> Sequences | None:
    """Return weights (N,) of sequences that have one target each."""
    if weights is None:
        return None
    return Sequences(weights, np.arange(len(weights)), np.ones(len(weights), np.int64))


def normalised(weights: Sequences, groups: Sequence[NDArray]) -> Sequences:
    """Return weights whose mean over each group of sequences is 1.

    So a batch's mean of weighted losses estimates the weighted mean over the group, whatever the
    batch: divided by the batch's own weights, a batch of one would forget its weight.

    Args:
        weights: a number for every step of each sequence.
        groups: the numbers of the sequences in each.
    """
    values = weights.values.copy()
    for rows in groups:
        at = weights.select(rows).places()
        values[at] /= values[at].mean()
    return weights._replace(values=values)


def counted(weights: Sequences) -> NDArray:
    """Return the numbers of the sequences that count at all."""
    return np.flatnonzero(np.add.reduceat(weights.values, weights.starts) > 0)


def cross_entropy(
    logits: NDArray, targets: NDArray, weights: NDArray | None
) -> tuple[float, NDArray]:
    """Return the mean of weighted cross-entropies, and its gradient at the logits.

    Args:
        logits: (n, V).
        targets: (n,) the right indices; of V or more: unknown, and not counted.
        weights: (n,); None: all 1.
    """
    known = targets < logits.shape[1]
    mask = None if known.all() else known
    value, d_logits = losses.softmax_cross_entropy(logits, targets, mask)
    if weights is None:
        return value, d_logits
    each = -log_softmax(logits)[np.arange(len(targets)), targets]
    return _weighted(each, d_logits, weights)


def squared_error(
    answers: NDArray, targets: NDArray, weights: NDArray | None
) -> tuple[float, NDArray]:
    """Return the mean of weighted squared errors, and its gradient at the answers.

    Args:
        answers: (n, K).
        targets: (n, K).
        weights: (n,); None: all 1.
    """
    value, d_answers = losses.mse(answers, targets)
    if weights is None:
        return value, d_answers
    each = np.square(answers - targets, dtype=np.float64).mean(axis=1)
    return _weighted(each, d_answers, weights)


def _weighted(each: NDArray, gradient: NDArray, weights: NDArray) -> tuple[float, NDArray]:
    with np.errstate(all="ignore"):  # what is not finite is told by whoever trains
        gradient *= weights[:, None]
        return float((weights * each).mean()), gradient
