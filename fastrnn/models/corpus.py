r"""Files as one text, and a text as indices.

UTF-8 in, \n as the only line end, one index per code point. There is no tokeniser here.
"""

from collections.abc import Sequence
from pathlib import Path
from pydoc_data.topics import topics

from numpy.typing import NDArray

from fastrnn.models import vocabulary


def read_text(paths: Sequence[Path] = ()) -> str:
    r"""Return the texts of UTF-8 files, joined by blank lines.

    Args:
        paths: the files, whose lines may end in \n, \r\n or \r; with none, the text that every
            Python installation carries: the topics of `help()`, in sorted order.

    Raises:
        ValueError: a file is not UTF-8.
        OSError: a file cannot be read.
    """
    texts = map(_decode, paths) if paths else (topics[name] for name in sorted(topics))
    return "\n\n".join(texts)


def encode(text: str) -> tuple[str, NDArray]:
    """Return the distinct characters of a text, sorted, and each character's index among them.

    Args:
        text: at least one character.

    Returns:
        vocabulary: the characters.
        indices: (len(text),) of the smallest unsigned integer type that holds them.

    Example:
        >>> encode("hello")
        ('ehlo', array([1, 0, 2, 2, 3], dtype=uint8))
    """
    characters, indices = vocabulary.learn(vocabulary.codes(text), text=True)
    return str(characters), indices


def _decode(path: Path) -> str:
    try:
        text = path.read_bytes().decode()
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise ValueError(
            f"{path} is not UTF-8: byte {byte:#04x} at position {error.start}; convert it, e.g. "
            "iconv -f LATIN1 -t UTF-8"
        ) from None
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
