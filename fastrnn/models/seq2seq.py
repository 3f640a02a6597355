"""Seq2Seq: a sequence to another one, of a length of its own."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from fastrnn.models import batches, network, sequences
from fastrnn.models.estimator import Estimator, one_direction
from fastrnn.models.search import write
from fastrnn.models.sequences import Sequences
from fastrnn.models.training import Loss
from fastrnn.nn.layer import RecurrentLayer


@dataclass(eq=False, repr=False, kw_only=True)
class Seq2Seq(Estimator):
    """Many to many: an encoder reads a sequence, and a decoder writes another one.

    The final state of the encoder, of all layers, is the first one of the decoder; with
    `bidirectional=True` the encoder has hidden_size // 2 units in each direction, side by side.
    The decoder learns by teacher forcing: it reads a boundary symbol and what is right, and a
    linear layer on its output says the next symbol, the boundary again behind the last; the loss is
    the cross-entropy, its mean over the steps of a batch.

    With `truncate=k` the decoder learns from pieces of k steps, one update each: the state goes
    on, its gradient does not. So the encoder learns from the first piece, and there the gradient
    goes back k steps from the end of X.

    The other options are those of `fastrnn.models.options.Options`, the other attributes those of
    Estimator.

    Attributes:
        target_vocabulary_: the sorted symbols of y. The boundary comes behind them.
        encoder_: the recurrent layer that reads, live.
        decoder_: the one that writes.
        head_: the linear layer.

    Source: Sutskever, Vinyals & Le 2014, arXiv:1409.3215; Cho et al. 2014, arXiv:1406.1078.

    Example:
        >>> words = ["abc", "cab", "b", "ba", "acb", "ca"]
        >>> model = Seq2Seq(32, lr=0.02, epochs=150).fit(words, [word[::-1] for word in words])
        >>> model.predict(["abc", "ca"])
        ['cba', 'ac']
    """

    _learnt = (*Estimator._learnt, "target_vocabulary_", "longest_")
    _names = ("encoder", "decoder", "head")

    def fit(self, X: Any, y: Any, lengths: Any = None) -> Self:
        """Learn from sequences and what is to be written for each.

        Args:
            X: as in RNNClassifier.fit.
            y: as many sequences: a list of strings, a list of sequences of integers or words, or a
                padded array of integers (N, T), all of it.
            lengths: (N,) of the sequences in a padded array X; None: all T.

        Raises:
            TypeError, ValueError: an argument or option is out of range, or X and y do not fit.
            FloatingPointError: training diverged.
        """
        x = self._learn_input(X, lengths)
        y_read, self.target_vocabulary_ = sequences.learn_symbols(self._owner, "y", y, None)
        self._check_count(len(x.lengths), len(y_read.lengths))
        self.longest_ = int(y_read.lengths.max())
        target = y_read.with_boundaries(self._boundary)
        return self._train(partial(self._losses, x, target), x.lengths + target.lengths)

    def predict(
        self,
        X: Any,
        lengths: Any = None,
        *,
        beam: int = 1,
        max_length: int | None = None,
        length_penalty: float = 0.6,
    ) -> list:
        """Return the sequences that are written for X: strings, or lists of symbols.

        Args:
            X: as in fit.
            lengths: as in fit.
            beam: hypotheses of beam search (see search.py); 1: greedy search.
            max_length: symbols after which one is cut off; None: twice as many as the longest y
                of fit had.
            length_penalty: of beam search: how far the cost of length is made up for; 0: not.

        Raises:
            NotFittedError: there is no network yet.
            TypeError, ValueError: X is not such as fit saw, or an argument is out of range.
        """
        x = self._known_input(X, lengths)
        written: list[Any] = [None] * len(x.lengths)
        for rows in batches.sorted_by_length(x.lengths):
            padded, some = x.select(rows).padded()
            state = self._handed_over(self.encoder_(padded, lengths=some)[1])
            found = write(
                self._owner,
                self.decoder_,
                self.head_,
                state,
                len(rows),
                self.target_vocabulary_,
                self.longest_,
                beam=beam,
                max_length=max_length,
                length_penalty=length_penalty,
            )
            for row, sequence in zip(rows, found, strict=True):
                written[row] = sequence
        return written

    def score(self, X: Any, y: Any, lengths: Any = None) -> float:
        """Return the share of sequences that greedy search writes exactly as they should be.

        Args:
            X: as in fit.
            y: as in fit.
            lengths: as in fit.
        """
        written = self.predict(X, lengths)
        self._check_count(len(written), len(y))
        right = [row if isinstance(row, str) else np.asarray(row).tolist() for row in y]
        return float(np.mean([a == b for a, b in zip(written, right, strict=True)]))

    @property
    def _boundary(self) -> int:
        return len(self.target_vocabulary_)

    def _check(self) -> None:
        super()._check()
        one_direction(self, "the reverse direction of the encoder ends at the first step")
        if self.bidirectional and self.hidden_size % 2:
            raise ValueError(
                f"{self._owner}: bidirectional=True gives each direction of the encoder half of "
                f"hidden_size, which has to be even then; got {self.hidden_size}."
            )

    def _make(self, seeds: list[int]) -> None:
        directions, symbols = 1 + self.bidirectional, self._boundary + 1
        self.encoder_: RecurrentLayer = network.recurrent(
            self, self.n_features_in_, self.hidden_size // directions, self.bidirectional, seeds[0]
        )
        self.decoder_, self.head_ = network.read_out(self, symbols, symbols, seeds[1:], False)

    def _handed_over(self, state: network.State) -> network.State:
        return network.side_by_side(state, 1 + self.bidirectional)

    def _losses(
        self, x: Sequences, target: Sequences, rows: NDArray, training: bool
    ) -> Iterator[Loss]:
        final, pull = network.final_state(self.encoder_, x.select(rows), self.truncate, training)
        state, pull_encoder = self._handed_over(final), pull
        for piece in target.select(rows).pieces(self.truncate):
            found = network.predict_steps(
                self.decoder_, self.head_, piece, piece.next().steps(), state, training
            )
            state = found.state
            yield Loss(found.loss, found.weight, partial(self._gradients, found, pull_encoder))
            pull_encoder = None

    def _gradients(self, found: network.Steps, pull_encoder) -> list[dict[str, NDArray]]:
        d_decoder, d_head = found.gradients()
        if pull_encoder is None:  # of a later piece: its state is taken as it came
            return [network.no_gradient(self.encoder_), d_decoder.params, d_head]
        d_final = network.apart(d_decoder.state, 1 + self.bidirectional)
        return [pull_encoder(d_final), d_decoder.params, d_head]
