"""RNNRegressor: a sequence to numbers."""

from functools import partial
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from fastrnn import losses
from fastrnn.models.estimator import numbers
from fastrnn.models.many_to_one import ManyToOne


class RNNRegressor(ManyToOne):
    """Many to one: reads a sequence and says one number, or K.

    A recurrent layer, and a linear one on the final h of its top layer; the loss is the mean
    squared error. Nothing is scaled: targets far from 0 and 1 take many updates to be reached. Its
    options are those of `fastrnn.models.options.Options`, its attributes those of Estimator.

    Attributes:
        n_outputs_: K; None where y is (N,).
        rnn_: the recurrent layer, live.
        head_: the linear one.

    Example:
        >>> x = np.random.default_rng(0).random((64, 5, 1))
        >>> model = RNNRegressor(16, lr=0.02, epochs=40).fit(x, x.mean(axis=(1, 2)))
        >>> model.score(x, x.mean(axis=(1, 2))) > 0.9
        True
    """

    _kind = "regressor"
    _learnt = (*ManyToOne._learnt, "n_outputs_")
    n_outputs_: int | None

    def fit(self, X: Any, y: Any, lengths: Any = None) -> Self:
        """Learn from sequences and their numbers.

        Args:
            X: as in RNNClassifier.fit.
            y: (N,) or (N, K) floats.
            lengths: as in RNNClassifier.fit.

        Raises:
            TypeError, ValueError: an argument or option is out of range, or X and y do not fit.
            FloatingPointError: training diverged.
        """
        x = self._learn_input(X, lengths)
        targets = self._targets(y)
        self._check_count(len(x.lengths), len(targets))
        self.n_outputs_ = None if targets.ndim == 1 else targets.shape[1]
        columns = targets.reshape(len(targets), -1).astype(self.dtype)
        return self._train(partial(self._losses, x, columns), x.lengths)

    def predict(self, X: Any, lengths: Any = None) -> NDArray:
        """Return (N,) or (N, K) numbers, as y had in fit.

        Args:
            X: as in fit.
            lengths: as in fit.

        Raises:
            NotFittedError: there is no network yet.
            TypeError, ValueError: X is not such as fit saw.
        """
        answers = self._answers(X, lengths)
        return answers[:, 0] if self.n_outputs_ is None else answers

    def score(self, X: Any, y: Any, lengths: Any = None) -> float:
        """Return R^2, the mean over columns of 1 - squared error / variance, as scikit-learn does.

        Args:
            X: as in fit.
            y: as in fit.
            lengths: as in fit.
        """
        predicted, right = self.predict(X, lengths), self._targets(y)
        if predicted.shape != right.shape:
            raise ValueError(
                f"{self._owner}: y has shape {right.shape}; expected {predicted.shape}."
            )
        error = np.square(right - predicted.astype(np.float64)).sum(axis=0)
        spread = np.square(right - right.mean(axis=0)).sum(axis=0)
        with np.errstate(divide="ignore", invalid="ignore"):
            constant = np.where(error == 0, 1.0, 0.0)  # of a column that is: scikit-learn's way
            return float(np.where(spread > 0, 1 - error / spread, constant).mean())

    def _targets(self, y: Any) -> NDArray:
        return numbers(self._owner, "y", y, {1: "(N,)", 2: "(N, K)"})

    def _outputs(self) -> int:
        return self.n_outputs_ or 1

    def _loss(self, answers: NDArray, targets: NDArray) -> tuple[float, NDArray]:
        return losses.mse(answers, targets)
