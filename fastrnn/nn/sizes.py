"""Sizes that cannot be: refused by arithmetic, before anything of that size is made.

It is no forecast of what a computation takes: what passes here may still be too much.
"""

import contextlib
import os
import sys
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import NamedTuple

PER_ARRAY = 1000  # bytes that an array takes beside its elements, measured: its object and names


class Amount(NamedTuple):
    """How much there would be to hold.

    Attributes:
        arrays: how many arrays.
        nbytes: of their elements.
    """

    arrays: int
    nbytes: int

    @property
    def memory(self) -> int:
        """Bytes, with what arrays take beside their elements."""
        return self.nbytes + PER_ARRAY * self.arrays


_held: ContextVar[Amount | None] = ContextVar("held", default=None)


@contextlib.contextmanager
def at_most(amount: Amount) -> Iterator[None]:
    """Inside it, no layer is made that has far more parameters than this.

    A little more may be: then what is missing can be named.

    Args:
        amount: what a file holds, to which a layer is to be made.
    """
    token = _held.set(amount)
    try:
        yield
    finally:
        _held.reset(token)


def check(who: str, amount: Amount) -> None:
    """Raise ValueError if something cannot be made.

    Args:
        who: what it is, and the arguments that it has its size from.
        amount: of its parameters.

    Raises:
        ValueError: it is more than this machine's memory, or than `at_most` says.
    """
    held = _held.get()
    if held is not None and (
        amount.arrays > 2 * held.arrays + 100 or amount.nbytes > 2 * held.nbytes + 1_000_000
    ):
        raise ValueError(
            f"its options are too large for its tensors: {who} has {amount.arrays:,} arrays of "
            f"{amount.nbytes:,} bytes, and there are {held.arrays:,} of {held.nbytes:,}"
        )
    refuse(f"{who}: its parameters", amount.memory)


def refuse(what: str, nbytes: int) -> None:
    """Raise ValueError if this machine does not have so much memory.

    Args:
        what: takes it; a plural.
        nbytes: how much it takes, in bytes.
    """
    limit = memory()
    if nbytes > limit:
        raise ValueError(
            f"{what} need {_gigabytes(nbytes)} of memory, and there are {_gigabytes(limit)}; "
            "give smaller numbers."
        )


def memory() -> int:
    """Return the bytes that this process may have: of the machine, of its control group, its own.

    Where nobody tells, sys.maxsize.
    """
    found = [sys.maxsize]
    if sys.platform == "win32":
        found.append(_windows())
    else:
        import resource

        with contextlib.suppress(OSError, ValueError):
            found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
        found.append(resource.getrlimit(resource.RLIMIT_AS)[0])  # -1: no limit
        for name in ("memory.max", "memory/memory.limit_in_bytes"):  # a container's
            with contextlib.suppress(OSError, ValueError):
                found.append(int(Path("/sys/fs/cgroup", name).read_text()))
    return min(limit for limit in found if limit > 0)


def _gigabytes(nbytes: int) -> str:
    return f"{nbytes / 1e9:.3g} GB" if nbytes < 1e11 else f"{nbytes // 10**9:,} GB"


if sys.platform == "win32":

    def _windows() -> int:
        import ctypes

        class Status(ctypes.Structure):
            _fields_ = [
                ("length", ctypes.c_ulong),
                ("load", ctypes.c_ulong),
                *((name, ctypes.c_ulonglong) for name in ("total", *"abcdef")),
            ]

        status = Status(length=ctypes.sizeof(Status))
        if not ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status)):
            return sys.maxsize
        return status.total
