"""Values as JSON has them: what comes back is equal and of the same type, or it is refused."""

import datetime
import decimal
import fractions
import json
import uuid

import numpy as np
import pytest

from fastrnn.models import plain

DAY = datetime.date(2024, 2, 29)
TUPLES = np.empty(2, object)
TUPLES[:] = [(1, "a"), (2, DAY)]
VALUES = [
    None,
    True,
    3,
    10**40,
    0.1,
    float("inf"),
    "é\0\ud800😀",
    b"\xff\0",
    1 + 2j,
    DAY,
    datetime.datetime(2024, 1, 1, 3, 4, 5, 6, datetime.UTC),
    [],
    [1, [2, (3, [4])]],
    (),
    (1, (2.5, None)),
    {},
    {"a": {"b": (1, 2)}},
    {0: 1.0, "1": 2, (1, 2): None},
    {"dtype": "<i8", "values": [1]},
    {"tuple": 1},
    {"date": {"pairs": [1]}},
]
ARRAYS = [
    np.array([1, 2**63 - 1]),
    np.array([2**64 - 1], np.uint64),
    np.array([1, -1], np.int8),
    np.array([1, 2], ">i4"),
    np.array([True, False]),
    np.array([0.1, np.inf, np.nan], np.float32),
    np.array([0.1], np.float16),
    np.array([0.1]),
    np.array(["a", "é\ud800", "😀"]),
    np.array(["a"], "<U50"),
    np.array([b"a", b"\xff\xfe"]),
    np.array([1 + 2j]),
    np.array([2j], np.complex64),
    np.array(["2024-01-01", "NaT"], "datetime64[D]"),
    np.array([10**18], "datetime64[ns]"),
    np.array([1, 2], "timedelta64[s]"),
    np.array(["x", 3, 2.5, None, 10**30, b"b"], object),
    TUPLES,
    np.array([], np.int32),
]


def there_and_back(value):
    return plain.decode(json.loads(json.dumps(plain.encode(value))))


def same(one, other):
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        pairs = zip(one.items(), other.items(), strict=True)
        return len(one) == len(other) and all(same(*pair) for pair in pairs)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


@pytest.mark.parametrize("value", VALUES, ids=str)
def test_values(value):
    assert same(there_and_back(value), value)


@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: f"{array.dtype} {len(array)}")
def test_arrays(array):
    found = there_and_back(array)
    assert found.dtype == array.dtype
    assert found.dtype.str == array.dtype.str
    assert str(found.tolist()) == str(array.tolist())


@pytest.mark.parametrize("kind", [np.float32, np.int8, np.bool_, np.str_])
def test_numpy_scalars(kind):
    assert there_and_back({"a": (kind(1),)}) == {"a": (kind(1).item(),)}


@pytest.mark.parametrize(
    "value",
    [
        len,
        object(),
        {1},
        decimal.Decimal(1),
        fractions.Fraction(1, 3),
        uuid.UUID(int=1),
        np.longdouble(1),
        np.array([1], np.longdouble),
        np.array([decimal.Decimal(1)]),
        np.zeros(2, [("a", int)]),
        {"a": [object()]},
    ],
    ids=lambda value: type(value).__name__,
)
def test_refused(value):
    with pytest.raises(TypeError, match="no file can hold"):
        plain.encode(value)


@pytest.mark.parametrize(
    "value",
    [
        {"dtype": "<U999999999", "values": ["a", "b"]},
        {"dtype": "<i8", "values": "ab"},
        {"dtype": ["<i8"], "values": [1]},
        {"dtype": "nonsense", "values": [1]},
        {"dtype": "|u1", "values": [300]},
        {"dtype": "|u1", "values": [1.5]},
        {"dtype": "<U1", "values": ["ab"]},
        {"dtype": "<i8", "values": [[1], [2, 3]]},
        {"dtype": "<M8[D]", "values": ["x"]},
        {"tuple": 3},
        {"bytes": "€"},
        {"bytes": 3},
        {"complex": [1, 2, 3]},
        {"date": "yesterday"},
        {"datetime": 3},
        {"pairs": [[1]]},
        {"pairs": [[[1], 2]]},
    ],
    ids=str,
)
def test_what_does_not_come_from_here(value):
    with pytest.raises((ArithmeticError, AttributeError, TypeError, ValueError)):
        plain.decode(value)
