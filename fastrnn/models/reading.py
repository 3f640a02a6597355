"""What users give as X or as sequences y: checked, and laid end to end as Sequences.

Nothing is learnt here but which symbols there are.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastrnn import checks
from fastrnn.models import guard
from fastrnn.models import vocabulary as symbols
from fastrnn.models.sequences import Sequences
from fastrnn.models.vocabulary import Vocabulary


def read(
    owner: str, name: str, given: Any, lengths: Any, dtype: np.dtype | None, *, labels: bool = False
) -> tuple[Sequences, bool]:
    """Return sequences of floats or of symbols, checked.

    Args:
        owner: the model, for errors.
        name: the argument.
        given: a list of arrays (T_n, I) of floats, of strings, or of sequences of integers or
            words; or one padded array, (N, T, I) of floats or (N, T) of integers.
        lengths: (N,) of the sequences in a padded array; None: all T.
        dtype: of floats; None: floats are refused.
        labels: of steps: then an array (N, 1) of strings has a label each, and no texts; and
            lengths may come with a list, as they are of X.

    Returns:
        The sequences, and whether they are strings; then values are code points. Symbols are laid
        end to end in the order of the sequences.

    Raises:
        TypeError, ValueError: it is something else, or a sequence is empty.
    """
    where = f"{owner}: {name}"
    rows = guard.rows(where, given)
    if isinstance(rows, np.ndarray):
        found = _padded(where, rows, lengths, dtype)
        if not labels and rows.shape[1:] == (1,) and _has_texts(found.values):
            raise ValueError(
                f"{where} has shape {rows.shape} of strings: is each a text, or a word? For texts "
                f"give {name}[:, 0], for sequences of one word {name}.tolist()."
            )
        return found, False
    if lengths is not None and not labels:
        raise ValueError(f"{owner}: lengths goes with a padded array; {name} is a list already.")
    if not rows:
        raise ValueError(f"{where} has no sequences; expected at least one.")
    text = isinstance(rows[0], str)
    arrays = []
    for n, row in enumerate(rows):
        if isinstance(row, str) != text:
            raise TypeError(f"{where} mixes strings and other sequences: {name}[{n}] is {row!r}.")
        arrays.append(row if text else _row(f"{where}[{n}]", row))
        if not len(arrays[n]):
            raise ValueError(f"{where}[{n}] is empty; expected at least one step.")
    counts = np.array([len(row) for row in arrays])
    if text:
        values = symbols.codes("".join(arrays))
    else:
        _alike(where, name, arrays)
        values = _values(where, _joined(where, arrays), arrays[0].ndim, dtype)
    result = Sequences(values, np.cumsum(counts) - counts, counts)
    _finite(where, name, result)
    return result, text


def _has_texts(values: NDArray) -> bool:
    return values.dtype.kind == "U" and bool((np.strings.str_len(values) > 1).any())


def _row(where: str, row: Any) -> NDArray:
    if not hasattr(row, "__len__") and not isinstance(row, Iterator):
        raise ValueError(f"{where} is {row!r}; expected a sequence.")
    first = row[0] if isinstance(row, list | tuple) and row else None
    nested = isinstance(first, list | tuple) or getattr(first, "ndim", 0) > 0
    nested = nested or getattr(row, "ndim", 1) > 1
    found = guard.array(where, row, numeric=nested)
    if not found.ndim:
        raise ValueError(f"{where} is {row!r}; expected a sequence.")
    if found.ndim == 1 and found.dtype.kind == "f" and np.isnan(found).any():
        raise ValueError(guard.absent(f"{where}[{np.isnan(found).argmax()}]", np.nan))
    return found


def _alike(where: str, name: str, arrays: list[NDArray]) -> None:
    kinds = {(row.dtype, row.ndim, row.shape[1:]) for row in arrays}
    for n, row in enumerate(arrays if len(kinds) > 1 or arrays[0].ndim > 2 else ()):
        if row.ndim > 2 or row.shape[1:] != arrays[0].shape[1:]:
            raise ValueError(
                f"{where}[{n}] has shape {row.shape}, and {name}[0] {arrays[0].shape}; expected "
                "(T_n, I) floats, with one I for all, or (T_n,) symbols."
            )
        one, other = (_numbers(a) for a in (row, arrays[0]))
        if one != other:
            raise TypeError(
                f"{where}[{n}] is {row.dtype}, and {name}[0] {arrays[0].dtype}; expected one kind."
            )


def _numbers(row: NDArray) -> str:
    if row.ndim > 1 and row.dtype.kind in "fiub":
        return "numbers"
    return "integers" if row.dtype.kind in "iu" else row.dtype.kind


def _joined(where: str, arrays: list[NDArray]) -> NDArray:
    kinds = {row.dtype for row in arrays}
    if arrays[0].ndim == 1 and np.dtype(np.uint64) in kinds and len(kinds) > 1:
        largest = max(int(row.max()) for row in arrays)
        if largest > np.iinfo(np.int64).max:
            raise ValueError(f"{where} has {largest} in int64 and uint64; expected one type.")
        arrays = [row.astype(np.int64) for row in arrays]
    return np.concatenate(arrays)


def _padded(where: str, array: NDArray, lengths: Any, dtype: np.dtype | None) -> Sequences:
    if array.ndim not in (2, 3):
        raise ValueError(
            f"{where} has shape {array.shape}; expected (N, T, I) floats or (N, T) integers."
        )
    count, time = array.shape[:2]
    if not count or not time:
        raise ValueError(f"{where} has shape {array.shape}; expected at least one sequence, T > 0.")
    owner, _, name = where.partition(": ")
    if lengths is not None and type(lengths) is not np.ndarray:
        lengths = guard.array(f"{owner}: lengths", lengths)
    checked = checks.lengths(owner, lengths, time, count, batched=True)
    checked = np.full(count, time) if checked is None else checked
    if not checked.all():
        n = int(np.flatnonzero(checked == 0)[0])
        raise ValueError(f"{where}[{n}] is empty: lengths[{n}] is 0; expected at least one step.")
    starts = np.arange(count) * time
    inside = np.arange(time) < checked[:, None]
    if array.ndim == 2 or array.dtype.kind not in "fiub" or np.ma.is_masked(array):
        # Padding need not be of the symbols, nor be there at all.
        n, t = np.nonzero(inside)
        flat, starts = array[inside], np.cumsum(checked) - checked
        flat = guard.array(
            where,
            flat,
            numeric=array.ndim == 3,
            place=lambda at: str([int(n[at[0]]), int(t[at[0]]), *at[1:]]),
        )
    else:
        flat = np.asarray(array).reshape(count * time, *array.shape[2:])
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
            raise ValueError(
                f"{where} has no features: 0 feature(s) (shape={flat.shape}) while a minimum of 1 "
                "is required."
            )
        with np.errstate(over="ignore", invalid="ignore"):  # `_finite` says where
            return np.ascontiguousarray(flat, dtype)
    if flat.dtype.kind not in "fiubU":
        raise TypeError(f"{where} is {flat.dtype}; expected symbols: integers or strings.")
    if flat.dtype.kind == "f":
        what = "expected symbols: integers or strings."
        if dtype is not None:
            what = "Reshape your data: for one feature a sequence is (T, 1), x[..., None]."
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
                f"{where} has {row[t, i]} in {name}[{n}][{t}, {i}]; expected finite numbers, no "
                f"NaN and no infinity, which {row.dtype} makes of all beyond "
                f"{np.finfo(row.dtype).max:.2g}."
            )


def plain(owner: str, name: str, given: Any) -> list:
    """Return sequences of symbols as a network writes them: strings, or lists.

    Args:
        owner: the model, for errors.
        name: the argument.
        given: as in `read`, without floats.
    """
    (values, starts, lengths), text = read(owner, name, given, None, None)
    found = [values[start : start + n] for start, n in zip(starts, lengths, strict=True)]
    return ["".join(map(chr, row)) if text else row.tolist() for row in found]


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
    unknown: int | None = None,
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
        unknown: the index of a symbol that is not in the vocabulary; None: there may be none.

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
                f"{owner}: {name} has {found.values.shape[1]} features, but {owner} is expecting "
                f"{features} features as input, as in fit."
            )
        return found
    indices, inside = symbols.encode(found.values, vocabulary)
    if unknown is not None:
        indices = np.where(inside, indices, np.array(unknown, np.min_scalar_type(unknown)))
    elif not inside.all():
        at = int(np.flatnonzero(~inside)[0])
        n = int(np.searchsorted(found.starts, at, side="right")) - 1
        symbol = chr(found.values[at]) if text else found.values[at].item()
        raise ValueError(
            f"{owner}: {name}[{n}][{at - found.starts[n]}] is {symbol!r}, which fit has not seen; "
            f"the vocabulary has {len(vocabulary)} symbols; with unknown='ignore' a model reads "
            "others as zeros."
        )
    return found._replace(values=indices)


def _kind(values: Vocabulary) -> str:
    if isinstance(values, str):
        return "strings"
    if values.ndim == 2:
        return "floats"
    return "integers" if values.dtype.kind in "iub" else "words"
