"""Seq2Seq: a sequence to another one, of a length of its own.

How the best sequence is found is in search.py.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from fastrnn.models import batches, network, reading, states
from fastrnn.models.estimator import Estimator
from fastrnn.models.network import Grads, Loss
from fastrnn.models.search import Decoder, write
from fastrnn.models.sequences import Sequences
from fastrnn.models.states import State
from fastrnn.nn.layer import RecurrentLayer


@dataclass(eq=False, repr=False, kw_only=True)
class Seq2Seq(Estimator):
    """Many to many: an encoder reads a sequence, and a decoder writes another one.

    The final state of the encoder, of all layers, is the first one of the decoder; with
    `bidirectional=True` the encoder has hidden_size // 2 units in each direction, side by side.
    The decoder learns by teacher forcing: it reads a boundary symbol and what is right, and a
    linear layer on its output says the next symbol, and after the last one the boundary again; the
    loss is the cross-entropy, its mean over the steps of a batch.

    With `truncate=k` the decoder learns from pieces of k steps, one update each: the state goes
    on, its gradient does not. So the encoder learns from the first piece, and there the gradient
    goes back k steps from the end of X.

    Args:
        hidden_size: H, units of each layer; default 64.
        cell: recurrent unit: "rnn" (tanh), "relu", "lstm" or "gru"; default "lstm".
        num_layers: recurrent layers of the encoder, and of the decoder; default 1.
        bidirectional: whether the encoder has a second direction, which reads from the end; each
            has hidden_size / 2 units; default False.
        dropout: probability, in training, that an element between two layers becomes 0;
            default 0.0.
        init: how the recurrent layers are initialised: None, as torch's; "uniform", "glorot",
            "orthogonal", "identity" or "forget_bias", by the function of `fastrnn.init`; or a
            callable that takes a layer and changes it in place, such as partial(init.orthogonal,
            gain=0.9). One that takes a `seed` is given one; default None.
        optimizer: "adam", "adamw", "rmsprop" or "sgd"; default "adam".
        optimizer_options: what else the optimiser takes, as {"momentum": 0.9}; None: nothing;
            default None.
        lr: learning rate; default 3e-3.
        lr_decay: the learning rate of epoch e, counted from 0, is lr * lr_decay**e; default 1.0.
        clip_norm: largest norm of the gradient, which is scaled down to it; None: any; default 1.0.
        clip_value: largest absolute value of an entry of the gradient, clipped before the norm is;
            None: any; default None.
        truncate: steps that a gradient goes back (truncated BPTT); None: all; default None.
        batch_size: sequences in an update; default 32.
        epochs: passes over all sequences; default 50.
        validation_fraction: fraction of the sequences, at most 0.9, that is drawn at random and not
            learnt from. If it is above 0, the parameters of the epoch with the lowest validation
            loss are kept; default 0.0.
        patience: epochs in a row without a lower validation loss after which fit stops; None: it
            does not; default None.
        unknown: what becomes of a symbol in X that fit has not seen: "error", or "ignore": it is
            read as zeros, where a known one is read as a one among zeros; default "error".
        dtype: "float32" or "float64"; default "float32".
        seed: of the initial parameters, the order of batches, the held-out part and dropout; None:
            another at every fit; default 0.
        checkpoint: file in which fit keeps its state (extra `cli`), written every minute, and when
            fit ends, fails or is interrupted. If the file exists, fit goes on from it, bit for bit;
            options and data have to be the same, but `epochs` may grow. None: no file; default
            None.
        verbose: whether to show a progress bar (extra `cli`); or a function to call after each
            epoch, with the number of epochs done and of all; default False.

    Attributes:
        target_vocabulary_: the sorted symbols of y. The boundary has the index after theirs.
        longest_: symbols of the longest y.
        encoder_: the recurrent layer that reads, live.
        decoder_: the recurrent layer that writes, live.
        head_: the linear layer, live.
        history_: dict of lists, one entry an epoch: "loss", the mean over its updates,
            "gradient_norm", the mean before clipping, "lr", "seconds", and with validation
            "validation_loss".
        vocabulary_: the sorted symbols that X had in fit; None where it had floats.
        n_features_in_: I, the size of the last axis of X, or the number of symbols.
        feature_names_in_: (I,) the names of the columns; only where X was tables that have any.

    Source: Sutskever, Vinyals & Le 2014, arXiv:1409.3215; Cho et al. 2014, arXiv:1406.1078.

    Example:
        >>> words = ["abc", "cab", "b", "ba", "acb", "ca"]
        >>> model = Seq2Seq(32, lr=0.02, epochs=150).fit(words, [word[::-1] for word in words])
        >>> model.predict(["abc", "ca"])
        ['cba', 'ac']
    """

    learnt = (*Estimator.learnt, "target_vocabulary_", "longest_")
    _names = ("encoder", "decoder", "head")

    def fit(self, X: Any, y: Any, lengths: Any = None) -> Self:
        """Learn from sequences and what is to be written for each.

        Args:
            X: a list of arrays (T_n, I) of floats; of strings; of sequences of integers or words;
                or one padded array, (N, T, I) of floats or (N, T) of integers.
            y: as many sequences: a list of strings, a list of sequences of integers or words, or a
                padded array of integers (N, T), all of it.
            lengths: (N,) of the sequences in a padded array X; None: all T.

        Raises:
            TypeError, ValueError: an argument or option is out of range, or X, y and what is in
                the checkpoint do not fit.
            OSError: the checkpoint cannot be read or written.
            FloatingPointError: training diverged.
        """
        with self._fitting():
            x = self._learn_input(X, lengths)
            y_read, self.target_vocabulary_ = reading.learn_symbols(self.owner, "y", y, None)
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
            X: N sequences, of the kind that fit had.
            lengths: (N,) of the sequences in a padded array; None: all T.
            beam: how many hypotheses beam search keeps; 1: greedy search.
            max_length: symbols after which a sequence is cut off; None: twice as many as the
                longest y of fit had.
            length_penalty: exponent with which beam search makes up for the cost of length (Wu et
                al. 2016); 0: short sequences are preferred.

        Raises:
            NotFittedError: there is no network yet.
            TypeError, ValueError: X is not of the kind that fit had, or another argument is out of
                range.
        """
        x = self._known_input(X, lengths)
        written: list[Any] = [None] * len(x.lengths)
        encoder = network.reader(self.encoder_, x.values)
        for rows in batches.sorted_by_length(x.lengths):
            padded, some = x.select(rows).padded()
            state = self._handed_over(encoder(padded, lengths=some)[1])
            found = write(
                self.owner,
                Decoder(self.decoder_, self.head_, self.target_vocabulary_, self.longest_),
                state,
                len(rows),
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
            X: N sequences, of the kind that fit had.
            y: what should be written for each.
            lengths: (N,) of the sequences in a padded array; None: all T.
        """
        written = self.predict(X, lengths)
        right = reading.plain(self.owner, "y", y)
        self._check_count(len(written), len(right))
        return float(np.mean([a == b for a, b in zip(written, right, strict=True)]))

    @property
    def _boundary(self) -> int:
        return len(self.target_vocabulary_)

    def check(self) -> None:
        """Raise TypeError or ValueError if a hyper-parameter is out of its range."""
        super().check()
        self._check_direction("the reverse direction of the encoder ends at the first step")
        if self.bidirectional and self.hidden_size % 2:
            raise ValueError(
                f"{self.owner}: bidirectional=True gives each direction of the encoder half of "
                f"hidden_size, which has to be even then; got {self.hidden_size}."
            )

    def _make(self, seeds: list[int]) -> None:
        directions, symbols = 1 + self.bidirectional, self._boundary + 1
        self.encoder_: RecurrentLayer = network.recurrent(
            self, self.n_features_in_, self.hidden_size // directions, self.bidirectional, seeds[0]
        )
        self.decoder_, self.head_ = network.read_out(self, symbols, symbols, seeds[1:], False)

    def _handed_over(self, state: State) -> State:
        return states.merge_directions(state, 1 + self.bidirectional)

    def _losses(
        self,
        x: Sequences,
        target: Sequences,
        rows: NDArray,
        training: bool,
        piece: int = 0,
        state: State = None,
    ) -> Iterator[Loss]:
        start = None if piece else partial(self._encoded, x, rows, training)
        pieces = target.select(rows).pieces(self.truncate)[piece:]
        both = [(part, part.next()) for part in pieces]
        return network.step_losses(
            self.decoder_, self.head_, both, state, training, self._gradients, start
        )

    def _encoded(self, x: Sequences, rows: NDArray, training: bool) -> tuple[State, Any]:
        some = x.select(rows)
        final, pull = network.final_state(self.encoder_, some, self.truncate, training)
        return self._handed_over(final), pull

    def _gradients(self, found: network.Steps, pull_encoder: Any) -> Grads:
        d_decoder, d_head = found.gradients()
        if pull_encoder is None:  # a later piece, which takes its state as it is
            return [network.no_gradient(self.encoder_), d_decoder.params, d_head]
        d_final = states.split_directions(d_decoder.state, 1 + self.bidirectional)
        return [pull_encoder(d_final), d_decoder.params, d_head]
