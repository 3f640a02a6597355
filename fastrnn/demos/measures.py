"""Measures of generated text: exact matches, and edit distance to the right text."""

from collections.abc import Sequence


def exact(found: Sequence[str], right: Sequence[str]) -> float:
    """Return the share of strings that are exactly right.

    Args:
        found: generated strings.
        right: what each of them should be.
    """
    return sum(a == b for a, b in zip(found, right, strict=True)) / len(right)


def character_error_rate(found: Sequence[str], right: Sequence[str]) -> float:
    """Return the number of edits that make generated strings right, per character of the latter.

    Args:
        found: generated strings.
        right: what each of them should be.
    """
    edits = sum(edit_distance(a, b) for a, b in zip(found, right, strict=True))
    return edits / sum(map(len, right))


def edit_distance(a: str, b: str) -> int:
    """Return how many characters to insert, delete or replace to turn one string into another.

    Args:
        a: one string.
        b: the other.

    Source: Wagner and Fischer (1974), "The string-to-string correction problem".

    Example:
        >>> edit_distance("kitten", "sitting")
        3
    """
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        diagonal, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (x != y))
    return row[-1]
