"""Memory, and how vectors (simd.py) are loaded from it and stored to it. Nothing is computed here.

Memory is named by (memory, index of an element). `flat(array)` makes a `Memory`, an address and
a size, of a C-contiguous array, which must outlive it: kernels pass these around, as Numba's own
arrays are ten times as much to compile. Nothing is checked, for speed, unless NUMBA_BOUNDSCHECK=1
is set when a kernel is compiled: then every access is, and one outside raises IndexError.
"""

import operator

from llvmlite import ir
from numba import config, types
from numba.core import cgutils
from numba.core.imputils import lower_builtin
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, make_attribute_wrapper, models, register_model

from fastrnn.kernels.simd import INT, LANE, Vec, bytes_of_element, call, splat


class Memory(types.Type):
    """An address and how many elements lie there; `.size`, `[i]` and `[i] = value` work."""

    def __init__(self, dtype):
        self.dtype = dtype
        super().__init__(name=f"Memory({dtype})")


@register_model(Memory)
class _MemoryModel(models.StructModel):
    def __init__(self, dmm, fe_type):
        members = [("data", types.CPointer(fe_type.dtype)), ("size", types.intp)]
        super().__init__(dmm, fe_type, members)


make_attribute_wrapper(Memory, "size", "size")


def _memory(context, builder, kind, data, size):
    struct = cgutils.create_struct_proxy(kind)(context, builder)
    struct.data, struct.size = data, size
    return struct._getvalue()


def address(context, builder, kind, memory, index, extent):
    """Return the address of element `index`, of which `extent` elements on will be used."""
    if isinstance(kind, Memory):
        struct = cgutils.create_struct_proxy(kind)(context, builder, memory)
        size = struct.size
    else:
        struct = context.make_array(kind)(context, builder, memory)
        size = struct.nitems
    if config.BOUNDSCHECK:
        outside = builder.or_(
            builder.icmp_signed("<", index, INT(0)),
            builder.icmp_signed(">", builder.add(index, extent), size),
        )
        used = builder.icmp_signed(">", extent, INT(0))
        with builder.if_then(builder.and_(outside, used)):
            message = "a kernel left its array: please report this"
            context.call_conv.return_user_exc(builder, IndexError, (message,))
    return builder.gep(struct.data, [index])


@intrinsic
def flat(typingctx, array):
    """Return the memory of a C-contiguous array."""
    kind = Memory(array.dtype)

    def codegen(context, builder, sig, args):
        struct = context.make_array(array)(context, builder, args[0])
        return _memory(context, builder, kind, struct.data, struct.nitems)

    return kind(array), codegen


@intrinsic
def memory_of(typingctx, where, size, like):
    """Return `size` elements like those of `like`: a C-contiguous array, or the address of one.

    An array of size 0, or the address 0, has none.
    """
    kind = Memory(like.dtype)
    if not isinstance(where, types.Integer | types.Array):
        return None

    def codegen(context, builder, sig, args):
        if isinstance(where, types.Array):
            struct = context.make_array(where)(context, builder, args[0])
            return _memory(context, builder, kind, struct.data, struct.nitems)
        pointer = context.get_value_type(types.CPointer(like.dtype))
        exists = builder.icmp_signed("!=", args[0], INT(0))
        size = builder.select(exists, args[1], INT(0))
        return _memory(context, builder, kind, builder.inttoptr(args[0], pointer), size)

    return kind(where, types.intp, like), codegen


@intrinsic
def part_of(typingctx, memory, at, size):
    """Return `size` elements of a memory from `at` on."""

    def codegen(context, builder, sig, args):
        data = address(context, builder, memory, *args)
        return _memory(context, builder, memory, data, args[2])

    return memory(memory, types.intp, types.intp), codegen


@infer_global(operator.getitem)
class _GetItem(AbstractTemplate):
    def generic(self, args, kws):
        if isinstance(args[0], Memory) and isinstance(args[1], types.Integer):
            return signature(args[0].dtype, args[0], types.intp)
        return None


@lower_builtin(operator.getitem, Memory, types.Integer)
def _get_item(context, builder, sig, args):
    at = address(context, builder, sig.args[0], *args, INT(1))
    return context.unpack_value(builder, sig.return_type, at)


@infer_global(operator.setitem)
class _SetItem(AbstractTemplate):
    def generic(self, args, kws):
        if isinstance(args[0], Memory) and isinstance(args[1], types.Integer):
            return signature(types.none, args[0], types.intp, args[0].dtype)
        return None


@lower_builtin(operator.setitem, Memory, types.Integer, types.Any)
def _set_item(context, builder, sig, args):
    at = address(context, builder, sig.args[0], *args[:2], INT(1))
    context.pack_value(builder, sig.args[2], args[2], at)


def read(builder, vector, at):
    """Return the vector at an address, aligned to its elements."""
    return builder.load(builder.bitcast(at, vector.as_pointer()), align=bytes_of_element(vector))


def write(builder, value, at):
    """Write a vector to an address, aligned to its elements."""
    builder.store(
        value, builder.bitcast(at, value.type.as_pointer()), align=bytes_of_element(value.type)
    )


def first_lanes(builder, count, lanes):
    """Return the mask of the first `count` lanes."""
    lane = ir.Constant(ir.VectorType(LANE, lanes), list(range(lanes)))
    return builder.icmp_signed("<", lane, splat(builder, builder.trunc(count, LANE), lanes))


def read_masked(builder, vector, at, mask):
    """Return the lanes of a vector that the mask names, 0 elsewhere; no other is touched."""
    at = builder.bitcast(at, vector.as_pointer())
    zero = ir.Constant(vector, None)
    return call(builder, "masked.load", vector, at, LANE(bytes_of_element(vector)), mask, zero)


def write_masked(builder, value, at, mask):
    """Write the lanes that the mask names; no other is touched."""
    at = builder.bitcast(at, value.type.as_pointer())
    call(
        builder, "masked.store", ir.VoidType(), value, at, LANE(bytes_of_element(value.type)), mask
    )


def _span(builder, count, stride, lanes):
    """Return how many elements `count` vectors reach over that start `stride` apart."""
    return builder.add(builder.mul(stride, INT(count - 1)), INT(lanes))


@intrinsic
def load(typingctx, array, index):
    """Return the vector that begins at `index`."""
    vec = Vec(array.dtype)

    def codegen(context, builder, sig, args):
        at = address(context, builder, array, *args, INT(vec.lanes))
        return read(builder, vec.llvm, at)

    return vec(array, types.intp), codegen


@intrinsic
def load_part(typingctx, array, index, count):
    """Return the vector whose first `count` lanes start at `index`; the others are 0."""
    vec = Vec(array.dtype)

    def codegen(context, builder, sig, args):
        at = address(context, builder, array, *args)
        return read_masked(builder, vec.llvm, at, first_lanes(builder, args[2], vec.lanes))

    return vec(array, types.intp, types.intp), codegen


@intrinsic
def load_many(typingctx, array, index, stride, count):
    """Return a tuple of `count` (a constant) vectors, each `stride` elements after the last."""
    if not isinstance(count, types.IntegerLiteral):
        return None
    vec, times = Vec(array.dtype), count.literal_value
    result = types.UniTuple(vec, times)

    def codegen(context, builder, sig, args):
        memory, index, stride, _ = args
        span = _span(builder, times, stride, vec.lanes)
        at = address(context, builder, array, memory, index, span)
        vectors = [read(builder, vec.llvm, builder.gep(at, [builder.mul(stride, INT(i))]))
                   for i in range(times)]  # fmt: skip
        return context.make_tuple(builder, result, vectors)

    return result(array, types.intp, types.intp, count), codegen


@intrinsic
def store(typingctx, array, index, value):
    """Write a vector to `index` on."""
    vec = Vec(array.dtype)

    def codegen(context, builder, sig, args):
        memory, index, value = args
        write(builder, value, address(context, builder, array, memory, index, INT(vec.lanes)))
        return context.get_dummy_value()

    return types.none(array, types.intp, vec), codegen


@intrinsic
def store_part(typingctx, array, index, value, count):
    """Write the first `count` lanes of a vector to `index` on."""
    vec = Vec(array.dtype)

    def codegen(context, builder, sig, args):
        memory, index, value, count = args
        at = address(context, builder, array, memory, index, count)
        write_masked(builder, value, at, first_lanes(builder, count, vec.lanes))
        return context.get_dummy_value()

    return types.none(array, types.intp, vec, types.intp), codegen


@intrinsic
def store_many(typingctx, array, index, stride, values):
    """Write a tuple of vectors, each `stride` elements after the last, from `index` on."""
    vec, times = Vec(array.dtype), len(values)

    def codegen(context, builder, sig, args):
        memory, index, stride, vectors = args
        span = _span(builder, times, stride, vec.lanes)
        at = address(context, builder, array, memory, index, span)
        for i in range(times):
            value = builder.extract_value(vectors, i)
            write(builder, value, builder.gep(at, [builder.mul(stride, INT(i))]))
        return context.get_dummy_value()

    return types.none(array, types.intp, types.intp, types.UniTuple(vec, times)), codegen


@intrinsic
def store_many_parts(typingctx, array, index, stride, values, count):
    """Write the first `count` lanes of each vector of a tuple, `stride` elements apart."""
    vec, times = Vec(array.dtype), len(values)

    def codegen(context, builder, sig, args):
        memory, index, stride, vectors, count = args
        span = builder.add(builder.mul(stride, INT(times - 1)), count)
        at = address(context, builder, array, memory, index, span)
        mask = first_lanes(builder, count, vec.lanes)
        for i in range(times):
            value = builder.extract_value(vectors, i)
            write_masked(builder, value, builder.gep(at, [builder.mul(stride, INT(i))]), mask)
        return context.get_dummy_value()

    kinds = types.UniTuple(vec, times)
    return types.none(array, types.intp, types.intp, kinds, types.intp), codegen
