"""Beam search against greedy search and against trying everything, on networks with no training."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastrnn
from fastrnn.models.network import next_logits
from fastrnn.models.search import Decoder, search, write


class RandomDecoder:
    """A random decoder of a few symbols, the last one the boundary, and its first states."""

    def __init__(self, kind, symbols, count, seed):
        self.rnn = kind(symbols + 1, 5, 2, dtype=np.float64, seed=seed)
        self.head = fastrnn.Linear(5, symbols + 1, dtype=np.float64, seed=seed)
        self.symbols, self.count = symbols, count
        for param in [*self.rnn.params.values(), *self.head.params.values()]:
            np.multiply(param, 4, out=param)  # decided
        random = np.random.default_rng(seed)
        h = random.standard_normal((2, count, 5))
        self.state = (h, random.standard_normal(h.shape)) if kind is fastrnn.LSTM else h

    def search(self, **options):
        options = {"beam": 1, "max_length": 4, "length_penalty": 0.6} | options
        return search(
            lambda *args: next_logits(self.rnn, self.head, *args),
            self.state,
            self.count,
            self.symbols,
            **options,
        )

    def of(self, n):
        """Return the state of sentence n."""
        if isinstance(self.state, tuple):
            return tuple(member[:, n : n + 1] for member in self.state)
        return self.state[:, n : n + 1]

    def greedy(self, n, max_length):
        written, index, state = [], self.symbols, self.of(n)
        for _ in range(max_length):
            output, state = self.rnn(np.array([[index]]), state)
            index = int(self.head(output)[0, 0].argmax())
            if index == self.symbols:
                break
            written.append(index)
        return written


class Oracle:
    """What a decoder says, at random for every history; its state is the history's number."""

    def __init__(self, symbols, count, seed):
        self.symbols, self.count = symbols, count
        self.table = np.random.default_rng(seed).standard_normal((9973, symbols + 1)) * 2
        self.first = np.arange(count)[None, :, None]

    def step(self, symbols, state):
        state = state * 31 + symbols[None, :, None] + 1
        return self.table[state[0, :, 0] % len(self.table)], state

    def search(self, **options):
        options = {"beam": 1, "max_length": 4, "length_penalty": 0.6} | options
        return search(self.step, self.first, self.count, self.symbols, **options)

    def log_probability(self, n, written):
        state, reached = self.first[:, n : n + 1], 0.0
        for before, symbol in itertools.pairwise([self.symbols, *written]):
            logits, state = self.step(np.array([before]), state)
            reached += logits[0, symbol] - np.log(np.exp(logits[0]).sum())
        return reached

    def best(self, n, max_length, length_penalty):
        """Return the best of all sequences: those that end, and those of `max_length` symbols."""
        end, everything = self.symbols, []
        for length in range(max_length + 1):
            for row in itertools.product(range(end), repeat=length):
                whole = [*row, end] if length < max_length else [*row]
                reached = self.log_probability(n, whole)
                everything.append((reached / ((5 + len(whole)) / 6) ** length_penalty, list(row)))
        return max(everything)[1]


kinds = st.sampled_from([fastrnn.RNN, fastrnn.LSTM, fastrnn.GRU])
seeds = st.integers(0, 1000)


@given(kinds, st.integers(1, 4), st.integers(1, 5), st.integers(1, 6), seeds)
def test_a_beam_of_one_is_greedy(kind, symbols, count, max_length, seed):
    decoder = RandomDecoder(kind, symbols, count, seed)
    expected = [decoder.greedy(n, max_length) for n in range(count)]
    assert decoder.search(max_length=max_length) == expected


@given(st.integers(1, 3), st.integers(1, 4), seeds, st.sampled_from([0.0, 0.6, 1.0, 2.0]))
def test_a_beam_as_wide_as_everything_is_exhaustive(symbols, max_length, seed, length_penalty):
    decoder = Oracle(symbols, 3, seed)
    found = decoder.search(beam=400, max_length=max_length, length_penalty=length_penalty)
    assert found == [decoder.best(n, max_length, length_penalty) for n in range(3)]


@given(kinds, st.integers(2, 6), seeds)
def test_company_does_not_matter(kind, beam, seed):
    decoder = RandomDecoder(kind, 4, 6, seed)
    together = decoder.search(beam=beam)
    for n in range(6):
        state, decoder.count = decoder.state, 1
        decoder.state = decoder.of(n)
        assert decoder.search(beam=beam) == [together[n]]
        decoder.state, decoder.count = state, 6


def test_a_wider_beam_finds_better():
    better = 0
    for seed in range(20):
        decoder = Oracle(4, 1, seed)
        greedy, beam = (decoder.search(beam=k, length_penalty=0.0)[0] for k in (1, 50))
        ended = [[*row, 4][:4] for row in (greedy, beam)]
        reached = [decoder.log_probability(0, row) for row in ended]
        assert reached[1] >= reached[0] - 1e-9
        better += reached[1] > reached[0] + 1e-9
    assert better > 3


def test_diverged():
    decoder = RandomDecoder(fastrnn.GRU, 4, 1, 0)
    decoder.head.params["bias"][0] = np.nan
    with pytest.raises(FloatingPointError, match="not finite"):
        decoder.search()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beam": 0}, "Model: beam must be at least 1, got 0"),
        ({"beam": 1.5}, "Model: beam should be of type int"),
        ({"max_length": 0}, "Model: max_length must be at least 1"),
        ({"length_penalty": -1}, "Model: length_penalty must be at least 0, got -1"),
    ],
)
def test_out_of_range(options, message):
    decoder = RandomDecoder(fastrnn.GRU, 2, 1, 0)
    options = {"beam": 1, "max_length": None, "length_penalty": 0.6} | options
    network = Decoder(decoder.rnn, decoder.head, "ab", 3)
    with pytest.raises((TypeError, ValueError), match=message):
        write("Model", network, decoder.state, 1, **options)
