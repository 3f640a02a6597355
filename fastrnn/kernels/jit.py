"""The one decorator: every compiler flag, with its reason, and the disk cache.

Nothing here knows arrays or recurrence. `@njit` anywhere else in the package is a mistake
(tests/test_conventions.py looks for it).
"""

import contextlib
import functools
import hashlib
import itertools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numba import config, njit, types
from numba.core import caching, codegen, compiler

_PACKAGE = Path(__file__).parent.parent
COMPILED = ("cells", "engine", "kernels")  # the folders whose code ends up in kernels
_FLAGS = {
    "nogil": True,  # kernels touch no Python object: other threads go on meanwhile
    "error_model": "numpy",  # x / 0 is inf, as in NumPy and torch, and costs no branch
    "boundscheck": None,  # follows NUMBA_BOUNDSCHECK; the raw-memory intrinsics follow it too
    "no_cfunc_wrapper": True,  # nobody calls them from C: compiles faster
}


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
    that function calls into; after an upgrade it would run stale kernels. So the cache lives
    in a folder named by this digest.
    """
    digest = hashlib.sha256(sys.version.encode())
    for folder in COMPILED:
        for path in sorted((_PACKAGE / folder).glob("**/*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


@functools.cache
def cache_folder() -> Path:
    """Return the folder of the compiled kernels: below NUMBA_CACHE_DIR, else the user's cache."""
    if config.CACHE_DIR:
        base = Path(config.CACHE_DIR)
    elif sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", Path.home())) / "fastrnn"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "fastrnn"
    return base / f"kernels-{source_digest()}"


class _Locator(caching._CacheLocator):
    """Where the kernels of this version of the sources are kept."""

    def __init__(self, py_func, py_file):
        self._module = py_func.__module__.rpartition(".")[2]

    def get_cache_path(self):
        return str(cache_folder())

    def get_source_stamp(self):
        return source_digest()

    def get_disambiguator(self):
        return self._module

    @classmethod
    def from_function(cls, py_func, py_file):
        return cls(py_func, py_file)


class _Implementation(caching.CompileResultCacheImpl):
    _locator_classes = (_Locator,)


class _Cache(caching.FunctionCache):
    """Numba's cache, but a function made in a factory is known by its name.

    Numba keys such a function by the pickled contents of its closure, which differ in every
    process if a jitted function is among them. The digest of the sources covers what they are.
    """

    _impl_class = _Implementation

    def load_overload(self, sig, target_context):
        for provide in _providers:
            for dtype in {kind.dtype for kind in sig if isinstance(kind, types.Array)}:
                provide(dtype)
        return super().load_overload(sig, target_context)

    def _index_key(self, sig, codegen):
        return sig, codegen.magic_tuple(), config.BOUNDSCHECK

    def _load_overload(self, sig, target_context):
        try:
            return super()._load_overload(sig, target_context)
        except Exception:  # a damaged file costs one compilation, not the user's program
            with contextlib.suppress(OSError):
                self.flush()  # or saving would read the same index
            return None

    def _save_overload(self, sig, data):
        try:
            super()._save_overload(sig, data)
        except OSError:  # a read-only home or a full disk: work on without a cache
            self.disable()


def kernel(function: Callable | None = None, *, name: str | None = None) -> Any:
    """Compile `function` with Numba at its first call, and keep the result on disk.

    Args:
        function: scalars and arrays in, arrays changed in place.
        name: required of a function made in a factory: unique, the same in every process.
    """
    if function is None:
        return functools.partial(kernel, name=name)
    dispatcher = _dispatcher(function, name)
    dispatcher._cache = _Cache(function)
    return dispatcher


class _PartLibrary(codegen.JITCodeLibrary):
    """Code that is only linked into kernels: no machine code is made of it on its own.

    Numba would optimise a function, make machine code of it, and then do so again in every
    function that calls it, directly or not: most of the time that a kernel takes to compile.
    """

    def _optimize_final_module(self):
        pass

    def _finalize_final_module(self):
        self._finalize_dynamic_globals()
        self._finalized = True

    def get_pointer_to_function(self, name):
        self._ensure_finalized()
        return 0

    @property
    def codegen(self):
        return _NoEnvironment()


class _NoEnvironment:
    """In place of the code generator of what is never called from Python."""

    def set_env(self, env_name, env):
        pass


class _PartCompiler(compiler.Compiler):
    """Numba's compiler, but for the library."""

    def __init__(self, typingctx, targetctx, library, args, return_type, flags, locals):
        super().__init__(typingctx, targetctx, library, args, return_type, flags, locals)
        generator = targetctx.codegen()
        self.state.library = _PartLibrary(generator, f"part_{next(_numbers)}")


_numbers = itertools.count()


def jit(function: Callable | None = None, *, name: str | None = None, inline: bool = False,
        ) -> Any:  # fmt: skip
    """Compile a part of kernels: as `kernel`, but only compiled code can call it.

    What only Python needs to call it takes as long to compile as a small function itself. With
    `inline` its code is put where it is called, however long it is.
    """
    if function is None:
        return functools.partial(jit, name=name, inline=inline)
    dispatcher = _dispatcher(function, name, no_cpython_wrapper=True, forceinline=inline,
                             pipeline_class=_PartCompiler)  # fmt: skip

    def from_python(*args, **kwargs):
        raise TypeError(f"{function.__name__} is a part of kernels; Python cannot call it.")

    dispatcher._compile_for_args = from_python
    # Known to callers that are compiled, but not to the code that runs calls from Python.
    dispatcher.add_overload = lambda cres: dispatcher.overloads.update(
        {tuple(cres.signature.args): cres}
    )
    return dispatcher


def _dispatcher(function, name, **options):
    if name is not None:
        function.__qualname__ = function.__name__ = name
    dispatcher = njit(**_FLAGS, **options)(function)
    typed = dispatcher.get_call_template

    def typed_without_literals(args, kws):
        # Numba would compile once more for every constant that a caller writes as an argument.
        plain = {name: types.unliteral(kind) for name, kind in kws.items()}
        return typed([types.unliteral(kind) for kind in args], plain)

    dispatcher.get_call_template = typed_without_literals
    return dispatcher
