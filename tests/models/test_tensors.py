"""Arrays under full names: joined, taken apart, loaded, refused."""

import numpy as np
import pytest

import fastrnn
from fastrnn.models import tensors


def test_joined_and_taken_apart():
    parts = {"rnn": {"w": np.ones(2), "b.c": np.ones(3)}, "rnnn": {"w": np.zeros(1)}, "none": {}}
    found = tensors.join(parts)
    assert list(found) == ["rnn.w", "rnn.b.c", "rnnn.w"]
    assert {name: tensors.part(found, name) for name in parts} == parts


def test_restored():
    first, second = (fastrnn.Linear(2, 3, seed=seed) for seed in (0, 1))
    tensors.restore(tensors.join({"head": first.params}), {"head": second})
    assert (first.params["weight"] == second.params["weight"]).all()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("head.bias", None, r"^head\.\* does not fit: .*bias"),
        ("head.bias", np.ones(4, np.float32), r"^head\.\* does not fit: .*bias"),
        ("head.bias", np.ones(3), r"^head\.\* does not fit: .*bias"),
        ("head.more", np.ones(3), r"^head\.\* does not fit: .*more"),
    ],
)
def test_what_does_not_fit(name, value, message):
    head = fastrnn.Linear(2, 3)
    found = tensors.join({"head": head.params}) | {name: value}
    found = {name: array for name, array in found.items() if array is not None}
    with pytest.raises(ValueError, match=message):
        tensors.restore(found, {"head": head})
