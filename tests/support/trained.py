"""A character model small enough to train in a test, for the tests of charlm/."""

import numpy as np

from fastrnn import charlm

TEXT = "".join(np.random.default_rng(0).choice(list("abc d\n"), 300))
CONFIG = charlm.Config(hidden=5, seq_len=4, batch=3, steps=6, lr=1e-2)


def ignore(progress):
    pass


def trained(path, config=CONFIG, text=TEXT):
    trainer = charlm.Trainer(config, text)
    trainer.run(path, ignore)
    return trainer
