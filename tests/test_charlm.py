"""The character language model: what it reads, how it trains and resumes, its file, what it writes.

The command line around it is tested in test_main.py.
"""

import json
import math
from dataclasses import asdict, replace

import numpy as np
import pytest
import safetensors.numpy
from compare import assert_close

import fastrnn
from fastrnn import charlm

TEXT = "".join(np.random.default_rng(0).choice(list("abc d\n"), 300))
CONFIG = charlm.Config(hidden=5, seq_len=4, batch=3, steps=6, lr=1e-2)


def ignore(progress):
    pass


def trained(path, config=CONFIG, text=TEXT):
    trainer = charlm.Trainer(config, text)
    trainer.run(path, ignore)
    return trainer


def contents(path):
    with safetensors.safe_open(path, framework="numpy") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()


def assert_same_file(got, expected):
    (tensors, metadata), (wanted, wanted_metadata) = contents(got), contents(expected)
    assert metadata == wanted_metadata
    assert tensors.keys() == wanted.keys()
    for name in wanted:
        assert tensors[name].dtype == wanted[name].dtype, name
        assert tensors[name].tobytes() == wanted[name].tobytes(), name


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
            ({"optimizer": "lion"}, "--optimizer must be one of adam, rmsprop, sgd; got 'lion'"),
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


class TestResume:
    @pytest.mark.parametrize("optimizer", charlm.OPTIMIZERS)
    @pytest.mark.parametrize("cell", charlm.LAYERS)
    def test_is_the_uninterrupted_run(self, cell, optimizer, tmp_path):
        config = replace(CONFIG, cell=cell, layers=2, optimizer=optimizer)
        trained(tmp_path / "whole", config)
        trained(tmp_path / "half", replace(config, steps=3))
        trainer = charlm.Trainer.resume(tmp_path / "half", TEXT, {"steps": 6, "layers": 2})
        trainer.run(tmp_path / "rest", ignore)
        assert_same_file(tmp_path / "rest", tmp_path / "whole")

    def test_across_the_end_of_the_streams(self, tmp_path):
        config = replace(CONFIG, seq_len=30, steps=7)  # two chunks to a stream
        trained(tmp_path / "whole", config)
        trained(tmp_path / "part", replace(config, steps=1))
        for steps in range(2, 8):
            trainer = charlm.Trainer.resume(tmp_path / "part", TEXT, {"steps": steps})
            trainer.run(tmp_path / "part", ignore)
        assert_same_file(tmp_path / "part", tmp_path / "whole")

    def test_a_finished_run_stays_as_it_is(self, tmp_path):
        trained(tmp_path / "m")
        charlm.Trainer.resume(tmp_path / "m", TEXT, {}).run(tmp_path / "again", ignore)
        assert_same_file(tmp_path / "again", tmp_path / "m")

    @pytest.mark.parametrize(
        ("options", "text", "message"),
        [
            ({"hidden": 6}, TEXT, "m was trained with --hidden 5, not 6; leave the option out"),
            ({"seq_len": 8}, TEXT, "m was trained with --seq-len 4, not 8"),
            ({"lr": 0.5}, TEXT, "m was trained with --lr 0.01, not 0.5"),
            ({"steps": 5}, TEXT, "--steps 5 is the total, and .*m is already at 6"),
            ({}, TEXT + "a", "m was trained on another text; give the same files"),
        ],
    )
    def test_what_does_not_fit(self, options, text, message, tmp_path):
        trained(tmp_path / "m")
        with pytest.raises(ValueError, match=message):
            charlm.Trainer.resume(tmp_path / "m", text, options)

    @pytest.mark.parametrize(
        ("name", "replacement", "message"),
        [
            ("state.1", np.zeros((1, 3, 4), np.float32), r"state\.\* does not fit"),
            ("optimizer.step", None, r"m: optimizer\.\* does not fit: .*step"),
            ("rnn.weight_hh_l0", None, r"m: rnn\.\* does not fit: .*weight_hh_l0"),
        ],
    )
    def test_damaged_file(self, name, replacement, message, tmp_path):
        trained(tmp_path / "m")
        rewrite(tmp_path / "m", {name: replacement})
        with pytest.raises(ValueError, match=message):
            charlm.Trainer.resume(tmp_path / "m", TEXT, {})

    def test_state_is_missing(self, tmp_path):
        trained(tmp_path / "m")
        rewrite(tmp_path / "m", {"state.0": None, "state.1": None})
        with pytest.raises(ValueError, match=r"state\.\* does not fit"):
            charlm.Trainer.resume(tmp_path / "m", TEXT, {})


def rewrite(path, tensors=None, metadata=None):
    """Change a model file; None removes an entry."""
    for old, new in zip(parts := contents(path), (tensors or {}, metadata or {}), strict=True):
        old.update(new)
        for name in [name for name, value in old.items() if value is None]:
            del old[name]
    path.write_bytes(safetensors.numpy.save(*parts))


class TestFile:
    def test_contents(self, tmp_path):
        trainer = trained(tmp_path / "m")
        tensors, metadata = contents(tmp_path / "m")
        assert json.loads(metadata["vocabulary"]) == sorted(set(TEXT))
        assert json.loads(metadata["config"]).items() >= asdict(CONFIG).items()
        model = trainer.model
        for prefix, params in (("rnn.", model.rnn.params), ("head.", model.head.params)):
            for name, param in params.items():
                assert_close(tensors[prefix + name], param, atol=0)

    def test_loads_what_was_saved(self, tmp_path):
        trainer = trained(tmp_path / "m")
        model = charlm.load(tmp_path / "m")
        assert model.vocabulary == trainer.model.vocabulary
        assert list(charlm.sample(model)) == list(charlm.sample(trainer.model))

    def test_saving_is_atomic(self, tmp_path, monkeypatch):
        path = tmp_path / "m"
        trainer = trained(path)
        before = path.read_bytes()
        trainer.advance()

        def no_space(descriptor):
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patched:
            patched.setattr("os.fsync", no_space)
            with pytest.raises(OSError, match="No space"):
                trainer.save(path)
        assert path.read_bytes() == before
        assert list(tmp_path.iterdir()) == [path]

    def test_a_link_stays_a_link(self, tmp_path):
        (tmp_path / "link").symlink_to(tmp_path / "m")
        trained(tmp_path / "link")
        assert (tmp_path / "link").is_symlink()
        charlm.load(tmp_path / "m")

    def test_saved_at_once_where_it_can_be(self, tmp_path):
        trainer = charlm.Trainer(CONFIG, TEXT)
        with pytest.raises(ValueError, match="is not a file, so no model can be saved there"):
            trainer.run(tmp_path, ignore)
        with pytest.raises(FileNotFoundError):
            trainer.run(tmp_path / "none" / "m", ignore)
        assert trainer.step == 0

    def test_missing(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"there is no file .*m; `fastrnn train"):
            charlm.load(tmp_path / "m")

    @pytest.mark.parametrize("raw", [b"", b"PK\3\4 no such thing", b"\xff" * 100])
    def test_not_safetensors(self, raw, tmp_path):
        (tmp_path / "m").write_bytes(raw)
        with pytest.raises(ValueError, match="m is no safetensors file, or a damaged one: "):
            charlm.load(tmp_path / "m")

    def test_truncated(self, tmp_path):
        trained(tmp_path / "m")
        (tmp_path / "m").write_bytes((tmp_path / "m").read_bytes()[:-1])
        with pytest.raises(ValueError, match="m is no safetensors file, or a damaged one: "):
            charlm.load(tmp_path / "m")

    def test_folder(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="there is no file"):
            charlm.load(tmp_path)

    @pytest.mark.parametrize(
        ("tensors", "metadata", "message"),
        [
            ({}, {"vocabulary": None}, "not from `fastrnn train`: it lacks 'vocabulary'"),
            ({}, {"config": None}, "not from `fastrnn train`: it lacks 'config'"),
            ({"head.weight": None}, {}, "not from `fastrnn train`: it lacks 'head.weight'"),
            ({}, {"config": "{}"}, "it lacks 'step'"),
            ({}, {"config": "{"}, "metadata that make no sense here"),
            ({}, {"config": "[]"}, "metadata that make no sense here"),
            ({}, {"config": '{"step": 1, "text": "", "x": 1}'}, "metadata that make .*'x'"),
            ({}, {"config": '{"step": 1, "text": "", "hidden": "5"}'}, "metadata that .*--hidden"),
            ({}, {"config": '{"step": -1, "text": ""}'}, "metadata that make .*step"),
            ({}, {"vocabulary": '["a"]'}, r"head.weight has shape \(6, 5\); expected .*\(1, 5\)"),
            ({}, {"vocabulary": "7"}, "metadata that make no sense here"),
            (
                {"rnn.weight_ih_l0": np.zeros((20, 7), np.float32)},
                {},
                r"m: rnn\.\* does not fit: .*weight_ih_l0",
            ),
            ({"head.bias": np.zeros(6)}, {}, r"m: head\.\* does not fit: .*bias"),
            ({"head.extra": np.zeros(6)}, {}, r"m: head\.\* does not fit: .*extra"),
        ],
    )
    def test_not_a_model(self, tensors, metadata, message, tmp_path):
        trained(tmp_path / "m")
        rewrite(tmp_path / "m", tensors, metadata)
        with pytest.raises(ValueError, match=message):
            charlm.load(tmp_path / "m")


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
