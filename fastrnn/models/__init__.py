"""Recurrent networks for the five shapes of the textbook, with scikit-learn's conventions.

| shape | model |
|---|---|
| many to one (one to one where T = 1) | RNNClassifier, RNNRegressor |
| many to many, in step | RNNTagger |
| one to many | RNNGenerator |
| many to many, encoder and decoder | Seq2Seq |

How it reads: X, y and `weights` pass a `guard`, tables by their `columns`; they are checked in
`reading` and `targets`, and become `sequences` of indices into a `vocabulary`. They come in
`batches` to a `network`, which `training` updates and `fitting` fits, as `options` say; a
`checkpoint` lets it go on later. An `estimator` is the form in which users meet
all that, and `saving` keeps it in a `file`. What a trained network writes is drawn by `sampling` or
found by `search`. Everything here is thin: what takes time is in the layers. README.md beside this
file is for users.
"""

from fastrnn.models.classifier import RNNClassifier
from fastrnn.models.estimator import load
from fastrnn.models.generator import RNNGenerator
from fastrnn.models.not_fitted import NotFittedError
from fastrnn.models.regressor import RNNRegressor
from fastrnn.models.seq2seq import Seq2Seq
from fastrnn.models.tagger import RNNTagger

__all__ = [
    "NotFittedError",
    "RNNClassifier",
    "RNNGenerator",
    "RNNRegressor",
    "RNNTagger",
    "Seq2Seq",
    "load",
]
