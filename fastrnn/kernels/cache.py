"""The compiled kernels on disk: where they are, and when one may be used again.

What is compiled, and with which flags, is in jit.py.
"""

import contextlib
import functools
import hashlib
import os
import pickle
import sys
import uuid
from collections.abc import Callable
from pathlib import Path

import llvmlite
import numba
from numba import config, types
from numba.core import caching
from numba.core.serialize import dumps

_PACKAGE = Path(__file__).parent.parent
COMPILED = ("cells", "engine", "kernels")  # the folders whose code ends up in kernels
_SEAL = hashlib.sha256().digest_size  # bytes at the start of a file
# What else decides on the machine code, besides sources and processor: settings of Numba, which
# has no such list, and whether it found Intel's library of functions.
_SETTINGS = (
    "BOUNDSCHECK",
    "DEBUGINFO_DEFAULT",
    "DEBUG_NRT",
    "DEBUG_NRT_STACK_LIMIT",
    "EXTEND_VARIABLE_LIFETIMES",
    "LLVM_REFPRUNE_FLAGS",
    "LLVM_REFPRUNE_PASS",
    "LOOP_VECTORIZE",
    "OPT",
    "SLP_VECTORIZE",
    "USING_SVML",
)
_providers: list[Callable] = []


def before_kernels(provide: Callable) -> Callable:
    """Have `provide(dtype)` called before a kernel on arrays of that type is loaded or compiled.

    For machine code that kernels call by name, which must exist when they are linked.
    """
    _providers.append(provide)
    return provide


@functools.cache
def source_digest() -> str:
    """Return a digest of every source that can end up inside a compiled kernel.

    Numba's own cache notices a change in the file of the function it compiles, not in the files
    that function calls into; after an upgrade it would run stale kernels.
    """
    digest = hashlib.sha256(sys.version.encode())
    sources = [p for folder in COMPILED for p in sorted((_PACKAGE / folder).glob("**/*.py"))]
    for path in sources:
        digest.update(path.read_bytes())
    if not sources:  # in an archive or a frozen application: then that is what has a version
        packed = [path for path in (*_PACKAGE.parents, Path(sys.executable)) if path.is_file()]
        for status in map(os.stat, packed[:1]):
            digest.update(repr((status.st_size, status.st_mtime_ns)).encode())
    return digest.hexdigest()[:16]


@functools.cache
def cache_folder() -> Path | None:
    """Return the folder of the compiled kernels: below NUMBA_CACHE_DIR, else the user's cache.

    None: there is no place for it, as the user has no home. Kernels are then compiled each time.
    """
    if config.CACHE_DIR:
        base = Path(config.CACHE_DIR).absolute()
    else:
        windows = sys.platform == "win32"
        base = _absolute(os.environ.get("LOCALAPPDATA" if windows else "XDG_CACHE_HOME", ""))
        if base is None:
            with contextlib.suppress(RuntimeError):
                base = _absolute(Path.home() / ("AppData/Local" if windows else ".cache"))
        if base is None:
            return None
        base /= "fastrnn"
    return base / f"kernels-{source_digest()}"


def _absolute(path: str | Path) -> Path | None:
    """Return an absolute path; what is empty or relative counts as unset, as XDG has it."""
    return Path(path) if Path(path).is_absolute() else None


class _Locator(caching._CacheLocator):
    """Where the kernels of this version of the sources are kept."""

    def __init__(self, py_func, py_file):
        self._module = py_func.__module__.rpartition(".")[2]
        self._py_file = py_file  # in Numba's warning of what cannot be kept

    def get_cache_path(self):
        return str(cache_folder())

    def get_source_stamp(self):
        return source_digest()

    def get_disambiguator(self):
        return self._module

    @classmethod
    def from_function(cls, py_func, py_file):
        return cls(py_func, py_file) if cache_folder() else None


class _Implementation(caching.CompileResultCacheImpl):
    _locator_classes = (_Locator,)  # if NUMBA_CACHE_LOCATOR_CLASSES does not name others


class KernelCache(caching.FunctionCache):
    """Numba's cache, but each kernel is one file, which is sealed and named by all that it is of.

    Numba has an index beside its files, by which processes that write at once can lose or mix
    their kernels, trusts what it reads, and keys a function made in a factory by the pickled
    contents of its closure, which differ in every process. Here the digest of the sources, in the
    key whatever folder Numba is told to use, covers what functions are; and a file that is
    damaged, or of somebody else's making, is not read but compiled and written anew.
    """

    _impl_class = _Implementation

    def load_overload(self, sig, target_context):
        """Return what is on disk for these types, or None."""
        for provide in _providers:
            for dtype in {kind.dtype for kind in sig if isinstance(kind, types.Array)}:
                provide(dtype)
        return super().load_overload(sig, target_context)

    def flush(self):
        """Do nothing: what is compiled again is written again."""

    def _key(self, sig, codegen) -> bytes:
        settings = [(name, getattr(config, name, None)) for name in _SETTINGS]
        versions = numba.__version__, llvmlite.__version__, source_digest()
        parts = self._py_func.__module__, self._impl.filename_base, str(sig), versions, settings
        return repr((*parts, codegen.magic_tuple())).encode()

    def _path(self, key: bytes) -> Path:
        name = hashlib.sha256(key).hexdigest()[:16]
        return Path(self._cache_path, f"{self._impl.filename_base}.{name}.nbc")

    def _load_overload(self, sig, target_context):
        if not self._enabled:
            return None
        key = self._key(sig, target_context.codegen())
        try:
            content = self._path(key).read_bytes()
            seal, body = content[:_SEAL], content[_SEAL:]
            if seal == hashlib.sha256(key + body).digest():
                return self._impl.rebuild(target_context, pickle.loads(body))
        except Exception:  # it is not there, or of no use: a compilation, not the user's problem
            pass
        return None

    def _save_overload(self, sig, data):
        if not self._enabled or not self._impl.check_cachable(data):
            return
        key, body = self._key(sig, data.codegen), dumps(self._impl.reduce(data))
        path = self._path(key)
        new = path.with_name(f"{path.name}.{uuid.uuid4().hex[:16]}.tmp")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                new.write_bytes(hashlib.sha256(key + body).digest() + body)
                if path.is_dir():
                    path.rename(new.with_suffix(".old"))
                new.replace(path)
            finally:
                new.unlink(missing_ok=True)
        except OSError:  # a read-only home or a full disk: work on without a cache
            self.disable()
