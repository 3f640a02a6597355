"""RNNGenerator: from a vector, or from nothing, to a sequence; or going on from a prompt.

The network is in one_to_many.py; what it writes is drawn in sampling.py or found in search.py.
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from fastrnn.models import network, reading, sampling, text, vocabulary
from fastrnn.models.estimator import Estimator
from fastrnn.models.network import Loss
from fastrnn.models.one_to_many import Writer
from fastrnn.models.search import Decoder, write
from fastrnn.models.sequences import Sequences
from fastrnn.models.states import State
from fastrnn.models.targets import in_dtype, vectors
from fastrnn.models.training import evaluate
from fastrnn.nn.linear import Linear

_Learning = tuple[partial, NDArray, Callable[[], float] | None]  # what `_train` takes


@dataclass(eq=False, repr=False, kw_only=True)
class RNNGenerator(Estimator):
    """One to many: learns to write sequences, one symbol after another.

    A recurrent layer reads a symbol, and a linear one on its output predicts the next; softmax
    and cross-entropy, the mean over the real steps of a batch. A batch is read in pieces of
    `truncate` steps, one update each: the state goes on, its gradient does not. What `fit` is given
    decides what is learnt:

    - one long text, `fit(text)`: it is cut into `batch_size` streams that are read side by side;
      an epoch is one pass. With `validation_fraction` the end of the text is held out.
    - many sequences, `fit(X)`: each starts and ends with a boundary symbol.
    - a vector for each of them, `fit(X, y)`: it becomes the initial h of every layer, by a linear
      layer, the bridge.

    Args:
        hidden_size: H, units of each layer and direction; default 64.
        cell: recurrent unit: "rnn" (tanh), "relu", "lstm" or "gru"; default "lstm".
        num_layers: recurrent layers, each reading the output of the one below; default 1.
        bidirectional: has to stay False, as what is still to be written cannot be read.
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
        truncate: steps that a gradient goes back (truncated BPTT); None: all; default 128.
        batch_size: sequences in an update, or streams that a text is cut into; default 32.
        epochs: passes over all sequences, or over the text; default 50.
        validation_fraction: fraction, at most 0.9, of the sequences, drawn at random, or of a text,
            its end, that is not learnt from. If it is above 0, the parameters of the epoch with
            the lowest validation loss are kept; default 0.0.
        patience: epochs in a row without a lower validation loss after which fit stops; None: it
            does not; default None.
        unknown: what becomes of a symbol in X that fit has not seen: "error", or "ignore": it is
            read as zeros, where a known one is read as a one among zeros, and does not count in a
            score; default "error".
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
        vocabulary_: the sorted symbols. A boundary has the index after theirs.
        n_features_in_: K, the size of a vector; without vectors the number of symbols.
        feature_names_in_: (K,) the names of the columns; only where vectors were a table.
        is_text_: whether fit had one long text.
        has_vectors_: whether it had vectors.
        longest_: symbols of the longest sequence, or of the text.
        rnn_: the recurrent layer, live.
        head_: the linear layer on its output, live.
        bridge_: the linear layer from a vector, live; None where there are no vectors.
        history_: dict of lists, one entry an epoch: "loss", the mean over its updates,
            "gradient_norm", the mean before clipping, "lr", "seconds", and with validation
            "validation_loss".

    Source: Mikolov et al. 2010, "Recurrent neural network based language model"; the vector:
    Vinyals et al. 2015, arXiv:1411.4555, whose image comes as a first input instead.

    Example:
        >>> model = RNNGenerator(16, lr=0.02, truncate=8, batch_size=4).fit("hello world, " * 30)
        >>> model.generate("hel", length=9, temperature=0)
        'lo world,'
        >>> digits = RNNGenerator(16, lr=0.02, epochs=100).fit(np.eye(3), ["zero", "one", "two"])
        >>> digits.predict(np.eye(3)[[2, 0]])
        ['two', 'zero']
    """

    truncate: int | None = 128

    learnt = (*Estimator.learnt, "is_text_", "has_vectors_", "longest_")
    _names = ("rnn", "head", "bridge")
    _needs_y = False

    def fit(self, X: Any, y: Any = None, lengths: Any = None) -> Self:
        """Learn from a text, from sequences, or from vectors and the sequence for each.

        Args:
            X: one str, or one array (S,) of integers: a text; or sequences: a list of strings, a
                list of sequences of integers or words, or a padded array of integers (N, T); with
                y, (N, K) floats.
            y: (N,) sequences.
            lengths: (N,) of the sequences in a padded array; None: all T.

        Raises:
            TypeError, ValueError: an argument or option is out of range, or X, y and what is in
                the checkpoint do not fit.
            OSError: the checkpoint cannot be read or written.
            FloatingPointError: training diverged.
        """
        with self._fitting():
            self.is_text_ = y is None and text.is_text(X)
            return self._train(*self._text(X) if self.is_text_ else self._sequences(X, y, lengths))

    def _sequences(self, X: Any, y: Any, lengths: Any) -> _Learning:
        name, given = ("X", X) if y is None else ("y", y)
        read, self.vocabulary_ = reading.learn_symbols(self.owner, name, given, lengths)
        self.longest_ = int(read.lengths.max())
        given = None if y is None else self._vectors(X, count=len(read.lengths))
        self.n_features_in_ = len(self.vocabulary_) if given is None else given.shape[1]
        self.has_vectors_ = given is not None
        whole = read.with_boundaries(len(self.vocabulary_))
        return partial(self._losses, whole, given), whole.lengths, None

    def _text(self, X: Any) -> _Learning:
        read, self.vocabulary_ = reading.learn_symbols(self.owner, "X", [X], None)
        self.n_features_in_, self.has_vectors_ = len(self.vocabulary_), False
        self.longest_ = len(read.values)
        learnt, held_out = text.split(self.owner, read.values, self.validation_fraction)
        streams = text.streams(learnt, self.batch_size, self.truncate)
        # The held-out end belongs to the data too: a checkpoint compares it.
        losses = partial(self._losses, streams._replace(values=read.values), None)
        if not self.validation_fraction:
            return losses, streams.lengths, None
        return losses, streams.lengths, lambda: text.mean_loss(self.rnn_, self.head_, held_out)

    def generate(
        self,
        prompt: Any = "",
        length: int = 500,
        temperature: float = 1.0,
        seed: int = 0,
        vector: Any = None,
    ) -> str | list:
        """Return what the network writes after a prompt: a str, or a list of symbols.

        Args:
            prompt: what to go on from; after a text, an empty one stands for the start of a line.
            length: how many symbols, at most; if fit had sequences, a boundary may end it earlier.
            temperature: divides the logits; 0 always takes the likeliest symbol.
            seed: of the random numbers.
            vector: (K,), where fit had vectors.

        Raises:
            NotFittedError: there is no network yet.
            ValueError: an argument is out of its range.
        """
        self._check_fitted()
        if (vector is None) == (self.bridge_ is not None):
            what = "has no vectors" if self.bridge_ is None else "begins with one: give vector="
            raise ValueError(f"{self.owner}: this network {what}.")
        boundary = None if self.is_text_ else len(self._symbols)
        before = [] if boundary is None else [boundary]
        before += sampling.prompted(prompt, self._symbols, self._unknown(self.rnn_.input_size))
        before = before or [text.first_symbol(self._symbols)]
        state = None
        if self.bridge_ is not None:
            one = vectors(self.owner, [vector], self.n_features_in_)
            state = self._writer.first_state(in_dtype(self.owner, "vector", one, self.dtype))
        options = {"length": length, "temperature": temperature, "seed": seed}
        rnn = network.reader(self.rnn_, np.array(before))
        drawn = sampling.continued(rnn, self.head_, before, state=state, **options)
        written = list(itertools.takewhile(lambda index: index != boundary, drawn))
        return vocabulary.decode(written, self._symbols)

    def predict(
        self, X: Any, *, beam: int = 1, max_length: int | None = None, length_penalty: float = 0.6
    ) -> list:
        """Return the sequences that are written for vectors: strings, or lists of symbols.

        Args:
            X: (N, K) floats.
            beam: how many hypotheses beam search keeps; 1: greedy search.
            max_length: symbols after which a sequence is cut off; None: twice the longest of fit.
            length_penalty: exponent with which beam search makes up for the cost of length (Wu et
                al. 2016); 0: short sequences are preferred.

        Raises:
            NotFittedError: there is no network yet.
            ValueError: X is not of the kind that fit had, or fit had no vectors: use `generate`.
        """
        self._check_fitted()
        if self.bridge_ is None:
            raise ValueError(f"{self.owner}: fit had no vectors to predict for; use generate.")
        given = self._vectors(X, self.n_features_in_)
        return write(
            self.owner,
            Decoder(self.rnn_, self.head_, self._symbols, self.longest_),
            self._writer.first_state(given),
            len(given),
            beam=beam,
            max_length=max_length,
            length_penalty=length_penalty,
        )

    def score(self, X: Any, y: Any = None, lengths: Any = None) -> float:
        """Return the mean log-likelihood of a symbol, boundaries included: at most 0.

        Args:
            X: a text, sequences, or vectors, as fit had.
            y: the sequences, where X is vectors.
            lengths: (N,) of the sequences in a padded array; None: all T.

        Raises:
            NotFittedError: there is no network yet.
            TypeError, ValueError: X or y is not of the kind that fit had.
        """
        self._check_fitted()
        name, given = ("X", [X] if self.is_text_ else X) if y is None else ("y", y)
        unknown = self._unknown(self.rnn_.input_size)
        read = reading.known(self.owner, name, given, lengths, None, self._symbols, 0, unknown)
        if self.is_text_:
            if not (read.values[1:] < self.head_.out_features).any():
                raise ValueError(f"{self.owner}: X has one symbol; expected one more, a known one.")
            return -text.mean_loss(self.rnn_, self.head_, read.values)
        first = None
        if self.bridge_ is not None:
            first = self._vectors(X, self.n_features_in_, len(read.lengths))
        whole = read.with_boundaries(len(self._symbols))
        writer = self._writer._replace(rnn=network.reader(self.rnn_, whole.values))
        losses = partial(self._losses, whole, first, writer=writer)
        return -evaluate(losses, whole.lengths, np.arange(len(whole.lengths)))

    @property
    def _symbols(self) -> vocabulary.Vocabulary:
        assert self.vocabulary_ is not None  # it writes symbols
        return self.vocabulary_

    def check(self) -> None:
        """Raise TypeError or ValueError if a hyper-parameter is out of its range."""
        super().check()
        if self.bidirectional:
            raise ValueError(
                f"{self.owner}: bidirectional=True: what is still to be written cannot be read."
            )

    def _vectors(self, X: Any, size: int | None = None, count: int | None = None) -> NDArray:
        (self._learn_names if size is None else self._check_names)(X)
        found = in_dtype(self.owner, "X", vectors(self.owner, X, size), self.dtype)
        if count is not None:
            self._check_count(len(found), count)
        return found

    def _make(self, seeds: list[int]) -> None:
        symbols = len(self._symbols) + (not self.is_text_)
        self.rnn_, self.head_ = network.read_out(self, symbols, symbols, seeds, False)
        if self.has_vectors_:
            wide = self.rnn_.num_layers * self.rnn_.hidden_size
            self.bridge_ = Linear(self.n_features_in_, wide, dtype=self.dtype, seed=seeds[2])
        else:
            self.bridge_ = None

    @property
    def _writer(self) -> Writer:
        return Writer(self.rnn_, self.head_, self.bridge_)

    def _losses(
        self,
        whole: Sequences,
        first: NDArray | None,
        rows: NDArray,
        training: bool,
        piece: int = 0,
        state: State = None,
        writer: Writer | None = None,
    ) -> Iterator[Loss]:
        pieces = whole.select(rows).pieces(self.truncate)
        some = None if first is None else first[rows]
        return (writer or self._writer).losses(pieces, some, training, piece, state)
