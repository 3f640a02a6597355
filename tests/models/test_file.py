"""Files of arrays and texts: written atomically, and read only if they are what they should be."""

import numpy as np
import pytest

import fastrnn
from fastrnn.models import file

pytest.importorskip("safetensors")
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


def test_what_does_not_fit_names_the_file(path):
    arrays, _ = file.read(path, "nobody")
    with pytest.raises(ValueError, match=r"m: a\.\* does not fit: "):
        file.restore(path, arrays, {"a": fastrnn.Linear(2, 3)})
