"""RNNClassifier: a sequence to one of several classes."""

from functools import partial
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from fastrnn import losses
from fastrnn.models.estimator import labels
from fastrnn.models.many_to_one import ManyToOne
from fastrnn.models.sampling import softmax


class RNNClassifier(ManyToOne):
    """Many to one: reads a sequence and says of which class it is.

    A recurrent layer, a linear one on the final h of its top layer, softmax and cross-entropy. Its
    options are those of `fastrnn.models.options.Options`, its attributes those of Estimator.

    Attributes:
        classes_: (C,) the labels, sorted.
        rnn_: the recurrent layer, live.
        head_: the linear one.

    Example:
        >>> model = RNNClassifier(8, lr=0.05, epochs=30).fit(["aab", "b", "ba", "ab"], [1, 0, 1, 1])
        >>> model.predict(["bb", "bab"])
        array([0, 1])
    """

    _kind = "classifier"
    _learnt = (*ManyToOne._learnt, "classes_")
    classes_: NDArray

    def fit(self, X: Any, y: Any, lengths: Any = None) -> Self:
        """Learn from sequences and their labels.

        Args:
            X: a list of arrays (T_n, I) of floats; of strings; of sequences of integers or words;
                or one padded array, (N, T, I) of floats or (N, T) of integers.
            y: (N,) labels of any kind that can be sorted.
            lengths: (N,) of the sequences in a padded array; None: all T.

        Raises:
            TypeError, ValueError: an argument or option is out of range, or X and y do not fit.
            FloatingPointError: training diverged.
        """
        x = self._learn_input(X, lengths)
        targets = labels(self._owner, y)
        self._check_count(len(x.lengths), len(targets))
        self.classes_, indices = np.unique(targets, return_inverse=True)
        return self._train(partial(self._losses, x, indices), x.lengths)

    def predict_proba(self, X: Any, lengths: Any = None) -> NDArray:
        """Return (N, C) probabilities of the classes, in the order of `classes_`.

        Args:
            X: as in fit.
            lengths: as in fit.

        Raises:
            NotFittedError: there is no network yet.
            TypeError, ValueError: X is not such as fit saw.
        """
        return softmax(self._answers(X, lengths))

    def predict(self, X: Any, lengths: Any = None) -> NDArray:
        """Return (N,) labels: of each sequence the likeliest.

        Args:
            X: as in fit.
            lengths: as in fit.

        Raises:
            NotFittedError: there is no network yet.
            TypeError, ValueError: X is not such as fit saw.
        """
        answers = self._answers(X, lengths)
        return self.classes_[answers.argmax(axis=1)]

    def score(self, X: Any, y: Any, lengths: Any = None) -> float:
        """Return the accuracy: the share of sequences whose label is right.

        Args:
            X: as in fit.
            y: as in fit.
            lengths: as in fit.
        """
        predicted, right = self.predict(X, lengths), labels(self._owner, y)
        self._check_count(len(predicted), len(right))
        return float((predicted == right).mean())

    def _outputs(self) -> int:
        return len(self.classes_)

    def _loss(self, answers: NDArray, targets: NDArray) -> tuple[float, NDArray]:
        return losses.softmax_cross_entropy(answers, targets)
