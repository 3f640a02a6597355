"""The one decorator: every compiler flag, with its reason.

Nothing here knows arrays or recurrence. `@njit` anywhere else in the package is a mistake
(tests/test_conventions.py looks for it).
"""

import functools
import itertools
from collections.abc import Callable
from typing import Any

from numba import config, njit, types
from numba.core import codegen, compiler

from fastrnn.kernels.cache import COMPILED as COMPILED
from fastrnn.kernels.cache import KernelCache
from fastrnn.kernels.cache import cache_folder as cache_folder
from fastrnn.kernels.cache import source_digest as source_digest
from fastrnn.kernels.target import check_settings

check_settings()  # before the first compiler is made
_FLAGS = {
    "nogil": True,  # kernels touch no Python object: other threads go on meanwhile
    "error_model": "numpy",  # x / 0 is inf, as in NumPy and torch, and costs no branch
    "boundscheck": None,  # follows NUMBA_BOUNDSCHECK; the raw-memory intrinsics follow it too
    "no_cfunc_wrapper": True,  # nobody calls them from C: compiles faster
}


def kernel(function: Callable | None = None, *, name: str | None = None) -> Any:
    """Compile `function` with Numba at its first call, and keep the result on disk.

    Args:
        function: scalars and arrays in, arrays changed in place.
        name: required of a function made in a factory: unique, the same in every process.
    """
    if function is None:
        return functools.partial(kernel, name=name)
    if config.DISABLE_JIT:
        return _not_compiled(function)
    dispatcher = _dispatcher(function, name)
    try:
        dispatcher._cache = KernelCache(function)
    except Exception as error:
        names = config.CACHE_LOCATOR_CLASSES
        if "no locator" in str(error):  # there is no folder for it: see cache_folder
            return dispatcher
        if not names:
            raise
        raise ValueError(f"NUMBA_CACHE_LOCATOR_CLASSES is {names!r}: {error}") from None
    return dispatcher


def _not_compiled(function):
    """Return a stand-in that says why it cannot be called, so that all else goes on working."""

    @functools.wraps(function)
    def refuse(*args, **kwargs):
        raise ValueError(
            f"NUMBA_DISABLE_JIT is {config.DISABLE_JIT}, and layers, cells and Linear run as "
            "compiled kernels only: unset it; what works with it is fastrnn.reference, losses, "
            "optim, init, and gradcheck of functions of your own."
        )

    return refuse


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
    if config.DISABLE_JIT:
        return _not_compiled(function)
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
