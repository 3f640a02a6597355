"""RNNGenerator: a text, sequences, vectors; what it writes and how likely it finds it; errors."""

import numpy as np
import pytest

from fastrnn.cli.config import Config
from fastrnn.cli.training_run import TrainingRun
from fastrnn.models import RNNGenerator

NAMES = ["anna", "bert", "chris", "dora"]
SMALL = {"batch_size": 4, "truncate": 8}


@pytest.fixture(scope="module")
def of_text():
    return RNNGenerator(24, **SMALL, lr=0.02, epochs=20).fit("hello world\n" * 30)


@pytest.fixture(scope="module")
def of_names():
    return RNNGenerator(24, lr=0.02, epochs=100).fit(NAMES)


@pytest.fixture(scope="module", params=["lstm", "gru"])
def of_vectors(request):
    options = {"cell": request.param, "num_layers": 2, "lr": 0.02, "epochs": 100}
    return RNNGenerator(24, **options).fit(np.eye(4), NAMES)


class TestText:
    @pytest.fixture
    def model(self, of_text):
        return of_text

    def test_goes_on_from_a_prompt(self, model):
        assert model.generate("hel", length=21, temperature=0) == "lo world\nhello world\n"
        assert model.generate(length=5, temperature=0) == "hello"
        assert model.generate("wor", length=0) == ""

    def test_seeds_and_temperature(self, model):
        drawn = [model.generate(length=50, temperature=3.0, seed=seed) for seed in (1, 1, 2)]
        assert drawn[0] == drawn[1] != drawn[2]

    def test_score(self, model):
        assert -0.2 < model.score("hello world\nhello world\n") < 0
        assert model.score("dlrow olleh") < -1

    def test_integers(self):
        text = np.tile([5, 7, 9], 60)
        model = RNNGenerator(12, **SMALL, lr=0.02, epochs=20).fit(text)
        assert model.generate([7], length=4, temperature=0) == [9, 5, 7, 9]
        assert len(model.generate(length=3)) == 3
        assert model.score(text) > -0.2

    def test_is_the_character_model(self):
        """The same streams, batches and updates as `fastrnn train`: the same losses."""
        text = "".join(np.random.default_rng(0).choice(list("abc \n"), 300))
        run = TrainingRun(Config(hidden=5, batch=3, seq_len=7, lr=0.01, seed=4, steps=1), text)
        model = RNNGenerator(5, batch_size=3, truncate=7, lr=0.01, seed=4, epochs=2)
        model.fit(text[:270])
        pieces = 89 // 7
        losses = [np.mean([run.advance() for _ in range(pieces)]) for _ in range(2)]
        assert np.allclose(np.array(losses) * np.log(2), model.history_["loss"], rtol=1e-5)

    @pytest.mark.parametrize(
        ("x", "options", "message"),
        [
            ("abc", SMALL, "the text has 3 symbols to learn from; 4 streams of 8 need 33: give m"),
            ("", SMALL, r"X\[0\] is empty"),
            ("abc" * 20, SMALL | {"validation_fraction": 0.01}, "is 1 symbol; expected at least"),
            ("abc" * 20, SMALL | {"bidirectional": True}, "bidirectional=True: what is still to"),
            (np.ones(50), SMALL, r"X has shape \(50,\)|one axis"),
        ],
        ids=str,
    )
    def test_errors(self, x, options, message):
        with pytest.raises(ValueError, match=message):
            RNNGenerator(4, **options).fit(x)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"prompt": "hx!"}, r"has characters that the model has never seen: '!', 'x'"),
            ({"prompt": ["h"]}, "expected a str"),
            ({"temperature": -1}, "the temperature must be finite and not below 0"),
            ({"length": -1}, "the length must not be below 0"),
            ({"seed": -1}, "the seed must not be below 0"),
            ({"vector": np.ones(3)}, "RNNGenerator: this network has no vectors"),
        ],
    )
    def test_arguments_out_of_range(self, arguments, message, model):
        with pytest.raises(ValueError, match=message):
            model.generate(**arguments)

    def test_nothing_to_predict_for(self, model):
        with pytest.raises(ValueError, match="fit had no vectors to predict for; use generate"):
            model.predict(np.ones((2, 3)))

    def test_score_wants_two_symbols_that_are_known(self, model):
        with pytest.raises(ValueError, match="X has one symbol; expected one more"):
            model.score("h")
        with pytest.raises(ValueError, match=r"X\[0\]\[1\] is 'z', which fit has not seen"):
            model.score("hz")


class TestSequences:
    @pytest.fixture
    def model(self, of_names):
        return of_names

    def test_each_ends_by_itself(self, model):
        written = [model.generate(seed=seed, temperature=0.5) for seed in range(30)]
        assert set(written) == set(NAMES)
        assert model.generate("b", temperature=0) == "ert"
        assert model.generate("b", length=2, temperature=0) == "er"

    def test_score_is_the_mean_log_likelihood(self, model):
        one = -np.log(4) / 5  # four names of the same chance, each of its letters and the boundary
        assert np.isclose(model.score(["anna"]), one, atol=0.02)
        whole = sum(model.score([name]) * (len(name) + 1) for name in NAMES) / 21
        assert np.isclose(model.score(NAMES), whole)

    def test_words(self):
        model = RNNGenerator(12, lr=0.05, epochs=60).fit([["the", "cat", "sat"]])
        assert model.generate(temperature=0) == ["the", "cat", "sat"]
        assert model.generate(["the"], temperature=0) == ["cat", "sat"]
        with pytest.raises(ValueError, match="has symbols that the model has never seen: 'dog'"):
            model.generate(["dog"])
        with pytest.raises(ValueError, match="expected a sequence of symbols"):
            model.generate("the")

    def test_padded_integers(self):
        x = np.array([[3, 4, 99], [4, 4, 3]])
        model = RNNGenerator(4, epochs=1).fit(x, lengths=[2, 3])
        again = RNNGenerator(4, epochs=1).fit([[3, 4], [4, 4, 3]])
        assert model.history_["loss"] == again.history_["loss"]


class TestVectors:
    @pytest.fixture
    def model(self, of_vectors):
        return of_vectors

    def test_writes_what_belongs_to_a_vector(self, model):
        order = [2, 0, 1, 3, 0]
        assert model.predict(np.eye(4)[order]) == [NAMES[n] for n in order]
        assert model.predict(np.eye(4), beam=3) == NAMES
        assert model.predict(np.eye(4, dtype=int), max_length=2) == ["an", "be", "ch", "do"]
        assert model.generate(vector=np.eye(4)[1], temperature=0) == "bert"
        assert model.generate("do", vector=np.eye(4)[3], temperature=0) == "ra"
        assert model.score(np.eye(4), NAMES) > -0.1
        assert model.score(np.eye(4), NAMES[::-1]) < -1

    @pytest.mark.parametrize(
        ("x", "message"),
        [
            (np.ones((2, 3)), "X has vectors of 3 numbers, and in fit they had 4"),
            (np.ones(4), r"X is float64 of shape \(4,\); expected numbers, \(N, K\)"),
            ([[1, 2, 3, np.nan]], r"X\[0, 3\] is not finite"),
            (["a"], "X is <U1"),
        ],
        ids=str,
    )
    def test_vectors_that_do_not_fit(self, x, message, model):
        with pytest.raises(ValueError, match=message):
            model.predict(x)

    def test_a_vector_is_needed(self, model):
        with pytest.raises(ValueError, match="this network begins with one: give vector="):
            model.generate()


class TestUnknown:
    """What has no probability does not count; what cannot be read is zeros."""

    def test_score_of_sequences(self):
        model = RNNGenerator(3, epochs=1, dtype="float64", unknown="ignore").fit(["ab", "ba", "b"])
        rnn, head = model.rnn_, model.head_
        symbols = np.array([[2, 0, 3, 1, 2]])  # boundary, a, z, b, boundary
        logits = head(rnn(np.eye(4)[symbols[0, :-1], None, :3])[0])[:, 0]
        chances = logits - np.log(np.exp(logits).sum(1, keepdims=True))
        expected = np.mean([chances[k, symbols[0, k + 1]] for k in (0, 2, 3)])
        assert np.isclose(model.score(["azb"]), expected, rtol=0, atol=1e-12)
        assert np.isclose(model.set_params(truncate=2).score(["azb"]), expected, atol=1e-12)

    @pytest.mark.parametrize("x", [["ab", "ba"], "abab" * 20], ids=["sequences", "text"])
    def test_prompt(self, x):
        model = RNNGenerator(3, epochs=1, truncate=4, batch_size=2, unknown="ignore").fit(x)
        assert set(model.generate("azq", length=4)) <= {"a", "b"}
        with pytest.raises(ValueError, match="never seen: 'z'"):
            model.set_params(unknown="error").generate("az")

    def test_a_text_of_which_nothing_is_known(self):
        model = RNNGenerator(3, epochs=1, truncate=4, batch_size=2, unknown="ignore")
        model.fit("abab" * 20)
        with pytest.raises(ValueError, match="expected one more, a known one"):
            model.score("zz")
        assert np.isfinite(model.score("zza"))
