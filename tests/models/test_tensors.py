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


def test_what_belongs_to_nothing():
    tensors.check({"a.b": np.ones(1), "a": np.ones(1)}, ["a"])
    with pytest.raises(ValueError, match=r"^'ab\.c' belongs to nothing here"):
        tensors.check({"a.b": np.ones(1), "ab.c": np.ones(1)}, ["a"])


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("a", None, "^'a' is missing"),
        ("b", np.ones(3), "^'b' is unknown"),
        ("a", np.ones(4), r"^a is float64 \(4,\); expected float64 \(3,\)"),
        ("a", np.ones(3, np.float32), r"^a is float32 \(3,\); expected float64 \(3,\)"),
    ],
)
def test_not_alike(name, value, message):
    found = {
        key: array for key, array in {"a": np.ones(3), name: value}.items() if array is not None
    }
    tensors.check_alike({"a": np.zeros(3)}, {"a": np.ones(3)})
    with pytest.raises(ValueError, match=message):
        tensors.check_alike(found, {"a": np.ones(3)})
