"""The entrance: whatever users give as X, y or weights is judged here before it is converted.

What NumPy would turn into something else without a word is refused, and the error says where it
is: missing values, one kind among another, bytes, tables whose columns mean nothing here. What the
values mean is not known here: see reading.py, targets.py and weights.py.
"""

import numbers
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastrnn.models.columns import columns, first_column

_KINDS: dict[str, tuple[type, ...]] = {
    "strings": (str,),
    "bytes": (bytes, bytearray, memoryview),
    "durations": (np.timedelta64,),  # which are np.integer, too
    "dates": (np.datetime64,),
    "booleans": (bool, np.bool_),
    "integers": (int, np.integer),
    "complex numbers": (complex, np.complexfloating),
    "floats": (float, np.floating, numbers.Number),
}
_PLAIN = ({str}, {int}, {float}, {bool})
_NUMERIC = {"booleans", "integers", "floats"}
_MISSING = ("NAType", "NaTType", "MaskedConstant")  # of pandas, and NumPy's masked

Place = Callable[[tuple[int, ...]], str]


def _brackets(index: tuple[int, ...]) -> str:
    return str(list(index))


def rows(where: str, given: Any) -> NDArray | list:
    """Return sequences: one padded array, not judged yet, or a list with an entry for each.

    Args:
        where: the model and the argument, for errors.
        given: an array, a list, an iterator that is read once, a column, or a table.

    Raises:
        TypeError, ValueError: it is something else, or an entry is missing.
    """
    if isinstance(given, str | bytes):
        raise ValueError(f"{where} is one {type(given).__name__}; expected a list of sequences.")
    _refuse_containers(where, given)
    names = columns(given)
    if names is not None:
        given = _from_table(where, given, names)
    if not isinstance(given, np.ndarray | Sequence) and hasattr(given, "__array__"):
        given = _as_array(where, given)
    if isinstance(given, np.ndarray) and (given.ndim > 1 or given.dtype.kind in "fiub"):
        return given if isinstance(given, np.ma.MaskedArray) else np.asarray(given)
    try:
        found = list(given)
    except TypeError:
        raise TypeError(
            f"{where} is a {type(given).__name__}; expected a list of sequences or an array."
        ) from None
    for n, row in enumerate(found):
        if isinstance(row, bytes):
            raise TypeError(_bytes(f"{where}[{n}]"))
        if not isinstance(row, str | list | tuple | np.ndarray) and _missing(row):
            raise ValueError(absent(f"{where}[{n}]", row))
    return found


def array(
    where: str, given: Any, *, numeric: bool = False, place: Place = _brackets
) -> NDArray[Any]:
    """Return one array, in which every entry is there and all are of one kind.

    Args:
        where: the model and the argument, for errors.
        given: what becomes an array: of numbers, strings or dates; of objects, if they are of one
            type.
        numeric: booleans, integers and floats are all numbers; else a boolean is no number.
        place: an entry's index, as errors write it.

    Returns:
        The array; a NaN among floats is still there, as nobody may read it.

    Raises:
        TypeError, ValueError: it is something else.
    """
    if type(given) is np.ndarray and given.dtype.kind in "fiub":
        return given
    if type(given) is list and given:
        return _from_list(where, given, numeric, place)
    if isinstance(given, str | bytes):
        raise ValueError(f"{where} is one {type(given).__name__}; expected a list or an array.")
    _refuse_containers(where, given)
    if isinstance(given, Iterator):
        given = list(given)
    if isinstance(given, list | tuple) and len(given):
        return _from_list(where, given, numeric, place)
    return _judged(where, _as_array(where, given), numeric, place)


def _refuse_containers(where: str, given: Any) -> None:
    if given is None:
        raise ValueError(f"{where} is None; expected a list or an array.")
    if hasattr(given, "nnz") and hasattr(given, "toarray"):
        raise TypeError(
            f"{where} is a sparse matrix; expected dense data: .toarray() makes one, of which "
            "sequences (N, T, I) have to be made."
        )
    if isinstance(given, Mapping | set | frozenset):
        raise TypeError(
            f"{where} is a {type(given).__name__}, which has no order; expected a list or an array."
        )


def _as_array(where: str, given: Any) -> NDArray:
    if isinstance(given, np.ndarray):
        return given
    try:
        return np.asarray(given)
    except Exception as error:  # what __array__ raises is up to others
        raise TypeError(f"{where} cannot be read as an array: {error}") from None


def _from_table(where: str, table: Any, names: list) -> Any:
    """Return the only column, if that has texts or sequences; else the numbers."""
    found = _as_array(where, table)
    if not found.size:
        raise ValueError(f"{where} is a table of shape {found.shape}; expected rows and columns.")
    if len(names) == 1 and found.dtype.kind not in "fiub":
        return first_column(table, names)
    if found.dtype.kind == "O":
        found = array(where, found)
    listed = ", ".join(map(str, names))
    if found.dtype.kind not in "iub":
        if found.dtype.kind == "f":
            if np.isnan(found).any():
                raise ValueError(
                    absent(where + str(np.argwhere(np.isnan(found))[0].tolist()), np.nan)
                )
            what = (
                "if each row is a step of one sequence, give [X]; if it is a sequence, "
                "X.to_numpy()[..., None]"
            )
        else:
            what = "give the one that has the sequences, as X[name]; or X.to_numpy().tolist()"
        raise ValueError(
            f"{where} is a table of {found.dtype} with the columns {listed}; expected one column "
            f"of sequences: {what}."
        )
    return found


def _from_list(where: str, given: Sequence, numeric: bool, place: Place) -> NDArray:
    types = set(map(type, given))
    if types in _PLAIN:  # most are, and there are many
        found = np.array(given)
        if found.dtype.kind in "fiubU" and (found.dtype.kind == "f") == (types == {float}):
            if found.dtype.kind != "U" or "\0" not in "".join(given):
                return found
    if any(issubclass(kind, list | tuple) or _is_array(kind) for kind in types):
        if types != {list} and all(
            _is_array(type(value)) and not np.ndim(value) for value in given
        ):
            return _from_list(where, [value.item() for value in given], numeric, place)
        masked = any(issubclass(kind, np.ma.MaskedArray) for kind in types)
        for n, value in enumerate(given if masked else ()):
            if np.ma.is_masked(value):
                at = np.argwhere(np.ma.getmaskarray(value))[0].tolist()
                raise ValueError(absent(where + place((n, *at)), np.ma.masked))
        try:
            found = np.asarray(given)
        except ValueError as error:
            for n, value in enumerate(given):
                if _missing(value):
                    raise ValueError(absent(where + place((n,)), value)) from None
            raise ValueError(f"{where} is no array: its rows are unequal: {error}") from None
        return _judged(where, found, numeric, place)
    objects = np.empty(len(given), object)
    objects[:] = given
    return _from_objects(where, objects, numeric, place)


def _is_array(kind: type) -> bool:
    return hasattr(kind, "__array__") and not issubclass(kind, np.generic)


def _judged(where: str, found: NDArray, numeric: bool, place: Place) -> NDArray:
    """Return an array that NumPy has made, if its dtype tells all."""
    if np.ma.is_masked(found):
        at = np.argwhere(np.ma.getmaskarray(found))[0].tolist()
        raise ValueError(absent(where + place(tuple(at)), np.ma.masked))
    found = np.asarray(found)  # of a subclass, the data
    kind = found.dtype.kind
    if kind in "OT":
        return _from_objects(where, found.astype(object), numeric, place)
    if kind in "SV":
        what = "bytes" if kind == "S" else "structured"
        raise TypeError(_bytes(where) if kind == "S" else f"{where} is {what}; expected one kind.")
    if kind == "c":
        raise ValueError(_complex(where, found.dtype))
    if kind in "Mm" and np.isnat(found).any():
        at = tuple(np.argwhere(np.isnat(found))[0].tolist())
        raise ValueError(absent(where + place(at), found[at]))
    return found


def _from_objects(where: str, objects: NDArray, numeric: bool, place: Place) -> NDArray:
    """Return an array of the one kind that some objects have."""
    flat = objects.reshape(-1)
    kinds = {kind: _kind(kind) for kind in set(map(type, flat))}
    found = set(kinds.values())

    def at(k: int) -> str:
        return where + place(tuple(int(i) for i in np.unravel_index(k, objects.shape)))

    if not found <= {"strings", "booleans", "integers"} and found != {"floats"}:
        for k, value in enumerate(flat):
            if _missing(value) and not (found <= _NUMERIC and isinstance(value, float)):
                raise ValueError(absent(at(k), value))
    first = {kinds[type(value)]: k for k, value in reversed(list(enumerate(flat)))}
    for kind in found & {"list", "ndarray"}:
        raise ValueError(f"{at(first[kind])} is a sequence, a {kind}; expected one value.")
    if "bytes" in found:
        raise TypeError(_bytes(at(first["bytes"])))
    if "complex numbers" in found:
        raise ValueError(_complex(where, "complex"))
    if len(found) > 1 and not found <= (_NUMERIC if numeric else _NUMERIC - {"booleans"}):
        (one, i), (other, k) = sorted(first.items(), key=lambda item: item[1])[:2]
        raise TypeError(
            f"{where} mixes {one} and {other}: {at(i).partition(': ')[2]} is {flat[i]!r}, and "
            f"{at(k).partition(': ')[2]} {flat[k]!r}; expected one kind: convert one of them, e.g. "
            "with str()."
        )
    if found == {"strings"}:
        for k, value in enumerate(flat):
            if value.endswith("\0"):
                raise ValueError(f"{at(k)} is {value!r}; NumPy drops a NUL at the end of a text.")
        return objects.astype(str)
    if found and found <= _NUMERIC:
        return _from_numbers(at, objects, "floats" in found, numeric)
    if found <= {"dates", "durations"}:
        return np.array(flat.tolist() if objects.ndim else flat[0]).reshape(objects.shape)
    return objects


def _from_numbers(
    at: Callable[[int], str], objects: NDArray, floats: bool, numeric: bool
) -> NDArray:
    flat = objects.reshape(-1)
    try:
        found = objects.astype(np.float64) if floats else np.array(objects.tolist())
        if found.dtype.kind in ("bfiu" if floats else "biu"):
            return found
        if numeric:
            return objects.astype(np.float64)
        # Integers of which NumPy has made floats, or objects.
        return objects.astype(np.int64 if min(flat) < 0 or max(flat) < 2**63 else np.uint64)
    except (ArithmeticError, ValueError):
        k = max(range(len(flat)), key=lambda k: abs(flat[k]))
        raise ValueError(
            f"{at(k)} is {flat[k]!r:.30}; expected numbers of 64 bits: make strings of such ones, "
            "or subtract what they have in common."
        ) from None


def _kind(kind: type) -> str:
    for name, types in _KINDS.items():
        if issubclass(kind, types):
            return name
    return kind.__name__


def _missing(value: Any) -> bool:
    if value is None or type(value).__name__ in _MISSING:
        return True
    try:
        return bool(value != value)  # NaN and NaT, of whatever type
    except Exception:  # of an object that compares to something that is no bool
        return False


def absent(where: str, value: Any) -> str:
    """Return the message of a missing value."""
    shown = "masked" if value is np.ma.masked else f"{value!r} (NaN or missing)"
    return f"{where} is {shown}; expected a value: leave out what it belongs to, or fill it in."


def _bytes(where: str) -> str:
    return f"{where} is bytes; expected text, or integers: .decode() it, or list() it."


def _complex(where: str, dtype: Any) -> str:
    return (
        f"{where} is {dtype}: Complex data not supported; expected real numbers, e.g. both parts, "
        "np.stack([x.real, x.imag], axis=-1)."
    )
