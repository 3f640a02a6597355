"""Vectors: one SIMD register as a Numba value, so that vector code reads as equations.

`Vec` has `+ - * /`, `fma` and a few functions; memory.py loads it from arrays and stores it. These
two, machine.py, tile.py and dots.py are all that speaks LLVM.
"""

import functools
import operator

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.imputils import lower_builtin, lower_cast
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, models, register_model

from fastrnn.kernels.target import features

INT = ir.IntType(64)
LANE = ir.IntType(32)

# Bytes of a vector register, by the first of these features that Numba compiles for.
_REGISTER_BYTES = {"avx512f": 64, "avx2": 32, "": 16}


@functools.cache
def bytes_of_register() -> int:
    """Return the size of a vector register."""
    return next(size for name, size in _REGISTER_BYTES.items() if not name or name in features())


class Vec(types.Type):
    """One SIMD register of float32 or float64 lanes."""

    def __init__(self, dtype):
        self.dtype = dtype
        self.lanes = bytes_of_register() * 8 // dtype.bitwidth
        super().__init__(name=f"Vec({dtype} x {self.lanes})")

    @property
    def llvm(self) -> ir.VectorType:
        """Return the type in LLVM."""
        return ir.VectorType(scalar_type(self.dtype), self.lanes)


@register_model(Vec)
class _VecModel(models.PrimitiveModel):
    def __init__(self, dmm, fe_type):
        super().__init__(dmm, fe_type, fe_type.llvm)


def scalar_type(dtype):
    """Return the LLVM type of Numba's float32 or float64."""
    return ir.FloatType() if dtype == types.float32 else ir.DoubleType()


def splat(builder, value, lanes):
    """Return a vector with this value in every lane."""
    vector = ir.VectorType(value.type, lanes)
    first = builder.insert_element(ir.Constant(vector, ir.Undefined), value, LANE(0))
    zeros = ir.Constant(ir.VectorType(LANE, lanes), [0] * lanes)
    return builder.shuffle_vector(first, first, zeros)


def call(builder, name, result, *args):
    """Call the LLVM intrinsic `llvm.<name>` of vectors of the type `result`, or without result."""
    vector = next(a.type for a in args if isinstance(a.type, ir.VectorType))
    suffix = f"v{vector.count}{'f32' if bytes_of_element(vector) == 4 else 'f64'}"
    if name.startswith("masked"):
        suffix += ".p0"
    kind = ir.FunctionType(result, [a.type for a in args])
    function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.{name}.{suffix}")
    return builder.call(function, args)


def bytes_of_element(vector):
    """Return the size of a lane of an LLVM vector type."""
    return 4 if isinstance(vector.element, ir.FloatType) else 8


# Arithmetic. A number beside a vector means that number in every lane.


@lower_cast(types.Number, Vec)
def _number_to_vec(context, builder, fromty, toty, value):
    return splat(builder, context.cast(builder, value, fromty, toty.dtype), toty.lanes)


def _signature_of_vecs(args):
    """Return Vec(Vec, ...) if the arguments are vectors of one type and numbers, else None."""
    vecs = {a for a in args if isinstance(a, Vec)}
    if len(vecs) == 1 and all(isinstance(a, Vec | types.Number) for a in args):
        vec = vecs.pop()
        return signature(vec, *[vec] * len(args))
    return None


def _define_operator(op, emit, arity):
    @infer_global(op)
    class _(AbstractTemplate):
        def generic(self, args, kws):
            return _signature_of_vecs(args) if len(args) == arity else None

    lower_builtin(op, *[Vec] * arity)(lambda context, builder, sig, args: emit(builder, *args))


_define_operator(operator.add, ir.IRBuilder.fadd, 2)
_define_operator(operator.iadd, ir.IRBuilder.fadd, 2)
_define_operator(operator.sub, ir.IRBuilder.fsub, 2)
_define_operator(operator.mul, ir.IRBuilder.fmul, 2)
_define_operator(operator.truediv, ir.IRBuilder.fdiv, 2)
_define_operator(operator.neg, ir.IRBuilder.fneg, 1)


def _elementwise(emit):
    """Make `emit(builder, *vectors) -> vector` a function of as many vectors and numbers."""

    def define(args):
        return _signature_of_vecs(args), lambda context, builder, sig, vecs: emit(builder, *vecs)

    by_arity = {  # Numba reads the number of arguments off the signature
        1: lambda typingctx, x: define((x,)),
        2: lambda typingctx, x, y: define((x, y)),
        3: lambda typingctx, x, y, z: define((x, y, z)),
    }
    function = by_arity[emit.__code__.co_argcount - 1]
    function.__name__, function.__doc__ = emit.__name__, emit.__doc__
    return intrinsic(function)


@_elementwise
def fma(builder, x, y, z):
    """Return x * y + z, rounded once."""
    return call(builder, "fma", x.type, x, y, z)


@_elementwise
def reciprocal(builder, x):
    """Return 1 / x to 1 ulp where it and x are normal numbers."""
    one = ir.Constant(x.type, [1.0] * x.type.count)
    if "avx512f" not in features():
        return builder.fdiv(one, x)
    # An estimate to 14 bits, then Newton's steps, each of which doubles them: half of the time of
    # a division, which keeps the multipliers waiting.
    double = bytes_of_element(x.type) == 8
    mask = ir.IntType(x.type.count)
    kind = ir.FunctionType(x.type, [x.type, x.type, mask])
    name = f"llvm.x86.avx512.rcp14.{'pd' if double else 'ps'}.512"
    function = cgutils.get_or_insert_function(builder.module, kind, name)
    result = builder.call(function, [x, ir.Constant(x.type, None), mask(-1)])
    for _ in range(2 if double else 1):
        error = call(builder, "fma", x.type, builder.fneg(x), result, one)
        result = call(builder, "fma", x.type, result, error, result)
    return result


@_elementwise
def copysign(builder, size, sign):
    """Return |size| with the sign of `sign`."""
    return call(builder, "copysign", size.type, size, sign)


@_elementwise
def zero_like(builder, x):
    """Return 0 in every lane."""
    return ir.Constant(x.type, None)


@_elementwise
def at_most(builder, x, bound):
    """Return min(x, bound); NaN where x is NaN."""
    return builder.select(builder.fcmp_ordered(">", x, bound), bound, x)


@_elementwise
def where_not_positive(builder, x, yes, no):
    """Return `yes` where x <= 0, else `no`: that is also where x is NaN."""
    return builder.select(builder.fcmp_ordered("<=", x, ir.Constant(x.type, None)), yes, no)


@_elementwise
def power_of_two(builder, n):
    """Return 2**m for n = m + 1.5 * 2**(bits of the mantissa), m whole, 2**m a normal number.

    The low bits of n hold m then; they are moved to where the exponent is kept.
    """
    wide = bytes_of_element(n.type) == 8
    bits = ir.VectorType(INT if wide else LANE, n.type.count)
    shift, one = (52, 0x3FF0000000000000) if wide else (23, 0x3F800000)
    moved = builder.shl(builder.bitcast(n, bits), ir.Constant(bits, [shift] * bits.count))
    exponent = builder.add(moved, ir.Constant(bits, [one] * bits.count))
    return builder.bitcast(exponent, n.type)


@intrinsic
def is_double(typingctx, x):
    """Return whether the lanes of x are float64, as a constant the compiler can fold."""

    def codegen(context, builder, sig, args):
        return context.get_constant(types.boolean, x.dtype == types.float64)

    return types.boolean(x), codegen


@intrinsic
def lanes(typingctx, array):
    """Return how many elements of this array make a vector."""

    def codegen(context, builder, sig, args):
        return context.get_constant(types.intp, Vec(array.dtype).lanes)

    return types.intp(array), codegen
