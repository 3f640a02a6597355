"""Texts from files, and as indices."""

import numpy as np
import pytest

from fastrnn.models import corpus


def test_default_is_large_and_english():
    text = corpus.read_text()
    assert len(text) > 100_000
    assert 'The "assert" statement' in text


def test_files_are_joined_by_a_blank_line(tmp_path):
    paths = [tmp_path / "a", tmp_path / "b"]
    paths[0].write_bytes("naïve\n".encode())
    paths[1].write_bytes(b"b")
    assert corpus.read_text(paths) == "naïve\n\n\nb"


@pytest.mark.parametrize("raw", [b"a\r\nb\n", b"a\rb\r", b"\xef\xbb\xbfa\nb\r\n"])
def test_line_ends_and_byte_order_mark(raw, tmp_path):
    (tmp_path / "a").write_bytes(raw)
    assert corpus.read_text([tmp_path / "a"]) == "a\nb\n"


def test_not_utf8(tmp_path):
    (tmp_path / "latin").write_bytes(b"caf\xe9")
    with pytest.raises(ValueError, match=r"latin is not UTF-8: byte 0xe9 at position 3; conv"):
        corpus.read_text([tmp_path / "latin"])


@pytest.mark.parametrize(
    ("text", "dtype"),
    [
        ("a", np.uint8),
        ("hello\U0001f600\0", np.uint8),
        ("".join(map(chr, range(256))), np.uint8),
        ("".join(map(chr, range(257))), np.uint16),
    ],
)
def test_encode(text, dtype):
    vocabulary, indices = corpus.encode(text)
    assert list(vocabulary) == sorted(set(text))
    assert "".join(vocabulary[index] for index in indices) == text
    assert indices.dtype == dtype
