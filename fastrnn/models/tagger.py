"""RNNTagger: a label for every step of a sequence."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from fastrnn.models import batches, network, sequences
from fastrnn.models.estimator import Estimator, one_direction
from fastrnn.models.sampling import softmax
from fastrnn.models.sequences import Sequences
from fastrnn.models.training import Loss


@dataclass(eq=False, repr=False, kw_only=True)
class RNNTagger(Estimator):
    """Many to many, in step: reads a sequence and labels each step of it.

    A recurrent layer, of two directions unless told otherwise, so that what comes later counts
    too; a linear one on its output at each step; softmax and cross-entropy, the mean over the real
    steps of a batch. With `truncate=k`, and one direction, a batch is read in pieces of k steps,
    one update each: the state goes on, its gradient does not. The other options are those of
    `fastrnn.models.options.Options`, the other attributes those of Estimator.

    Attributes:
        classes_: (C,) the labels, sorted.
        rnn_: the recurrent layer, live.
        head_: the linear one.

    Example:
        >>> model = RNNTagger(8, lr=0.05, epochs=60)
        >>> _ = model.fit(["aab", "ba", "abba"], ["sse", "es", "seee"])
        >>> "".join(model.predict(["ab"])[0])
        'se'
    """

    bidirectional: bool = True

    _learnt = (*Estimator._learnt, "classes_")
    _names = ("rnn", "head")

    def fit(self, X: Any, y: Any, lengths: Any = None) -> Self:
        """Learn from sequences and the labels of their steps.

        Args:
            X: as in RNNClassifier.fit.
            y: as many sequences of labels, each as long as its sequence of X: a list of strings, a
                list of sequences, or a padded array (N, T).
            lengths: (N,) of the sequences in padded arrays; None: all T.

        Raises:
            TypeError, ValueError: an argument or option is out of range, or X and y do not fit.
            FloatingPointError: training diverged.
        """
        x = self._learn_input(X, lengths)
        tags = self._tags(x, y, lengths)
        self.classes_: NDArray
        self.classes_, indices = np.unique(tags.values, return_inverse=True)
        return self._train(partial(self._losses, x, tags._replace(values=indices)), x.lengths)

    def predict_proba(self, X: Any, lengths: Any = None) -> list[NDArray]:
        """Return for each sequence (T_n, C) probabilities, in the order of `classes_`.

        Args:
            X: as in fit.
            lengths: as in fit.

        Raises:
            NotFittedError: there is no network yet.
            TypeError, ValueError: X is not such as fit saw.
        """
        x = self._known_input(X, lengths)
        return _apart(softmax(self._answers(x)), x)

    def predict(self, X: Any, lengths: Any = None) -> list[NDArray]:
        """Return for each sequence (T_n,) labels.

        Args:
            X: as in fit.
            lengths: as in fit.

        Raises:
            NotFittedError: there is no network yet.
            TypeError, ValueError: X is not such as fit saw.
        """
        x = self._known_input(X, lengths)
        return _apart(self.classes_[self._answers(x).argmax(axis=1)], x)

    def score(self, X: Any, y: Any, lengths: Any = None) -> float:
        """Return the accuracy over all steps.

        Args:
            X: as in fit.
            y: as in fit.
            lengths: as in fit.
        """
        x = self._known_input(X, lengths)
        right = self._tags(x, y, lengths).values
        return float((self.classes_[self._answers(x).argmax(axis=1)] == right).mean())

    def _check(self) -> None:
        super()._check()
        one_direction(self, "the reverse direction needs all that comes later")

    def _tags(self, x: Sequences, y: Any, lengths: Any) -> Sequences:
        """Return the labels, which lie end to end, checked."""
        padded = None if isinstance(y, list | tuple) else lengths
        tags, text = sequences.read(self._owner, "y", y, padded, None)
        self._check_count(len(x.lengths), len(tags.lengths))
        if (x.lengths != tags.lengths).any():
            n = int(np.flatnonzero(x.lengths != tags.lengths)[0])
            raise ValueError(
                f"{self._owner}: X[{n}] has {x.lengths[n]} steps, and y[{n}] {tags.lengths[n]} "
                "labels; expected one for each step."
            )
        return tags._replace(values=tags.values.view("<U1")) if text else tags

    def _make(self, seeds: list[int]) -> None:
        self.rnn_, self.head_ = network.read_out(
            self, self.n_features_in_, len(self.classes_), seeds, self.bidirectional
        )

    def _losses(
        self, x: Sequences, tags: Sequences, rows: NDArray, training: bool
    ) -> Iterator[Loss]:
        pieces = (some.select(rows).pieces(self.truncate) for some in (x, tags))
        state = None
        for piece, right in zip(*pieces, strict=True):
            found = network.predict_steps(
                self.rnn_, self.head_, piece, right.steps(), state, training
            )
            state = found.state
            yield network.loss_of(found)

    def _answers(self, x: Sequences) -> NDArray:
        """Return (S, C), for the steps of all sequences end to end."""
        answers = np.empty((x.lengths.sum(), len(self.classes_)), self.head_.dtype)
        place = Sequences(answers, np.cumsum(x.lengths) - x.lengths, x.lengths)
        for rows in batches.sorted_by_length(x.lengths):
            said = network.outputs(self.rnn_, self.head_, x.select(rows))
            answers[place.select(rows).places()] = said
        return answers


def _apart(values: NDArray, x: Sequences) -> list[NDArray]:
    return np.split(values, np.cumsum(x.lengths)[:-1])
