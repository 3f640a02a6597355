"""A run of `fastrnn train` small enough for a test, for those of cli/."""

import numpy as np

from fastrnn.cli.config import Config
from fastrnn.cli.training_run import TrainingRun

TEXT = "".join(np.random.default_rng(0).choice(list("abc d\n"), 300))
CONFIG = Config(hidden=5, seq_len=4, batch=3, steps=6, lr=1e-2)


def ignore(progress):
    pass


def trained(path, config=CONFIG, text=TEXT):
    run = TrainingRun(config, text)
    run.train(path, ignore)
    return run
