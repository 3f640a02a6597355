"""Machine code that kernels call by name: made once for each type of float, as it takes long.

The big register tiles (tile.py, dots.py) are not compiled into every kernel that uses them but
once, on their own; kernels are linked to them when they are compiled or loaded.
"""

from collections.abc import Callable

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastrnn.kernels.cache import before_kernels
from fastrnn.kernels.jit import kernel
from fastrnn.kernels.simd import INT

_defined: dict[str, tuple[Callable, Callable]] = {}
_provided = set()


def linked(name: str, type_of: Callable) -> Callable:
    """Make the decorated `define(module, function, dtype)` the body of a linked function.

    Args:
        name: of the function.
        type_of: of a float type: the LLVM type of the function.
    """

    def register(define):
        if _provided:  # kernels that call it would be linked to nothing, and crash
            raise RuntimeError(f"{name} is defined after kernels were compiled; see kernels/")
        _defined[name] = type_of, define
        return define

    return register


def _symbol(name, dtype):
    return f"fastrnn_{name}_{dtype}"


def call_linked(builder, name, dtype, args) -> None:
    """Emit a call of a linked function."""
    kind = _defined[name][0](dtype)
    function = cgutils.get_or_insert_function(builder.module, kind, _symbol(name, dtype))
    builder.call(function, args)


@intrinsic
def _compiled_addresses(typingctx, array):
    dtype = array.dtype
    result = types.UniTuple(types.intp, len(_defined))

    def codegen(context, builder, sig, args):
        addresses = []
        for name, (type_of, define) in _defined.items():
            function = ir.Function(builder.module, type_of(dtype), _symbol(name, dtype))
            define(builder.module, function, dtype)
            addresses.append(builder.ptrtoint(function, INT))
        return context.make_tuple(builder, result, addresses)

    return result(array), codegen


@kernel
def compiled_addresses(array):
    """Return the addresses of all linked functions for arrays like this one."""
    return _compiled_addresses(array)


@before_kernels
def provide(dtype):
    """Make the functions of a type known by name to the kernels that are linked from now on."""
    if dtype in (types.float32, types.float64) and dtype not in _provided:
        _provided.add(dtype)
        addresses = compiled_addresses(np.empty(0, np.dtype(dtype.name)))
        for name, address in zip(_defined, addresses, strict=True):
            llvm.add_symbol(_symbol(name, dtype), address)
