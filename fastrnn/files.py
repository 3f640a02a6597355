"""Files written whole or not at all, so that nothing that exists is lost.

Every file that this package writes for a user is written here. What is in it, and how it is read,
is for its owner to know; that one run alone writes it, claims.py sees to.
"""

import contextlib
import errno
import hashlib
import itertools
import os
import secrets
import shutil
import stat
import sys
import warnings
from collections.abc import Iterator

Name = str | os.PathLike[str]


def shown(path: Name) -> str:
    """Return a path as messages show it: on one line, whatever characters it has."""
    text = os.fspath(path)
    return text if text and text.isprintable() else repr(text)


def is_own(path: Name) -> bool:
    """Return whether a path is a file, or free for one: no folder, pipe, device, or our output.

    Args:
        path: any; a link stands for what it leads to.

    Raises:
        OSError: it cannot be looked at.
    """
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return True
    return stat.S_ISREG(found.st_mode) and _output(found) is None


def check_is_own(path: Name) -> None:
    """Raise ValueError if a model cannot be at a path: see is_own.

    Args:
        path: any.

    Raises:
        ValueError: it is a folder, say.
        OSError: it cannot be looked at.
    """
    if not is_own(path):
        raise ValueError(f"{shown(path)} is not a file, so no model can be saved there")


def check(path: Name) -> None:
    """Raise the OSError that `write` would raise at once; nothing is changed.

    Args:
        path: where a file is to be written.

    Raises:
        OSError: it cannot be written.
    """
    with told_of(path):
        _existing(path)
        if is_own(path):
            temporary = _temporary(os.path.realpath(path))
            try:
                descriptor, _ = _created(temporary, 0o600)
                os.close(descriptor)
            finally:
                remove(temporary)


def write(path: Name, data: bytes, *, keep: bool = False) -> str | None:
    """Write a file: whatever happens, at its name is the whole old one or the whole new one.

    The new file has the old one's mode, and its owner as far as the user may give it. A link stays
    a link: the file that it leads to is replaced. A hard link to the old file keeps that, with a
    warning. A pipe or a device is written to.

    Args:
        path: where; an existing file is replaced.
        data: all that is to be in it.
        keep: keep the old file too, under another name: with ".previous" behind, or
            ".previous.2" and so on: the first that is free.

    Returns:
        The name under which the old file is kept; None: there was none, or keep=False.

    Raises:
        OSError: it cannot be written; then there is what was there before.
    """
    with told_of(path):
        old = _existing(path)
        if not is_own(path):
            output = None if old is None else _output(old)
            with open(path if output is None else os.dup(output), "wb") as out:
                out.write(data)
            return None
        target = os.path.realpath(path)
        if old is not None and old.st_nlink > 1 and not keep:
            warnings.warn(
                f"{shown(path)} has {old.st_nlink} names (hard links); the others keep what was "
                "in it.",
                stacklevel=3,
            )
        return _replace(target, old, data, keep)


@contextlib.contextmanager
def told_of(path: Name) -> Iterator[None]:
    """Have an OSError name the file that the user named, and no temporary one.

    Args:
        path: what the user named.
    """
    try:
        yield
    except OSError as error:
        if error.errno is not None:
            error.filename = os.fspath(path)
            del error.filename2
        raise


def _existing(path: Name) -> os.stat_result | None:
    """Return what is at a path, if it can be written; None: nothing."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    # What is protected could be replaced all the same.
    if not os.access(path, os.W_OK, effective_ids=os.access in os.supports_effective_ids):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    return found


def _output(found: os.stat_result) -> int | None:
    """Return what this is open as, if it is the file that the process prints into."""
    for descriptor in (1, 2):
        with contextlib.suppress(OSError):  # closed
            if os.path.samestat(found, os.fstat(descriptor)):
                return descriptor
    return None


def beside(target: str, ending: str) -> str:
    """Return a hidden name for what belongs to a file, in its folder.

    Args:
        target: the file, its links followed.
        ending: of the name.
    """
    folder, name = os.path.split(target)
    if len(os.fsencode(name)) > 100:  # the whole has to be a name as well
        name = hashlib.blake2b(os.fsencode(name), digest_size=16).hexdigest()
    return os.path.join(folder, f".{name}{ending}")


def _temporary(target: str) -> str:
    """Return a name that nobody else has, in any thread or process."""
    return beside(target, f".{secrets.token_hex(8)}.tmp")


def _created(temporary: str, mode: int, unnamed: bool = True) -> tuple[int, bool]:
    """Return a new file, open, and whether it has no name yet: a process may be killed any time."""
    if unnamed and sys.platform == "linux" and os.path.isdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # not every file system has such files
            return os.open(os.path.dirname(temporary), os.O_TMPFILE | os.O_WRONLY, mode), True
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    return os.open(temporary, flags, mode), False


def remove(path: str) -> None:
    """Remove a file, if it is there and can be removed.

    Args:
        path: of the file.
    """
    with contextlib.suppress(OSError):
        os.unlink(path)


def _replace(
    target: str, old: os.stat_result | None, data: bytes, keep: bool, unnamed: bool = True
) -> str | None:
    """Put a new file in the place of an old one."""
    temporary = _temporary(target)
    try:
        # What others may not read, they may not read while it is written either.
        descriptor, unnamed = _created(temporary, 0o666 if old is None else 0o600, unnamed)
        with open(descriptor, "wb") as out:
            out.write(data)
            out.flush()
            way = f"/proc/self/fd/{descriptor}" if unnamed else temporary
            if old is not None:
                _resemble(target, old, way)
            os.fsync(descriptor)
            if unnamed:
                try:  # src_dir_fd says nothing but that the link is to be followed
                    os.link(way, temporary, src_dir_fd=descriptor)
                except (OSError, NotImplementedError):
                    return _replace(target, old, data, keep, unnamed=False)
        kept = _moved_in(temporary, target, keep and old is not None)
    except BaseException:
        remove(temporary)
        raise
    with contextlib.suppress(OSError):  # Windows has no such thing
        folder = os.open(os.path.dirname(target), os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    return kept


def _resemble(target: str, old: os.stat_result, temporary: str) -> None:
    """Give a new file the owner, mode and further attributes of an old one."""
    if sys.platform != "win32":
        for owner in ((old.st_uid, -1), (-1, old.st_gid)):
            with contextlib.suppress(OSError):
                os.chown(temporary, *owner)
    with contextlib.suppress(FileNotFoundError):  # of the old one: another thread replaced it
        shutil.copystat(target, temporary)
    os.chmod(temporary, stat.S_IMODE(old.st_mode))
    os.utime(temporary)


def _moved_in(temporary: str, target: str, keep: bool) -> str | None:
    """Give a file its name at last, and the one that had it another."""
    if not keep:
        os.replace(temporary, target)
        return None
    kept, linked, moving = "", False, False
    try:
        for kept in _names(f"{target}.previous"):
            try:
                os.link(target, kept)  # fails where it exists, so nothing is overwritten
                linked = True
            except FileExistsError:
                continue
            except OSError:  # a file system without hard links
                if os.path.lexists(kept):
                    continue
                moving = True
                os.rename(target, kept)
            break
        os.replace(temporary, target)
    except BaseException:
        if linked and os.path.samefile(kept, target):  # else the new file is there already
            remove(kept)
        elif moving and not os.path.lexists(target):
            os.rename(kept, target)
        raise
    return kept


def _names(first: str) -> Iterator[str]:
    yield first
    for number in itertools.count(2):
        yield f"{first}.{number}"
