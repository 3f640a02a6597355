"""Files of arrays and texts: written atomically, and read only if they are what they should be."""

import json
import os
import random
import struct

import numpy as np
import pytest

import fastrnn
from fastrnn.models import file
from tests.support.model_files import contents, rewrite, safetensors

ARRAYS = {"a.w": np.arange(6.0).reshape(2, 3), "a.b": np.ones(0, np.float32)}
TEXTS = {"who": "é😀", "what": "{}"}


@pytest.fixture
def path(tmp_path):
    file.write(tmp_path / "m", ARRAYS, TEXTS)
    return tmp_path / "m"


def test_round_trip(path):
    arrays, texts = file.read(path, "nobody")
    assert texts == TEXTS
    assert arrays.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert arrays[name].dtype == array.dtype
        assert np.array_equal(arrays[name], array)


def test_saving_is_atomic(path, monkeypatch):
    def no_space(number):
        raise OSError(28, "No space left on device")

    before = path.read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", no_space)
        with pytest.raises(OSError, match="No space"):
            file.write(path, {"a.w": np.zeros(3)}, TEXTS)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_ctrl_c_while_writing(path, monkeypatch):
    def interrupted(number):
        raise KeyboardInterrupt

    before = path.read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", interrupted)
        with pytest.raises(KeyboardInterrupt):
            file.write(path, {"a.w": np.zeros(3)}, TEXTS)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "m")
    file.write(tmp_path / "link", ARRAYS, TEXTS)
    assert (tmp_path / "link").is_symlink()
    file.read(tmp_path / "m", "nobody")


def test_where_nothing_can_be_written(tmp_path):
    with pytest.raises(ValueError, match="is not a file, so no model can be saved there"):
        file.write(tmp_path, ARRAYS, TEXTS)
    with pytest.raises(FileNotFoundError):
        file.write(tmp_path / "none" / "m", ARRAYS, TEXTS)


def test_missing(tmp_path):
    for path in (tmp_path / "m", tmp_path):
        with pytest.raises(FileNotFoundError, match=r"there is no file .*; the test writes one"):
            file.read(path, "the test")


@pytest.mark.parametrize("raw", [b"", b"PK\3\4 no such thing", b"\xff" * 100])
def test_not_safetensors(raw, tmp_path):
    (tmp_path / "m").write_bytes(raw)
    with pytest.raises(ValueError, match="m is no safetensors file, or a damaged one: "):
        file.read(tmp_path / "m", "nobody")


def test_truncated(path):
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match="m is no safetensors file, or a damaged one: "):
        file.read(path, "nobody")


def test_the_memory_of_an_array_may_lie_as_it_likes(tmp_path):
    square = np.arange(16.0).reshape(4, 4)
    arrays = {
        "transposed": square.T,
        "strided": square[::2, ::3],
        "reversed": square[::-1],
        "swapped": square.astype(">f8"),
        "scalar": np.array(3),
        "fortran": np.asfortranarray(square),
    }
    file.write(tmp_path / "m", arrays, {})
    found, _ = file.read(tmp_path / "m", "nobody")
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        assert found[name].shape == array.shape
        assert found[name].dtype.isnative
        assert np.array_equal(found[name], array)


def damaged(raw, chance):
    """A file that is not quite what it was."""
    data, at = bytearray(raw), chance.randrange(len(raw))
    how = chance.choice(["bit", "byte", "cut", "more", "none"])
    if how == "bit":
        data[at] ^= 1 << chance.randrange(8)
    elif how == "byte":
        data[at] ^= chance.randrange(1, 256)
    elif how == "cut":
        del data[at:]
    elif how == "more":
        data[at:at] = b"\0"
    else:
        data[at : at + 9] = bytes(len(data[at : at + 9]))
    return bytes(data)


def test_damage_is_found_wherever_it_is(path):
    raw, chance = path.read_bytes(), random.Random(0)
    every = [bytes([*raw[:k], raw[k] ^ 1 << k % 8, *raw[k + 1 :]]) for k in range(len(raw))]
    some = [damaged(raw, chance) for _ in range(500)]
    for data in [*every, *some]:
        if data == raw:
            continue
        path.write_bytes(data)
        with pytest.raises(ValueError, match=r"m is (damaged: |no safetensors file, or a damaged)"):
            file.read(path, "nobody")


def test_a_file_without_a_checksum_is_read(path):
    """As earlier versions wrote them."""
    rewrite(path)
    assert "checksum" not in contents(path)[1]
    assert file.read(path, "nobody")[1] == TEXTS


@pytest.mark.parametrize("name", ["checksun", "Checksum", "x"])
def test_a_checksum_under_another_name(name, path):
    arrays, texts = contents(path)
    texts[name] = texts.pop("checksum")
    path.write_bytes(safetensors.save(arrays, texts))
    with pytest.raises(ValueError, match="m is damaged: what is in it does not have its checksum"):
        file.read(path, "nobody")


def raw_file(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def one(dtype, shape, length):
    return {"t": {"dtype": dtype, "shape": shape, "data_offsets": [0, length]}}


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        *(
            (raw_file(one(dtype, [4], length), bytes(length)), f"'t' is {dtype}; expected F32")
            for dtype, length in (
                ("F8_E4M3", 4),
                ("F8_E5M2", 4),
                ("BF16", 8),
                ("F16", 8),
                ("BOOL", 4),
            )
        ),
        (raw_file(one("F7_NEW", [4], 4), bytes(4)), "F7_NEW"),
        (raw_file(one("F32", [10**18], 4), bytes(4)), ""),
        (raw_file(one("F32", [1] * 100, 4), bytes(4)), ""),
        (struct.pack("<Q", 2**31) + b"{}", "it does not begin as one"),
        (struct.pack("<Q", 2**63) + b"{}", "it does not begin as one"),
        (bytes(10_000), "it does not begin as one"),
        (raw_file(b"{" * 90_000), ""),
        (raw_file(b"[]"), ""),
        (raw_file(b'{"__metadata__": {"a": 1}}'), ""),
        (raw_file(b'{"__metadata__": {"a": "1", "a": "2"}}'), "comes twice"),
    ],
)
def test_strange_files(raw, message, tmp_path):
    (tmp_path / "m").write_bytes(raw)
    with pytest.raises(
        ValueError, match=f"m is no safetensors file, or a damaged one: .*{message}"
    ):
        file.read(tmp_path / "m", "nobody")


def test_a_file_that_is_too_large_to_be_one(tmp_path):
    """It is refused by its first bytes, not read."""
    with (tmp_path / "m").open("wb") as made:
        made.truncate(1 << 42)
    with pytest.raises(ValueError, match="it does not begin as one"):
        file.read(tmp_path / "m", "nobody")


def test_a_name_on_one_line(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"^there is no file '.*a\\nb'; nobody writes one$"):
        file.read(tmp_path / "a\nb", "nobody")


def test_what_may_not_be_read(path, monkeypatch):
    """It is there: so that is not what is said."""

    def refused(*args, **options):
        raise PermissionError(13, "Permission denied", str(path))

    with monkeypatch.context() as patched:
        patched.setattr(type(path), "open", refused)
        with pytest.raises(PermissionError, match="m'"):
            file.read(path, "nobody")
    if os.name == "posix" and os.geteuid() != 0:
        path.chmod(0)
        with pytest.raises(PermissionError, match="m'"):
            file.read(path, "nobody")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_not_finite(value, path):
    head = fastrnn.Linear(2, 3)
    arrays = {f"a.{name}": param.copy() for name, param in head.params.items()}
    arrays["a.bias"][1] = value
    with pytest.raises(ValueError, match=r"m: a\.bias is not finite: its training diverged"):
        file.restore(path, arrays, {"a": head})


def test_what_belongs_to_nobody(path):
    head = fastrnn.Linear(2, 3)
    arrays = {f"a.{name}": param for name, param in head.params.items()} | {"b.c": np.ones(3)}
    file.restore(path, arrays, {"a": head}, ["b"])
    with pytest.raises(ValueError, match=r"m: 'b\.c' belongs to nothing here"):
        file.restore(path, arrays, {"a": head})


def test_what_does_not_fit_names_the_file(path):
    arrays, _ = file.read(path, "nobody")
    with pytest.raises(ValueError, match=r"m: a\.\* does not fit: "):
        file.restore(path, arrays, {"a": fastrnn.Linear(2, 3)})
