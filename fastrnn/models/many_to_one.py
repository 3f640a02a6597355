"""A sequence in, one answer out: the network under RNNClassifier and RNNRegressor.

Linear on the final h of the top layer, both directions side by side.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastrnn.models import batches, network
from fastrnn.models.estimator import Estimator, one_direction
from fastrnn.models.sequences import Sequences
from fastrnn.models.training import Loss


class ManyToOne(Estimator):
    """See the file; abstract.

    With `truncate=k` the gradient goes back k steps from the end of each sequence; the steps
    before are read without a gradient, and without dropout.
    """

    _names = ("rnn", "head")

    def _outputs(self) -> int:
        """Return how many numbers an answer has."""
        raise NotImplementedError

    def _loss(self, answers: NDArray, targets: NDArray) -> tuple[float, NDArray]:
        """Return the mean loss of a batch, and its gradient at the answers."""
        raise NotImplementedError

    def _check(self) -> None:
        super()._check()
        one_direction(self, "the reverse direction ends at the first step")

    def _make(self, seeds: list[int]) -> None:
        self.rnn_, self.head_ = network.read_out(
            self, self.n_features_in_, self._outputs(), seeds, self.bidirectional
        )

    def _losses(
        self, x: Sequences, targets: NDArray, rows: NDArray, training: bool
    ) -> Iterator[Loss]:
        rnn, head = self.rnn_, self.head_
        state, pull = network.final_state(rnn, x.select(rows), self.truncate, training)
        answers, pull_head = head.vjp(network.top(rnn, state))
        loss, d_answers = self._loss(answers, targets[rows])

        def gradients():
            d_head = pull_head(d_answers)
            assert d_head.input is not None  # of floats
            return [pull(network.at_top(rnn, d_head.input, state)), d_head.params]

        yield Loss(loss, len(rows), gradients)

    def _answers(self, X: Any, lengths: Any) -> NDArray:
        """Return (N, outputs), in the order of X."""
        x = self._known_input(X, lengths)
        answers = np.empty((len(x.lengths), self.head_.out_features), self.head_.dtype)
        for rows in batches.sorted_by_length(x.lengths):
            padded, some = x.select(rows).padded()
            _, state = self.rnn_(padded, lengths=some)
            answers[rows] = self.head_(network.top(self.rnn_, state))
        return answers
