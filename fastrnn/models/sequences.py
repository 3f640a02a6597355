"""What users give as X or as sequences y: checked, and laid end to end in one array.

Sequences of any lengths are rows of one flat array, found by where they begin and how long they
are. So batches, pieces of batches and sequences shifted by a step are other numbers over the same
memory; only what a network is about to read is copied.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastrnn import checks
from fastrnn.models import vocabulary as symbols
from fastrnn.models.vocabulary import Vocabulary


class Sequences(NamedTuple):
    """Some sequences, N of them.

    Attributes:
        values: (S, I) floats, or (S,) symbols or their indices.
        starts: (N,) int64: where each begins in values.
        lengths: (N,) int64.
    """

    values: NDArray
    starts: NDArray
    lengths: NDArray

    def select(self, rows: NDArray) -> "Sequences":
        """Return some of the sequences."""
        return self._replace(starts=self.starts[rows], lengths=self.lengths[rows])

    def cut(self, begin: int, end: int) -> "Sequences":
        """Return steps begin..end of each; of those that end before, what there is: maybe none."""
        lengths = np.clip(self.lengths - begin, 0, end - begin)
        return self._replace(starts=self.starts + begin * (lengths > 0), lengths=lengths)

    def before(self, steps: int) -> "Sequences":
        """Return each without its last so many steps."""
        return self._replace(lengths=np.maximum(self.lengths - steps, 0))

    def last(self, steps: int) -> "Sequences":
        """Return the last so many steps of each."""
        skipped = np.maximum(self.lengths - steps, 0)
        return self._replace(starts=self.starts + skipped, lengths=self.lengths - skipped)

    def next(self) -> "Sequences":
        """Return each moved on by a step: what a network that reads it has to predict."""
        return self._replace(starts=self.starts + 1)

    def pieces(self, steps: int | None) -> list["Sequences"]:
        """Return the sequences cut into pieces of so many steps, to be read after each other."""
        longest = int(self.lengths.max())
        if steps is None or steps >= longest:
            return [self]
        return [self.cut(t, t + steps) for t in range(0, longest, steps)]

    def with_boundaries(self, symbol: int) -> "Sequences":
        """Return the sequences, all there are in values, with a symbol before and behind each.

        It is one symbol between two sequences. So `lengths` counts one of the two, and reading
        such a sequence to predict `next()` begins and ends with it.
        """
        count, total = len(self.lengths), len(self.values)
        values = np.full(total + count + 1, symbol, np.min_scalar_type(symbol))
        moved = np.arange(total) + np.repeat(np.arange(1, count + 1), self.lengths)
        values[moved] = self.values
        return Sequences(values, self.starts + np.arange(count), self.lengths + 1)

    def padded(self) -> tuple[NDArray, NDArray | None]:
        """Return what a layer takes: x (T, B, I) or (T, B), and lengths, None if all are T.

        Behind the end of a sequence stands its last step again; no layer reads it.
        """
        steps = np.arange(self.lengths.max())[:, None]
        x = self.values[self.starts + np.minimum(steps, np.maximum(self.lengths - 1, 0))]
        return x, None if (self.lengths == len(steps)).all() else self.lengths

    def real(self) -> NDArray | None:
        """Return which rows of the (T * B) of `padded` are no padding, None if all are not."""
        inside = np.arange(self.lengths.max())[:, None] < self.lengths
        return None if inside.all() else np.flatnonzero(inside)

    def places(self) -> NDArray:
        """Return where in values those rows are, in that order."""
        places = (self.starts + np.arange(self.lengths.max())[:, None]).reshape(-1)
        real = self.real()
        return places if real is None else places[real]

    def steps(self) -> NDArray:
        """Return the values of those rows, in that order: of each time, then of each sequence."""
        return self.values[self.places()]


def read(
    owner: str, name: str, given: Any, lengths: Any, dtype: np.dtype | None
) -> tuple[Sequences, bool]:
    """Return sequences of floats or of symbols, checked.

    Args:
        owner: the model, for errors.
        name: the argument.
        given: see models/__init__.py.
        lengths: (N,), of a padded array; None: all of it.
        dtype: of floats; None: they are refused.

    Returns:
        The sequences, and whether they are strings; then values are code points. Symbols lie end
        to end in the order of the sequences.

    Raises:
        TypeError, ValueError: it is something else, or has a sequence that is empty.
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
    """Return what a network is to write, and its vocabulary.

    Args, Raises: as in `read`.
    """
    found, vocabulary = learn(owner, name, given, lengths, None)
    assert vocabulary is not None  # without a dtype, floats are refused
    return found, vocabulary


def learn(
    owner: str, name: str, given: Any, lengths: Any, dtype: np.dtype | None
) -> tuple[Sequences, Vocabulary | None]:
    """Return what a network is to read, and the vocabulary it has; None: it is floats.

    Args, Raises: as in `read`.
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
        owner: as in `read`; and so are the next four.
        name: as in `read`.
        given: as in `read`.
        lengths: as in `read`.
        dtype: as in `read`.
        vocabulary: what `fit` saw.
        features: I, if that was floats.

    Raises:
        TypeError, ValueError: as in `read`; or it is of another kind or width than what `fit` saw,
            or has a symbol that is unknown.
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
    """Return what sequences of such values are called."""
    if isinstance(values, str):
        return "strings"
    if values.ndim == 2:
        return "floats"
    return "integers" if values.dtype.kind in "iub" else "words"
