"""The network of `fastrnn train`: how good it is, and what it writes."""

import math
from dataclasses import replace

import numpy as np
import pytest

from fastrnn.cli.character_model import bits_per_character, built, sample
from fastrnn.cli.model_file import read
from fastrnn.cli.training_run import TrainingRun
from tests.support.compare import assert_close
from tests.support.trained import CONFIG, TEXT, trained


class TestBitsPerCharacter:
    @pytest.mark.parametrize("length", [2, 3, 32, 33, 34, 500])
    def test_every_character_given_all_before_it(self, length):
        model = TrainingRun(CONFIG, TEXT).model
        indices = np.random.default_rng(1).integers(0, 6, length)
        logits = model.head(model.rnn(indices[:-1, None])[0])[:, 0].astype(np.float64)
        chosen = logits[np.arange(length - 1), indices[1:]]
        bits = (np.log(np.exp(logits).sum(1)) - chosen).mean() / math.log(2)
        assert_close(np.float64(bits_per_character(model, indices)), bits, atol=1e-5)


class TestSample:
    @pytest.fixture
    def model(self):
        model = TrainingRun(CONFIG, TEXT).model
        for param in model.head.params.values():
            param[...] *= 10  # decided enough for temperature to matter
        return model

    @pytest.mark.parametrize("prompt", ["abc", "\n"])
    def test_greedy_takes_the_likeliest(self, prompt, model):
        index = np.array([model.vocabulary.index(character) for character in prompt])
        logits = model.head(model.rnn(index[:, None])[0])[-1, 0]
        greedy = list(sample(model, prompt, 5, temperature=0))
        assert greedy[0] == model.vocabulary[logits.argmax()]
        for seed, temperature in ((1, 0), (2, 1e-5), (3, 1e-320)):
            assert list(sample(model, prompt, 5, temperature, seed)) == greedy

    def test_no_prompt_is_the_start_of_a_line(self, model):
        assert list(sample(model)) == list(sample(model, "\n"))

    def test_seed(self, model):
        first = list(sample(model, seed=1))
        assert len(first) == 500
        assert first == list(sample(model, seed=1))
        assert first != list(sample(model, seed=2))

    def test_temperature_flattens(self, model):
        hot, cold = (list(sample(model, temperature=t)) for t in (1e9, 0.01))
        assert set(hot) == set(model.vocabulary)
        assert max(map(hot.count, hot)) < 150 < max(map(cold.count, cold))

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"prompt": "a€ß"}, "the prompt has characters that .* never seen: 'ß', '€'"),
            ({"temperature": -0.1}, "the temperature must be .* got -0.1"),
            ({"temperature": math.nan}, "the temperature must be .* got nan"),
            ({"temperature": math.inf}, "the temperature must be .* got inf"),
            ({"length": -1}, "the length must not be below 0; got -1"),
            ({"seed": -1}, "the seed must not be below 0; got -1"),
        ],
    )
    def test_arguments_out_of_range(self, arguments, message, model):
        with pytest.raises(ValueError, match=message):
            sample(model, **arguments)

    def test_diverged_model(self, model):
        model.head.params["bias"][0] = np.nan
        with pytest.raises(FloatingPointError, match="not finite"):
            list(sample(model))


def test_no_larger_than_its_file(tmp_path):
    trained(tmp_path / "m")
    file = read(tmp_path / "m")
    made = built(tmp_path / "m", file)
    assert made.rnn.hidden_size == CONFIG.hidden
    large = file._replace(config=replace(file.config, hidden=5000))
    with pytest.raises(ValueError, match="m: --hidden 5000, --layers 1: its options are too large"):
        built(tmp_path / "m", large)
