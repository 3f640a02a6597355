"""Models in files: what comes back predicts the same bit for bit; and files that are none.

That writing is atomic is test_file.py's.
"""

import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import fastrnn
from fastrnn import models
from fastrnn.models import RNNClassifier, RNNGenerator, RNNRegressor, RNNTagger, Seq2Seq
from tests.support.model_files import rewrite, safetensors

WORDS = ["ab", "b", "ba", "aab", "bb", "a"]
VECTORS = np.random.default_rng(0).random((6, 4, 3))
SMALL = {"epochs": 2, "num_layers": 2}
CASES = [
    (RNNClassifier, {"cell": "relu"}, WORDS, ["x", "y", "x", "z", "x", "y"]),
    (RNNClassifier, {"bidirectional": True}, VECTORS, [3, 1, 3, 2, 1, 1]),
    (RNNClassifier, {"dtype": np.float64}, [[5, 7], [7], [5], [5], [7], [5]], [0.0, 2, 1, 2, 1, 2]),
    (RNNClassifier, {"truncate": 2}, [["ein", "Wort"], ["Wort"]] * 3, [True, False] * 3),
    (RNNClassifier, {}, WORDS, np.array(list("xyxyxy"), object)),
    (
        RNNRegressor,
        {"optimizer": "sgd", "optimizer_options": {"momentum": np.float32(0.5)}},
        VECTORS,
        VECTORS.sum(axis=1),
    ),
    (RNNRegressor, {"seed": None}, WORDS, np.arange(6.0)),
    (RNNTagger, {}, WORDS, [word.upper() for word in WORDS]),
    (RNNTagger, {"bidirectional": False}, VECTORS, np.arange(24).reshape(6, 4) % 5),
    (RNNGenerator, {"cell": "gru"}, VECTORS[:, 0], ["a\0", "é😀", '"', "\\", "a", "b"]),
    (Seq2Seq, {"bidirectional": True}, WORDS, [[1, 2], [3], [1], [2], [2], [1, 1]]),
    (Seq2Seq, {}, VECTORS, [["le", "chat"], ["chat"]] * 3),
]


@pytest.mark.parametrize(("kind", "options", "x", "y"), CASES)
def test_round_trip(kind, options, x, y, tmp_path):
    model = kind(4, **SMALL | options).fit(x, y)
    model.save(tmp_path / "m")
    for loaded in (kind.load(tmp_path / "m"), models.load(str(tmp_path / "m"))):
        assert type(loaded) is kind
        assert loaded.get_params() == model.get_params() | {"dtype": np.dtype(model.dtype).name}
        assert loaded.history_ == model.history_
        assert loaded.n_features_in_ == model.n_features_in_
        for name in ("vocabulary_", "classes_", "target_vocabulary_"):
            one, other = getattr(model, name, None), getattr(loaded, name, None)
            assert type(one) is type(other)
            assert np.array_equal(one, other)
            assert getattr(one, "dtype", None) == getattr(other, "dtype", None)
        ask = "predict_proba" if hasattr(model, "predict_proba") else "predict"
        expected, got = getattr(model, ask)(x), getattr(loaded, ask)(x)
        assert all(np.array_equal(a, b) for a, b in zip(expected, got, strict=True))
        assert loaded.score(x, y) == model.score(x, y)
        loaded.fit(x, y)  # and it can be fitted again


@pytest.mark.parametrize("x", ["a text, a text\n" * 20, WORDS])
def test_generator_round_trip(x, tmp_path):
    model = RNNGenerator(4, epochs=1, truncate=4, batch_size=4).fit(x)
    model.save(tmp_path / "m")
    loaded = models.load(tmp_path / "m")
    assert loaded.generate("a", seed=3) == model.generate("a", seed=3)
    assert loaded.bridge_ is None


def test_what_is_in_the_file(tmp_path):
    model = RNNClassifier(4, epochs=1).fit(WORDS, [0, 1] * 3)
    model.save(tmp_path / "m")
    with safetensors.safe_open(tmp_path / "m", framework="numpy") as file:
        assert set(file.keys()) == {
            *(f"rnn.{name}" for name in model.rnn_.params),
            "head.weight",
            "head.bias",
        }
        metadata = file.metadata()
    assert metadata["model"] == "RNNClassifier"
    assert json.loads(metadata["options"])["hidden_size"] == 4
    assert json.loads(metadata["learnt"])["classes_"] == {"dtype": "<i8", "values": [0, 1]}


def test_a_function_is_not_kept(tmp_path):
    model = RNNClassifier(4, epochs=1, init=lambda rnn: None).fit(WORDS, [0, 1] * 3)
    model.save(tmp_path / "m")
    assert models.load(tmp_path / "m").init is None


def test_changed_parameters_are_saved_as_they_are(tmp_path):
    """`params` is the user's: another layout is saved right, what does not fit not at all."""
    model = RNNClassifier(4, epochs=1).fit(WORDS, [0, 1] * 3)
    params = model.rnn_.params
    params["weight_hh_l0"] = np.asfortranarray(params["weight_hh_l0"])
    params["weight_ih_l0"] = np.repeat(params["weight_ih_l0"], 2, axis=1)[:, ::2]
    model.save(tmp_path / "m")
    before = (tmp_path / "m").read_bytes()
    loaded = models.load(tmp_path / "m")
    assert (loaded.predict_proba(WORDS) == model.predict_proba(WORDS)).all()
    params["weight_hh_l0"] = np.ones((16, 5), np.float32)
    with pytest.raises(ValueError, match="weight_hh_l0 has shape"):
        model.save(tmp_path / "m")
    del params["weight_hh_l0"]
    with pytest.raises(KeyError):
        model.save(tmp_path / "m")
    assert (tmp_path / "m").read_bytes() == before


def test_four_threads_save(tmp_path):
    fits = [RNNClassifier(4, epochs=1, seed=k).fit(WORDS, [0, 1] * 3) for k in range(4)]
    wanted = [model.predict_proba(WORDS).tolist() for model in fits]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda model: [model.save(tmp_path / "m") for _ in range(60)], fits))
    assert [path.name for path in tmp_path.iterdir()] == ["m"]
    assert models.load(tmp_path / "m").predict_proba(WORDS).tolist() in wanted


def test_one_damaged_byte(tmp_path):
    """495 of them, in the tensors, were another model before."""
    RNNClassifier(4, epochs=1).fit(WORDS, [0, 1] * 3).save(tmp_path / "m")
    raw = (tmp_path / "m").read_bytes()
    chance = np.random.default_rng(0)
    for at, change in zip(
        chance.integers(0, len(raw), 495), chance.integers(1, 256, 495), strict=True
    ):
        damaged = bytearray(raw)
        damaged[at] ^= change
        (tmp_path / "m").write_bytes(damaged)
        with pytest.raises(ValueError, match=r"m (is|cannot)"):
            models.load(tmp_path / "m")


def test_another_class(tmp_path):
    RNNClassifier(4, epochs=1).fit(WORDS, [0, 1] * 3).save(tmp_path / "m")
    with pytest.raises(ValueError, match="it holds a RNNClassifier; expected RNNRegressor"):
        RNNRegressor.load(tmp_path / "m")


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no file .*m; `save` of a model writes"):
        models.load(tmp_path / "m")
    (tmp_path / "m").write_bytes(b"what")
    with pytest.raises(ValueError, match="m is no safetensors file"):
        models.load(tmp_path / "m")


@pytest.mark.parametrize(
    ("tensors", "metadata", "message"),
    [
        ({}, {"model": None}, "m is not from `save` of a model: it lacks 'model'"),
        ({}, {"model": "Perceptron"}, "m cannot be loaded: it holds a Perceptron; expected RNN"),
        ({}, {"options": "{"}, "m cannot be loaded: "),
        ({}, {"options": '{"depth": 3}'}, "m cannot be loaded: .*depth"),
        ({}, {"options": '{"lr": -1}'}, "m cannot be loaded: .*lr must be above 0"),
        ({}, {"options": '{"hidden_size": 1000000000}'}, "its options are too large for its tens"),
        ({}, {"options": '{"num_layers": 1000000000}'}, "its options are too large for its tens"),
        ({}, {"learnt": "{}"}, "it lacks 'vocabulary_'"),
        ({}, {"learnt": "[]"}, "m cannot be loaded: "),
        ({"head.bias": None}, {}, r"m: head\.\* does not fit: .*bias"),
        ({"head.bias": np.zeros(2)}, {}, r"m: head\.\* does not fit: .*bias"),
        ({"else.extra": np.zeros(2)}, {}, r"m: 'else\.extra' belongs to nothing here"),
        ({"rnn.extra": np.zeros(2)}, {}, r"m: rnn\.\* does not fit: .*extra"),
    ],
)
def test_damaged(tensors, metadata, message, tmp_path):
    path = tmp_path / "m"
    RNNClassifier(4, epochs=1).fit(WORDS, [0, 1] * 3).save(path)
    rewrite(path, tensors, metadata)
    with pytest.raises(ValueError, match=message):
        models.load(path)


def test_a_file_of_the_first_version(tmp_path):
    """As it laid files out, written here by hand, from layers of its own."""
    rnn, head = fastrnn.GRU(2, 4, seed=5), fastrnn.Linear(4, 3, seed=6)
    options = {
        "hidden_size": 4,
        "cell": "gru",
        "num_layers": 1,
        "bidirectional": False,
        "dropout": 0.0,
        "init": None,
        "optimizer": "sgd",
        "optimizer_options": {"momentum": 0.9},
        "lr": 0.1,
        "lr_decay": 1.0,
        "clip_norm": None,
        "clip_value": 0.5,
        "truncate": 7,
        "batch_size": 3,
        "epochs": 2,
        "validation_fraction": 0.25,
        "patience": 2,
        "dtype": "float32",
        "seed": 3,
        "verbose": False,
    }
    history = {"loss": [1.5, 1.25], "lr": [0.1, 0.1], "gradient_norm": [0.5, 0.25]}
    learnt = {
        "vocabulary_": "ab",
        "n_features_in_": 2,
        "history_": history,
        "classes_": {"dtype": "<i8", "values": [3, 5, 9]},
    }
    tensors = {f"rnn.{name}": param for name, param in rnn.params.items()}
    tensors |= {f"head.{name}": param for name, param in head.params.items()}
    metadata = {
        "model": "RNNClassifier",
        "options": json.dumps(options),
        "learnt": json.dumps(learnt),
    }
    (tmp_path / "m").write_bytes(safetensors.save(tensors, metadata))
    model = models.load(tmp_path / "m")
    assert type(model) is RNNClassifier
    younger = {"checkpoint": None, "unknown": "error", "class_weight": None}
    assert model.get_params() == options | younger
    assert model.history_ == history
    x = np.array([[0, 0, 1], [1, 0, 1]])
    logits = head(rnn(x.T)[1][0])
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    np.testing.assert_array_equal(
        model.predict_proba(["aab", "bab"]), odds / odds.sum(axis=1, keepdims=True)
    )
    assert model.predict(["aab"]).tolist() == [[3, 5, 9][logits[0].argmax()]]


def test_what_belongs_to_one_process_is_not_kept(tmp_path):
    model = RNNClassifier(4, epochs=1, verbose=lambda *done: None, checkpoint=tmp_path / "c")
    model.fit(WORDS, [0, 1] * 3).save(tmp_path / "m")
    loaded = models.load(tmp_path / "m")
    assert loaded.verbose is False
    assert loaded.checkpoint is None


@pytest.mark.parametrize(
    "weight", [{1: 2.0, 3: 0.5}, {np.int64(1): np.float32(2)}, "balanced", None]
)
def test_options_of_weights_and_symbols(weight, tmp_path):
    model = RNNClassifier(4, epochs=1, class_weight=weight, unknown="ignore")
    model.fit(WORDS, [1, 3] * 3, sample_weight=[1, 2, 3] * 2).save(tmp_path / "m")
    loaded = models.load(tmp_path / "m")
    assert loaded.class_weight == weight
    assert loaded.unknown == "ignore"
    given = [*WORDS, "az", "zz"]
    assert (loaded.predict_proba(given) == model.predict_proba(given)).all()
    again, more = (m.fit(WORDS, [1, 3] * 3).predict_proba(WORDS) for m in (loaded, model))
    assert (again == more).all()


def test_names_of_columns(tmp_path):
    pd = pytest.importorskip("pandas")
    tables = [pd.DataFrame({"a": [1.0, 2.0], "b": [0.0, 1.0]})] * 2
    model = RNNClassifier(4, epochs=1).fit(tables, [0, 1])
    model.save(tmp_path / "m")
    loaded = models.load(tmp_path / "m")
    assert loaded.feature_names_in_.tolist() == ["a", "b"]
    assert loaded.feature_names_in_.dtype == object
    with pytest.raises(ValueError, match="must be in the same order"):
        loaded.predict([table[["b", "a"]] for table in tables])
