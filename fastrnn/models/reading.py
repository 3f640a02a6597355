"""What users give as X or as sequences y: checked, and laid end to end as Sequences.

Nothing is learnt here but which symbols there are.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastrnn import checks
from fastrnn.models import vocabulary as symbols
from fastrnn.models.sequences import Sequences
from fastrnn.models.vocabulary import Vocabulary


def read(
    owner: str, name: str, given: Any, lengths: Any, dtype: np.dtype | None
) -> tuple[Sequences, bool]:
    """Return sequences of floats or of symbols, checked.

    Args:
        owner: the model, for errors.
        name: the argument.
        given: a list of arrays (T_n, I) of floats, of strings, or of sequences of integers or
            words; or one padded array, (N, T, I) of floats or (N, T) of integers.
        lengths: (N,) of the sequences in a padded array; None: all T.
        dtype: of floats; None: floats are refused.

    Returns:
        The sequences, and whether they are strings; then values are code points. Symbols are laid
        end to end in the order of the sequences.

    Raises:
        TypeError, ValueError: it is something else, or a sequence is empty.
    """
    where = f"{owner}: {name}"
    if isinstance(given, str | bytes):
        raise ValueError(f"{where} is one {type(given).__name__}; expected a list of sequences.")
    array = given if isinstance(given, np.ndarray) else None
    if array is None and not isinstance(given, Sequence) and hasattr(given, "__array__"):
        array = np.asarray(given)
    if array is not None and (array.ndim > 1 or array.dtype.kind in "fiub"):
        return _padded(where, array, lengths, dtype), False
    if lengths is not None:
        raise ValueError(f"{owner}: lengths goes with a padded array; {name} is a list already.")
    try:
        rows = list(given)
    except TypeError:
        raise TypeError(
            f"{where} is a {type(given).__name__}; expected a list of sequences or an array."
        ) from None
    if not rows:
        raise ValueError(f"{where} has no sequences; expected at least one.")
    text = isinstance(rows[0], str)
    arrays = []
    for n, row in enumerate(rows):
        if isinstance(row, str) != text:
            raise TypeError(f"{where} mixes strings and other sequences: {name}[{n}] is {row!r}.")
        try:
            arrays.append(np.asarray(row) if not text else row)
        except ValueError as error:
            raise ValueError(f"{where}[{n}] is no array: {error}") from None
        if np.ndim(arrays[n]) == 0 and not text:
            raise ValueError(f"{where}[{n}] is {row!r}; expected a sequence.")
        if not len(arrays[n]):
            raise ValueError(f"{where}[{n}] is empty; expected at least one step.")
    counts = np.array([len(row) for row in arrays])
    if text:
        values = symbols.codes("".join(arrays))
    else:
        _alike(where, name, arrays)
        values = _values(where, np.concatenate(arrays), arrays[0].ndim, dtype)
    result = Sequences(values, np.cumsum(counts) - counts, counts)
    _finite(where, name, result)
    return result, text


def _alike(where: str, name: str, arrays: list[NDArray]) -> None:
    for n, row in enumerate(arrays):
        if row.ndim > 2 or row.shape[1:] != arrays[0].shape[1:]:
            raise ValueError(
                f"{where}[{n}] has shape {row.shape}, and {name}[0] {arrays[0].shape}; expected "
                "(T_n, I) floats, with one I for all, or (T_n,) symbols."
            )
        kinds = {
            "f" if a.dtype.kind in "fiub" and a.ndim > 1 else a.dtype.kind for a in (row, arrays[0])
        }
        if len(kinds) > 1 and not kinds <= set("iub"):
            raise TypeError(
                f"{where}[{n}] is {row.dtype}, and {name}[0] {arrays[0].dtype}; expected one kind."
            )


def _padded(where: str, array: NDArray, lengths: Any, dtype: np.dtype | None) -> Sequences:
    """Return the rows of an array (N, T, I), or (N, T) of symbols."""
    if array.ndim not in (2, 3):
        raise ValueError(
            f"{where} has shape {array.shape}; expected (N, T, I) floats or (N, T) integers."
        )
    count, time = array.shape[:2]
    if not count or not time:
        raise ValueError(f"{where} has shape {array.shape}; expected at least one sequence, T > 0.")
    owner, _, name = where.partition(": ")
    if isinstance(lengths, list | tuple):
        lengths = np.asarray(lengths)
    checked = checks.lengths(owner, lengths, time, count, batched=True)
    checked = np.full(count, time) if checked is None else checked
    if not checked.all():
        n = int(np.flatnonzero(checked == 0)[0])
        raise ValueError(f"{where}[{n}] is empty: lengths[{n}] is 0; expected at least one step.")
    flat = array.reshape(count * time, *array.shape[2:])
    starts = np.arange(count) * time
    if array.ndim == 2:  # padding need not be of the symbols
        inside = np.arange(time) < checked[:, None]
        flat, starts = array[inside], np.cumsum(checked) - checked
    result = Sequences(_values(where, flat, array.ndim - 1, dtype), starts, checked)
    _finite(where, name, result)
    return result


def _values(where: str, flat: NDArray, axes: int, dtype: np.dtype | None) -> NDArray:
    """Return floats of the dtype, (S, I), or symbols, (S,)."""
    if axes == 2:
        if dtype is None:
            raise ValueError(f"{where} has arrays of two axes; expected sequences of symbols.")
        if flat.dtype.kind not in "fiub":
            raise TypeError(f"{where} is {flat.dtype}; expected floats (T, I) or symbols (T,).")
        if not flat.shape[1]:
            raise ValueError(f"{where} has no features; expected I > 0.")
        return np.ascontiguousarray(flat, dtype)
    if flat.dtype.kind == "f":
        what = "expected symbols: integers or strings."
        if dtype is not None:
            what = "a sequence of floats is (T, I): for one feature give x[..., None]."
        raise ValueError(f"{where} has sequences of {flat.dtype} of one axis; {what}")
    return flat


def _finite(where: str, name: str, sequences: Sequences) -> None:
    values, starts, lengths = sequences
    if values.dtype.kind != "f" or np.isfinite(values).all():
        return
    for n, (start, length) in enumerate(zip(starts, lengths, strict=True)):
        row = values[start : start + length]
        if not np.isfinite(row).all():
            t, i = np.argwhere(~np.isfinite(row))[0].tolist()
            raise ValueError(
                f"{where} has {row[t, i]} in {name}[{n}][{t}, {i}]; expected finite numbers."
            )


def learn_symbols(owner: str, name: str, given: Any, lengths: Any) -> tuple[Sequences, Vocabulary]:
    """Return what a network is to write, and its vocabulary: `learn`, with floats refused."""
    found, vocabulary = learn(owner, name, given, lengths, None)
    assert vocabulary is not None  # without a dtype, floats are refused
    return found, vocabulary


def learn(
    owner: str, name: str, given: Any, lengths: Any, dtype: np.dtype | None
) -> tuple[Sequences, Vocabulary | None]:
    """Return what a network is to read, and the vocabulary of that; None: it is floats.

    Args:
        owner: the model, for errors.
        name: the argument.
        given: as in `read`.
        lengths: (N,) of the sequences in a padded array; None: all T.
        dtype: of floats; None: floats are refused.

    Raises:
        TypeError, ValueError: as in `read`; or there are symbols that cannot be sorted.
    """
    found, text = read(owner, name, given, lengths, dtype)
    if found.values.ndim == 2:
        return found, None
    try:
        vocabulary, indices = symbols.learn(found.values, text)
    except TypeError as error:
        raise TypeError(f"{owner}: {name} has symbols that cannot be sorted: {error}") from None
    return found._replace(values=indices), vocabulary


def known(
    owner: str,
    name: str,
    given: Any,
    lengths: Any,
    dtype: np.dtype | None,
    vocabulary: Vocabulary | None,
    features: int,
) -> Sequences:
    """Return what a network that has been fitted is to read.

    Args:
        owner: the model, for errors.
        name: the argument.
        given: as in `read`.
        lengths: (N,) of the sequences in a padded array; None: all T.
        dtype: of floats; None: floats are refused.
        vocabulary: of what `fit` saw; None: that was floats.
        features: I, if that was floats.

    Raises:
        TypeError, ValueError: as in `read`; or the kind or width is not what `fit` saw, or a
            symbol is unknown.
    """
    found, text = read(owner, name, given, lengths, dtype)
    kind = "strings" if text else _kind(found.values)
    expected = "floats" if vocabulary is None else _kind(vocabulary)
    if kind != expected:
        raise ValueError(f"{owner}: {name} is {kind}, and in fit it was {expected}.")
    if vocabulary is None:
        if found.values.shape[1] != features:
            raise ValueError(
                f"{owner}: {name} has {found.values.shape[1]} features, and in fit it had "
                f"{features}."
            )
        return found
    indices, inside = symbols.encode(found.values, vocabulary)
    if not inside.all():
        at = int(np.flatnonzero(~inside)[0])
        n = int(np.flatnonzero((found.starts <= at) & (at < found.starts + found.lengths))[0])
        symbol = chr(found.values[at]) if text else found.values[at].item()
        raise ValueError(
            f"{owner}: {name}[{n}][{at - found.starts[n]}] is {symbol!r}, which fit has not seen; "
            f"the vocabulary has {len(vocabulary)} symbols."
        )
    return found._replace(values=indices)


def _kind(values: Vocabulary) -> str:
    """Return what sequences of these values are called."""
    if isinstance(values, str):
        return "strings"
    if values.ndim == 2:
        return "floats"
    return "integers" if values.dtype.kind in "iub" else "words"
