"""Claims on files of models: what one run trains, no other run writes at the same time.

How a file is written is in files.py.
"""

import contextlib
import os
import sys

from fastrnn import files


class Claim:
    """The sole right to write a file, from `with` on; a second claim is refused, in any process.

    A lock of the operating system, on a file beside it that has the number of the process in it. It
    ends with the process, however that ends; what a killed one leaves behind is in nobody's way.

    Args:
        path: the file, which need not exist.
    """

    def __init__(self, path: files.Name):
        self._path = path
        self._lock, self._descriptor, self._process = "", -1, -1

    def __enter__(self) -> "Claim":
        """Claim the file.

        Raises:
            BlockingIOError: another run has it.
            ValueError: it is no file, but a folder, say.
            OSError: the file cannot be written.
        """
        files.check_is_own(self._path)
        files.check(self._path)
        self._lock = files.beside(os.path.realpath(self._path), ".lock")
        try:
            with files.told_of(self._path):
                while not self._taken():
                    pass
        except BaseException:
            self.release()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self.release()

    def __del__(self) -> None:
        self.release()  # where Ctrl-C came before that

    def release(self) -> None:
        """Give the file back; a second call does nothing."""
        descriptor = self._descriptor
        if descriptor < 0 or self._process != os.getpid():  # a fork of the process has no say
            return
        try:
            if sys.platform != "win32":  # where a file that is open cannot be removed
                files.remove(self._lock)
        finally:
            self._descriptor = -1
            _unlock(descriptor)  # for forks too, which have it open as well
            os.close(descriptor)
        if sys.platform == "win32":
            files.remove(self._lock)

    def _taken(self) -> bool:
        """Return whether the lock was taken; else its file had just been removed by another."""
        descriptor = os.open(self._lock, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if not _locked(descriptor):
                raise BlockingIOError(
                    f"{files.shown(self._path)} is being written by {_holder(descriptor)}; wait "
                    "until that has ended, or give another file"
                )
            if not _is_at(descriptor, self._lock):
                return False
            self._descriptor, self._process = descriptor, os.getpid()
            os.ftruncate(descriptor, 0)
            os.write(descriptor, b"%d\n" % os.getpid())
        finally:
            if self._descriptor != descriptor:
                os.close(descriptor)
        return True


def _holder(descriptor: int) -> str:
    """Return what holds a lock, as its file says."""
    process = os.read(descriptor, 20).strip().decode("ascii", "replace")
    if not process.isdigit():
        return "another run"
    return "another run of this process" if int(process) == os.getpid() else f"process {process}"


def _is_at(descriptor: int, path: str) -> bool:
    """Return whether a file that is open still has its name."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


if sys.platform == "win32":
    import msvcrt

    _FAR = 1 << 30  # the byte that is locked: what is locked cannot be read

    def _locked(descriptor: int) -> bool:
        os.lseek(descriptor, _FAR, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        finally:
            os.lseek(descriptor, 0, os.SEEK_SET)
        return True

    def _unlock(descriptor: int) -> None:
        """Nothing to do: closing it unlocks it."""
else:
    import fcntl

    def _locked(descriptor: int) -> bool:
        """Return whether nobody else had the lock; where there are no locks, nobody has."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            return True
        return True

    def _unlock(descriptor: int) -> None:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_UN)
