"""The character language model: what it reads, how it trains and is judged, what it writes.

Its file and resuming are in test_charlm_file.py, the command line around it in test_main.py.
"""

import math
from dataclasses import replace

import numpy as np
import pytest

import fastrnn
from fastrnn import charlm
from tests.support.compare import assert_close
from tests.support.trained import CONFIG, TEXT, trained


class TestText:
    def test_default_is_large_and_english(self):
        text = charlm.read_text()
        assert len(text) > 100_000
        assert 'The "assert" statement' in text

    def test_files_are_joined_by_a_blank_line(self, tmp_path):
        paths = [tmp_path / "a", tmp_path / "b"]
        paths[0].write_bytes("naïve\n".encode())
        paths[1].write_bytes(b"b")
        assert charlm.read_text(paths) == "naïve\n\n\nb"

    @pytest.mark.parametrize("raw", [b"a\r\nb\n", b"a\rb\r", b"\xef\xbb\xbfa\nb\r\n"])
    def test_line_ends_and_byte_order_mark(self, raw, tmp_path):
        (tmp_path / "a").write_bytes(raw)
        assert charlm.read_text([tmp_path / "a"]) == "a\nb\n"

    def test_not_utf8(self, tmp_path):
        (tmp_path / "latin").write_bytes(b"caf\xe9")
        with pytest.raises(ValueError, match=r"latin is not UTF-8: byte 0xe9 at position 3; conv"):
            charlm.read_text([tmp_path / "latin"])

    @pytest.mark.parametrize(
        ("text", "dtype"),
        [
            ("a", np.uint8),
            ("hello\U0001f600\0", np.uint8),
            ("".join(map(chr, range(256))), np.uint8),
            ("".join(map(chr, range(257))), np.uint16),
        ],
    )
    def test_encode(self, text, dtype):
        vocabulary, indices = charlm.encode(text)
        assert list(vocabulary) == sorted(set(text))
        assert "".join(vocabulary[index] for index in indices) == text
        assert indices.dtype == dtype


class TestTraining:
    @pytest.mark.parametrize("cell", charlm.LAYERS)
    def test_is_truncated_bptt(self, cell):
        """The same losses as a loop written out here: streams, carried state, start over."""
        config = replace(CONFIG, cell=cell, clip=0.5)
        trainer, by_hand = charlm.Trainer(config, TEXT), charlm.Trainer(config, TEXT).model
        params = [by_hand.rnn.params, by_hand.head.params]
        optimizer = fastrnn.optim.Adam(params, lr=config.lr)
        index = [by_hand.vocabulary.index(character) for character in TEXT]
        streams = [index[b * 89 : b * 89 + 90] for b in range(3)]  # (270 - 1) // 3 = 89, and one on
        state = None
        for step in range(25):
            t = step % 22 * 4
            x = np.array([[stream[t + k] for stream in streams] for k in range(4)])
            y = np.array([[stream[t + k + 1] for stream in streams] for k in range(4)])
            (output, state), pullback = by_hand.rnn.vjp(x, state if t else None)
            logits, head_pullback = by_hand.head.vjp(output)
            loss, d_logits = fastrnn.losses.softmax_cross_entropy(logits, y)
            d_head = head_pullback(d_logits)
            grads = [pullback(d_head.input).params, d_head.params]
            fastrnn.optim.clip_grad_norm(grads, 0.5)
            optimizer.step(grads)
            assert_close(np.float64(trainer.advance()), loss / math.log(2), atol=1e-12)

    def test_learns(self, tmp_path):
        config = replace(CONFIG, hidden=16, seq_len=8, steps=150, lr=2e-2)
        trainer = trained(tmp_path / "m", config, "hello world\n" * 30)
        assert trainer.validate() < 0.1
        written = "".join(charlm.sample(trainer.model, "hel", 21, temperature=0))
        assert written == "lo world\nhello world\n"

    def test_reports_every_step(self, tmp_path):
        reports = []
        charlm.Trainer(CONFIG, TEXT).run(tmp_path / "m", reports.append)
        assert [report.step for report in reports] == [1, 2, 3, 4, 5, 6]
        assert reports[0].characters_per_second == 0
        assert all(report.characters_per_second > 0 for report in reports[1:])
        assert all(0 < report.bits_per_character < 6 for report in reports)

    def test_text_of_one_character(self, tmp_path):
        trainer = trained(tmp_path / "m", text="a" * 50)
        assert trainer.validate() == 0
        assert "".join(charlm.sample(trainer.model, length=3)) == "aaa"

    @pytest.mark.parametrize(("batch", "seq_len", "needed"), [(3, 4, 15), (1, 1, 11), (9, 1, 12)])
    def test_shortest_text(self, batch, seq_len, needed, tmp_path):
        config = replace(CONFIG, batch=batch, seq_len=seq_len)
        trainer = trained(tmp_path / "m", config, TEXT[:needed])
        assert math.isfinite(trainer.validate())
        with pytest.raises(ValueError, match=rf"{needed - 1} characters; .* need {needed}: give"):
            charlm.Trainer(config, TEXT[: needed - 1])

    def test_empty_text(self):
        with pytest.raises(ValueError, match="the text has 0 characters"):
            charlm.Trainer(CONFIG, "")

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_divergence_updates_nothing(self, value):
        trainer = charlm.Trainer(CONFIG, TEXT)
        trainer.advance()
        trainer.model.head.params["bias"][0] = value
        before = {name: param.copy() for name, param in trainer.model.rnn.params.items()}
        with pytest.raises(FloatingPointError, match=r"diverged at step 2: .* lower --lr"):
            trainer.advance()
        assert trainer.step == 1
        for name, param in trainer.model.rnn.params.items():
            assert_close(param, before[name], atol=0, name=name)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"cell": "mamba"}, "--cell must be one of .*lstm.*; got 'mamba'"),
            ({"optimizer": "lion"}, "--optimizer must be one of adam, .*, sgd; got 'lion'"),
            ({"seq_len": 0}, "--seq-len must be a whole number of at least 1; got 0"),
            ({"hidden": 1.5}, "--hidden must be a whole number of at least 1; got 1.5"),
            ({"seed": -1}, "--seed must be a whole number of at least 0; got -1"),
            ({"lr": 0.0}, "--lr must be finite and above 0; got 0.0"),
            ({"lr": math.nan}, "--lr .* got nan"),
            ({"lr": math.inf}, "--lr .* got inf"),
            ({"clip": -1.0}, "--clip must be .* got -1.0"),
            ({"clip": math.nan}, "--clip .* got nan"),
        ],
    )
    def test_options_out_of_range(self, options, message):
        with pytest.raises(ValueError, match=message):
            charlm.Config(**options)


class TestBitsPerCharacter:
    @pytest.mark.parametrize("length", [2, 3, 32, 33, 34, 500])
    def test_every_character_given_all_before_it(self, length):
        model = charlm.Trainer(CONFIG, TEXT).model
        indices = np.random.default_rng(1).integers(0, 6, length)
        logits = model.head(model.rnn(indices[:-1, None])[0])[:, 0].astype(np.float64)
        chosen = logits[np.arange(length - 1), indices[1:]]
        bits = (np.log(np.exp(logits).sum(1)) - chosen).mean() / math.log(2)
        assert_close(np.float64(charlm.bits_per_character(model, indices)), bits, atol=1e-5)

    def test_long_text_counts_every_character_once(self):
        model = charlm.Trainer(CONFIG, TEXT).model
        for param in model.head.params.values():
            param[...] = 0
        indices = np.random.default_rng(1).integers(0, 6, 20_001)
        bits = charlm.bits_per_character(model, indices)
        assert_close(np.float64(bits), np.log2(6), atol=1e-6)


class TestSample:
    @pytest.fixture
    def model(self):
        model = charlm.Trainer(CONFIG, TEXT).model
        for param in model.head.params.values():
            param[...] *= 10  # decided enough for temperature to matter
        return model

    @pytest.mark.parametrize("prompt", ["abc", "\n"])
    def test_greedy_takes_the_likeliest(self, prompt, model):
        index = np.array([model.vocabulary.index(character) for character in prompt])
        logits = model.head(model.rnn(index[:, None])[0])[-1, 0]
        greedy = list(charlm.sample(model, prompt, 5, temperature=0))
        assert greedy[0] == model.vocabulary[logits.argmax()]
        for seed, temperature in ((1, 0), (2, 1e-5), (3, 1e-320)):
            assert list(charlm.sample(model, prompt, 5, temperature, seed)) == greedy

    def test_no_prompt_is_the_start_of_a_line(self, model):
        assert list(charlm.sample(model)) == list(charlm.sample(model, "\n"))

    def test_seed(self, model):
        first = list(charlm.sample(model, seed=1))
        assert len(first) == 500
        assert first == list(charlm.sample(model, seed=1))
        assert first != list(charlm.sample(model, seed=2))

    def test_temperature_flattens(self, model):
        hot, cold = (list(charlm.sample(model, temperature=t)) for t in (1e9, 0.01))
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
            charlm.sample(model, **arguments)

    def test_diverged_model(self, model):
        model.head.params["bias"][0] = np.nan
        with pytest.raises(FloatingPointError, match="not finite"):
            list(charlm.sample(model))
