"""The character language model behind `fastrnn train` and `fastrnn sample`.

A recurrent layer reads a text character by character, and a linear layer on top of it predicts the
next one: `text` becomes indices, `training` fits a `model`, and a `file` keeps both. Nothing here
prints or parses arguments (that is `__main__`), and nothing knows a cell: any layer will do.
"""

from fastrnn.charlm.config import LAYERS, OPTIMIZERS, Config
from fastrnn.charlm.model import Model, bits_per_character, load, sample
from fastrnn.charlm.text import encode, read_text
from fastrnn.charlm.training import Progress, Trainer

__all__ = [
    "LAYERS",
    "OPTIMIZERS",
    "Config",
    "Model",
    "Progress",
    "Trainer",
    "bits_per_character",
    "encode",
    "load",
    "read_text",
    "sample",
]
