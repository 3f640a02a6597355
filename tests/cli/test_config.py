"""The options of `fastrnn train`: every range, and what they are called elsewhere."""

import math

import pytest

from fastrnn.cli.config import Config, flag
from fastrnn.models.options import OPTIMIZERS
from fastrnn.nn.registry import CELL_NAMES


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cell": "mamba"}, "--cell must be one of .*lstm.*; got 'mamba'"),
        ({"optimizer": "lion"}, "--optimizer must be one of adam, .*, sgd; got 'lion'"),
        ({"seq_len": 0}, "--seq-len must be a whole number of at least 1; got 0"),
        ({"hidden": 1.5}, "--hidden must be a whole number of at least 1; got 1.5"),
        ({"layers": True}, "--layers must be a whole number of at least 1; got True"),
        ({"batch": None}, "--batch must be a whole number of at least 1; got None"),
        ({"steps": "5"}, "--steps must be a whole number of at least 1; got '5'"),
        ({"optimizer": ["adam"]}, r"--optimizer must be one of .*; got \['adam'\]"),
        ({"cell": ["gru"]}, r"--cell must be one of .*; got \['gru'\]"),
        ({"lr": 10**400}, "--lr must be finite and above 0; got 1000"),
        ({"lr": True}, "--lr must be finite and above 0; got True"),
        ({"lr": "0.1"}, "--lr must be finite and above 0; got '0.1'"),
        ({"clip": None}, "--clip must be .* got None"),
        ({"seed": -1}, "--seed must be a whole number of at least 0; got -1"),
        ({"lr": 0.0}, "--lr must be finite and above 0; got 0.0"),
        ({"lr": math.nan}, "--lr .* got nan"),
        ({"lr": math.inf}, "--lr .* got inf"),
        ({"clip": -1.0}, "--clip must be .* got -1.0"),
        ({"clip": math.nan}, "--clip .* got nan"),
    ],
)
def test_options_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        Config(**options)


@pytest.mark.parametrize("cell", [*CELL_NAMES, "rnn_tanh"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_models_take_the_same_options(cell, optimizer):
    config = Config(cell, 5, layers=2, seq_len=7, batch=3, lr=0.1, optimizer=optimizer, seed=4)
    model = config.options()
    model.check()
    assert (model.cell, model.optimizer, model.hidden_size) == (cell, optimizer, 5)
    assert (model.num_layers, model.truncate, model.batch_size) == (2, 7, 3)
    assert (model.lr, model.clip_norm, model.seed) == (0.1, 1.0, 4)
    assert Config(clip=0.0).options().clip_norm is None


def test_flag():
    assert flag("seq_len") == "--seq-len"
