"""Hyper-parameters: scikit-learn's ways with them, and every range."""

import inspect
import math
import re
from functools import partial

import numpy as np
import pytest

from fastrnn import init
from fastrnn.models import RNNClassifier, RNNGenerator, RNNRegressor, RNNTagger, Seq2Seq
from fastrnn.models.options import OPTIMIZERS, Options
from fastrnn.nn.registry import CELL_NAMES, layer_class

DATA = ["ab", "b", "ba", "aa"], [0, 1, 0, 1]
KINDS = [RNNClassifier, RNNRegressor, RNNTagger, RNNGenerator, Seq2Seq]
DATA_OF = {RNNTagger: (DATA[0], DATA[0]), RNNGenerator: (DATA[0],), Seq2Seq: (DATA[0], DATA[0])}


def test_get_and_set():
    model = RNNClassifier(8, lr=0.5)
    assert model.get_params() == model.get_params(deep=False)
    assert next(iter(model.get_params())) == "hidden_size"
    assert (model.get_params()["hidden_size"], model.get_params()["lr"]) == (8, 0.5)
    assert model.set_params(lr=0.1, cell="gru") is model
    assert (model.lr, model.cell) == (0.1, "gru")
    with pytest.raises(ValueError, match=r"RNNClassifier has no parameter 'depth'; it has hidden_"):
        model.set_params(lr=7, depth=2)
    assert model.lr == 0.1


def test_clone_is_not_fitted():
    model = RNNTagger(4, epochs=1, optimizer_options={"eps": 1e-7}).fit(["ab"], ["xy"])
    copy = model.clone()
    assert type(copy) is RNNTagger
    assert copy.get_params() == model.get_params()
    assert not hasattr(copy, "rnn_")


def test_defaults_that_differ():
    assert RNNTagger().bidirectional
    assert not Seq2Seq().bidirectional
    assert RNNGenerator().truncate == 128
    assert RNNClassifier().truncate is None


def test_only_hidden_size_goes_without_a_name():
    assert RNNTagger(3).hidden_size == 3
    with pytest.raises(TypeError):
        RNNTagger(3, "gru")


def test_repr_shows_what_was_changed():
    assert repr(RNNTagger()) == "RNNTagger()"
    assert repr(RNNTagger(64, bidirectional=True)) == "RNNTagger()"
    assert repr(RNNTagger(3, cell="gru")) == "RNNTagger(hidden_size=3, cell='gru')"


def described(kind):
    """Return the arguments of a class's docstring, each with what is said of it, on one line."""
    section = inspect.cleandoc(kind.__doc__).partition("Args:\n")[2].partition("\n\n")[0]
    found = re.findall(r"^    (\w+): (.*?)(?=\n    \w|\Z)", section, re.MULTILINE | re.DOTALL)
    return {name: " ".join(text.split()) for name, text in found}


@pytest.mark.parametrize("kind", KINDS)
def test_the_docstring_stands_alone(kind):
    """Every argument with its default, and every attribute that fit sets."""
    parameters = inspect.signature(kind).parameters
    told = described(kind)
    assert list(told) == list(parameters)
    for name, parameter in parameters.items():
        default = re.search(r"default ([^;]*)\.$", told[name])
        if name == "bidirectional" and kind is RNNGenerator:
            continue  # it has no choice
        assert eval(default[1]) == parameter.default, name
    model = kind(3, epochs=1).fit(*DATA_OF.get(kind, DATA))
    section = inspect.cleandoc(kind.__doc__).partition("Attributes:\n")[2].partition("\n\n")[0]
    attributes = re.findall(r"^    (\w+): ", section, re.MULTILINE)
    found = {name for name in vars(model) if name.endswith("_")}
    assert {*attributes} - found == {*model.optional}  # of data that is not here
    assert found <= {*attributes}


@pytest.mark.parametrize("kind", KINDS)
def test_the_docstrings_say_the_same(kind):
    """But of an argument whose default or meaning is the model's own."""
    own = {
        RNNClassifier: {"class_weight"},
        RNNTagger: {"bidirectional", "class_weight"},
        RNNGenerator: {
            "bidirectional",
            "truncate",
            "batch_size",
            "epochs",
            "validation_fraction",
            "unknown",
        },
        Seq2Seq: {"hidden_size", "num_layers", "bidirectional"},
    }.get(kind, set())
    told, shared = described(kind), described(Options)
    assert {name for name in told if told[name] != shared.get(name)} == own


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden_size": 0}, "hidden_size must be at least 1, got 0"),
        ({"hidden_size": 1.5}, "hidden_size should be of type int, got 1.5"),
        ({"num_layers": 0}, "num_layers must be at least 1"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"truncate": 0}, "truncate must be at least 1"),
        ({"patience": 0, "validation_fraction": 0.5}, "patience must be at least 1"),
        ({"patience": 3}, "validation_fraction = 0 leaves nothing"),
        ({"seed": -1}, "seed must be at least 0"),
        ({"seed": "a"}, "seed should be of type int"),
        ({"bidirectional": 1}, "bidirectional has to be True or False, got 1"),
        ({"verbose": None}, "verbose has to be True, False or a function"),
        ({"dropout": 1.5}, "dropout should be a number in .0, 1."),
        ({"dtype": "float16"}, "dtype must be np.float32 or np.float64"),
        ({"dtype": "int"}, "dtype must be np.float32 or np.float64"),
        ({"cell": "mamba"}, "cell must be one of rnn, relu, lstm, gru; got 'mamba'"),
        ({"optimizer": "lion"}, "optimizer must be one of adam, .*; got 'lion'"),
        ({"optimizer_options": {"momentum": 0.9}}, "has 'momentum'; 'adam' takes betas, eps"),
        ({"lr": 0.0}, "lr must be above 0 and finite, got 0.0"),
        ({"lr": math.nan}, "lr must be above 0"),
        ({"lr": math.inf}, "lr must be above 0"),
        ({"lr": "1"}, "lr must be above 0"),
        ({"lr_decay": 1.1}, "lr_decay must be above 0 and at most 1, got 1.1"),
        ({"clip_norm": 0}, "clip_norm must be above 0"),
        ({"clip_value": -1}, "clip_value must be above 0"),
        ({"validation_fraction": 1.0}, "validation_fraction must be above 0 and at most 0.9"),
        ({"validation_fraction": -0.1}, "validation_fraction must be above 0"),
        ({"init": "zeros"}, "init must be None, a callable or one of"),
        ({"truncate": 2, "bidirectional": True}, "truncate = 2 with bidirectional=True: the rev"),
    ],
    ids=str,
)
def test_ranges_are_checked_in_fit(options, message):
    model = RNNClassifier(**options)
    with pytest.raises((TypeError, ValueError), match=message):
        model.fit(*DATA)


@pytest.mark.parametrize("cell", CELL_NAMES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_choice_trains(cell, optimizer):
    model = RNNClassifier(4, cell=cell, optimizer=optimizer, epochs=2).fit(*DATA)
    assert type(model.rnn_) is layer_class(cell)[0]
    assert getattr(model.rnn_, "nonlinearity", cell) == {"rnn": "tanh"}.get(cell, cell)


def test_numbers_of_numpy_will_do():
    options = {"lr": np.float32(0.01), "dropout": np.float64(0.5), "num_layers": np.int64(2)}
    RNNClassifier(np.int32(4), epochs=1, bidirectional=np.True_, **options).fit(*DATA)


def test_init_may_be_a_function():
    model = RNNClassifier(4, epochs=1, lr=1e-9, init=lambda rnn: rnn.params["bias_ih_l0"].fill(7))
    assert (model.fit(*DATA).rnn_.params["bias_ih_l0"].round(3) == 7).all()


def test_init_by_name():
    model = RNNClassifier(4, cell="relu", epochs=1, lr=1e-9, init="identity").fit(*DATA)
    np.testing.assert_allclose(model.rnn_.params["weight_hh_l0"], np.eye(4), atol=1e-6)


@pytest.mark.parametrize("begin", ["orthogonal", partial(init.orthogonal, gain=0.5)])
def test_what_draws_is_given_the_seed(begin):
    models = [RNNClassifier(4, epochs=1, init=begin, seed=s).fit(*DATA) for s in (0, 0, 1)]
    first, again, other = (model.rnn_.params["weight_hh_l0"] for model in models)
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_a_seed_of_its_own_stays():
    models = [
        RNNClassifier(4, epochs=1, lr=1e-9, init=partial(init.orthogonal, seed=3), seed=seed)
        for seed in (0, 1)
    ]
    one, other = (model.fit(*DATA).rnn_.params["weight_hh_l0"] for model in models)
    np.testing.assert_allclose(one, other, atol=1e-6)


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int32, np.uint64])
@pytest.mark.parametrize(
    "option", ["hidden_size", "num_layers", "batch_size", "epochs", "truncate"]
)
def test_numpy_integers(option, kind):
    """They count as Python's do, and 64 * int8(100) does not overflow."""
    words, vectors = DATA[0] * 30, np.eye(4).repeat(30, axis=0)
    value = {"hidden_size": 100, "batch_size": 100}.get(option, 2)
    options = {"hidden_size": 4, "epochs": 2, "truncate": 3, "bidirectional": False}
    for model, data in (
        (RNNClassifier, (words, DATA[1] * 30)),
        (RNNTagger, (words, words)),
        (RNNGenerator, (words,)),
        (RNNGenerator, (vectors, words)),
        (RNNGenerator, ("hello world\n" * 100,)),
        (Seq2Seq, (words, words)),
    ):
        plain, other = (
            model(**options | {option: given}).fit(*data) for given in (value, kind(value))
        )
        assert other.history_["loss"] == plain.history_["loss"]
        assert type(other.get_params()[option]) is kind
