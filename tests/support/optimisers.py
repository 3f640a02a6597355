"""Every update rule with its options, and random parameters in two dicts, for tests of optim/."""

import numpy as np
import pytest

RULES = [
    ("SGD", {}),
    ("SGD", {"weight_decay": 0.1}),
    ("SGD", {"momentum": 0.9}),
    ("SGD", {"momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1}),
    ("SGD", {"momentum": 0.9, "nesterov": True}),
    ("SGD", {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    ("RMSprop", {}),
    ("RMSprop", {"alpha": 0.9, "eps": 1e-3, "weight_decay": 0.1}),
    ("RMSprop", {"momentum": 0.9}),
    ("RMSprop", {"centered": True}),
    ("RMSprop", {"centered": True, "momentum": 0.9, "weight_decay": 0.1}),
    ("Adam", {}),
    ("Adam", {"betas": (0.3, 0.9), "eps": 1e-3, "weight_decay": 0.1}),
    ("Adam", {"amsgrad": True}),
    ("Adam", {"amsgrad": True, "weight_decay": 0.1}),
    ("AdamW", {}),
    ("AdamW", {"betas": (0.0, 0.5), "weight_decay": 0.3}),
    ("AdamW", {"amsgrad": True}),
]
IDS = ["-".join([name, *options]) for name, options in RULES]
every_rule = pytest.mark.parametrize(("name", "options"), RULES, ids=IDS)
SHAPES = [
    {"weight_ih_l0": (4, 3), "bias_ih_l0": (4,)},
    {"weight": (2, 4), "scalar": (), "none": (0, 2)},
]


def draw(rng, dtype=np.float64):
    return [
        {k: np.asarray(rng.normal(size=s), dtype) for k, s in group.items()} for group in SHAPES
    ]


def copy(groups):
    return [{k: a.copy() for k, a in group.items()} for group in groups]


def pairs(groups, others):
    for group, other in zip(groups, others, strict=True):
        for name in group:
            yield name, group[name], other[name]
