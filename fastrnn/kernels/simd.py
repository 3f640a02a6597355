"""Vectors and the register-tile micro-kernel: the only file that speaks LLVM.

`Vec` makes one SIMD register a Numba value, with `+ - * /`, `fma` and a few functions, so that
the rest of the package writes vector code as equations. `tile` is the micro-kernel under every
matrix product. Blocking, packing and threads are elsewhere, and so is all that recurs.

Memory is named by (array, index of an element): arrays are C-contiguous, of any number of
dimensions, and counted flat. Nothing is checked, for speed, unless NUMBA_BOUNDSCHECK=1 is set
when a kernel is compiled: then every access is, and one outside raises IndexError.
"""

import functools
import operator

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import config, types
from numba.core import cgutils
from numba.core.imputils import lower_builtin, lower_cast
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, models, register_model

from fastrnn._jit import before_kernels, jit

_INT = ir.IntType(64)
_LANE = ir.IntType(32)

# Bytes of a vector register, by the first of these CPU features that is there.
_REGISTER_BYTES = {"avx512f": 64, "avx2": 32, "": 16}

# The most rows of a tile that many vectors wide, by the size of the register file: the
# accumulators (rows x vectors), a row of b and one broadcast value must stay in registers.
_MOST_ROWS = {32: {1: 8, 2: 8, 3: 8, 4: 6}, 16: {1: 8, 2: 6, 3: 4, 4: 3}}
WIDEST = 4
_TILE_TYPES = (types.float32, types.float64)


@functools.cache
def _features() -> frozenset[str]:
    """Return the CPU features Numba compiles for (NUMBA_CPU_FEATURES narrows them)."""
    if config.CPU_FEATURES is not None:
        return frozenset(f[1:] for f in config.CPU_FEATURES.split(",") if f.startswith("+"))
    return frozenset(name for name, on in llvm.get_host_cpu_features().items() if on)


@functools.cache
def bytes_of_register() -> int:
    """Return the size of a vector register."""
    return next(size for name, size in _REGISTER_BYTES.items() if not name or name in _features())


@functools.cache
def most_rows(vectors: int) -> int:
    """Return how many rows a tile of `vectors` vectors may have."""
    many = "avx512f" in _features() or "neon" in _features()
    return _MOST_ROWS[32 if many else 16][vectors]


def describe() -> dict[str, str]:
    """Return what the kernels use of this CPU, for `fastrnn info`."""
    names = {64: "AVX-512", 32: "AVX2", 16: "128-bit vectors"}
    lanes = bytes_of_register() // 4
    return {
        "instruction set": names[bytes_of_register()] + (" + FMA" if "fma" in _features() else ""),
        "lanes": f"{lanes} float32, {lanes // 2} float64",
        "tile": f"{most_rows(WIDEST)} rows x {WIDEST} vectors",
    }


class Vec(types.Type):
    """One SIMD register of float32 or float64 lanes."""

    def __init__(self, dtype):
        self.dtype = dtype
        self.lanes = bytes_of_register() * 8 // dtype.bitwidth
        super().__init__(name=f"Vec({dtype} x {self.lanes})")


@register_model(Vec)
class _VecModel(models.PrimitiveModel):
    def __init__(self, dmm, fe_type):
        super().__init__(dmm, fe_type, _vector(fe_type))


def _scalar(dtype):
    return ir.FloatType() if dtype == types.float32 else ir.DoubleType()


def _vector(vec, of=None):
    return ir.VectorType(of or _scalar(vec.dtype), vec.lanes)


def _splat(builder, value, lanes):
    vector = ir.VectorType(value.type, lanes)
    first = builder.insert_element(ir.Constant(vector, ir.Undefined), value, _LANE(0))
    zeros = ir.Constant(ir.VectorType(_LANE, lanes), [0] * lanes)
    return builder.shuffle_vector(first, first, zeros)


def _call(builder, name, result, *args):
    """Call the LLVM intrinsic `llvm.<name>`, which takes vectors of one type to that type."""
    element = {"float": "f32", "double": "f64"}[str(result.element)]
    kind = ir.FunctionType(result, [a.type for a in args])
    function = cgutils.get_or_insert_function(
        builder.module, kind, f"llvm.{name}.v{result.count}{element}")
    return builder.call(function, args)


# Arithmetic. A number beside a vector means that number in every lane.


@lower_cast(types.Number, Vec)
def _number_to_vec(context, builder, fromty, toty, value):
    return _splat(builder, context.cast(builder, value, fromty, toty.dtype), toty.lanes)


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


@intrinsic
def fma(typingctx, x, y, z):
    """Return x * y + z, rounded once."""
    def codegen(context, builder, sig, args):
        return _call(builder, "fma", args[0].type, *args)
    return _signature_of_vecs((x, y, z)), codegen


@intrinsic
def zero_like(typingctx, x):
    """Return 0 in every lane."""
    def codegen(context, builder, sig, args):
        return ir.Constant(args[0].type, None)
    return _signature_of_vecs((x,)), codegen


@intrinsic
def copysign(typingctx, size, sign):
    """Return |size| with the sign of `sign`."""
    def codegen(context, builder, sig, args):
        return _call(builder, "copysign", args[0].type, *args)
    return _signature_of_vecs((size, sign)), codegen


@intrinsic
def at_most(typingctx, x, bound):
    """Return min(x, bound); NaN where x is NaN."""
    def codegen(context, builder, sig, args):
        return builder.select(builder.fcmp_ordered(">", *args), args[1], args[0])
    return _signature_of_vecs((x, bound)), codegen


@intrinsic
def where_not_positive(typingctx, x, yes, no):
    """Return `yes` where x <= 0, else `no`: that is also where x is NaN."""
    def codegen(context, builder, sig, args):
        zero = ir.Constant(args[0].type, None)
        return builder.select(builder.fcmp_ordered("<=", args[0], zero), args[1], args[2])
    return _signature_of_vecs((x, yes, no)), codegen


@intrinsic
def keep_lanes(typingctx, values, count):
    """Return a tuple of vectors with 0 in all lanes but the first `count`."""
    if not isinstance(values, types.UniTuple):
        return None

    def codegen(context, builder, sig, args):
        vector = _vector(values.dtype)
        mask = _mask(builder, args[1], vector.count)
        kept = [builder.select(mask, builder.extract_value(args[0], i), ir.Constant(vector, None))
                for i in range(len(values))]
        return context.make_tuple(builder, values, kept)
    return values(values, types.intp), codegen


@intrinsic
def power_of_two(typingctx, n):
    """Return 2**m for n = m + ROUND, m whole and 2**m a normal number (see activation.py).

    The low bits of n hold m then; they are moved to where the exponent is kept.
    """
    if not isinstance(n, Vec):
        return None

    def codegen(context, builder, sig, args):
        wide = n.dtype == types.float64
        bits = _vector(n, _INT if wide else _LANE)
        shift, one = (52, 0x3FF0000000000000) if wide else (23, 0x3F800000)
        moved = builder.shl(builder.bitcast(args[0], bits),
                            ir.Constant(bits, [shift] * n.lanes))
        return builder.bitcast(builder.add(moved, ir.Constant(bits, [one] * n.lanes)),
                               args[0].type)
    return n(n), codegen


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


# Memory.


def _pointer(context, builder, arrayty, array, index, extent):
    """Return the address of element `index`, of which `extent` elements on will be used."""
    struct = context.make_array(arrayty)(context, builder, array)
    if config.BOUNDSCHECK:
        end = builder.add(index, extent)
        outside = builder.or_(builder.icmp_signed("<", index, _INT(0)),
                              builder.icmp_signed(">", end, struct.nitems))
        with builder.if_then(builder.and_(outside, builder.icmp_signed(">", extent, _INT(0)))):
            context.call_conv.return_user_exc(
                builder, IndexError, ("a kernel left its array: please report this",))
    return builder.gep(struct.data, [index])


def _extent(builder, count, stride, vec):
    """Return how many elements `count` vectors span that begin `stride` apart."""
    return builder.add(builder.mul(stride, _INT(count - 1)), _INT(vec.lanes))


def _load(builder, pointer, vector):
    return builder.load(builder.bitcast(pointer, vector.as_pointer()),
                        align=_bytes(vector.element))


def _store(builder, value, pointer):
    builder.store(value, builder.bitcast(pointer, value.type.as_pointer()),
                  align=_bytes(value.type.element))


def _bytes(element):
    return 4 if isinstance(element, ir.FloatType) else 8


def _mask(builder, count, lanes):
    """Return the mask of the first `count` lanes."""
    lane = ir.Constant(ir.VectorType(_LANE, lanes), list(range(lanes)))
    return builder.icmp_signed("<", lane, _splat(builder, builder.trunc(count, _LANE), lanes))


def _masked_load(builder, pointer, vector, mask):
    element = "f32" if _bytes(vector.element) == 4 else "f64"
    pointer = builder.bitcast(pointer, vector.as_pointer())
    kind = ir.FunctionType(vector, [pointer.type, _LANE, mask.type, vector])
    function = cgutils.get_or_insert_function(
        builder.module, kind, f"llvm.masked.load.v{vector.count}{element}.p0")
    zero = ir.Constant(vector, None)
    return builder.call(function, [pointer, _LANE(_bytes(vector.element)), mask, zero])


def _masked_store(builder, value, pointer, mask):
    vector = value.type
    element = "f32" if _bytes(vector.element) == 4 else "f64"
    pointer = builder.bitcast(pointer, vector.as_pointer())
    kind = ir.FunctionType(ir.VoidType(), [vector, pointer.type, _LANE, mask.type])
    function = cgutils.get_or_insert_function(
        builder.module, kind, f"llvm.masked.store.v{vector.count}{element}.p0")
    builder.call(function, [value, pointer, _LANE(_bytes(vector.element)), mask])


@intrinsic
def load(typingctx, array, index):
    """Return the vector that begins at `index`."""
    vec = Vec(array.dtype)

    def codegen(context, builder, sig, args):
        pointer = _pointer(context, builder, sig.args[0], *args, _INT(vec.lanes))
        return _load(builder, pointer, _vector(vec))
    return vec(array, types.intp), codegen


@intrinsic
def load_part(typingctx, array, index, count):
    """Return the vector whose first `count` lanes begin at `index`; the others are 0."""
    vec = Vec(array.dtype)

    def codegen(context, builder, sig, args):
        array, index, count = args
        pointer = _pointer(context, builder, sig.args[0], array, index, count)
        return _masked_load(builder, pointer, _vector(vec), _mask(builder, count, vec.lanes))
    return vec(array, types.intp, types.intp), codegen


@intrinsic
def load_many(typingctx, array, index, stride, count):
    """Return a tuple of `count` (a constant) vectors, each `stride` elements after the last."""
    if not isinstance(count, types.IntegerLiteral):
        return None
    vec = Vec(array.dtype)
    result = types.UniTuple(vec, count.literal_value)

    def codegen(context, builder, sig, args):
        array, index, stride, _ = args
        pointer = _pointer(context, builder, sig.args[0], array, index,
                           _extent(builder, len(result), stride, vec))
        vectors = [_load(builder, builder.gep(pointer, [builder.mul(stride, _INT(i))]),
                         _vector(vec)) for i in range(len(result))]
        return context.make_tuple(builder, result, vectors)
    return result(array, types.intp, types.intp, count), codegen


@intrinsic
def store(typingctx, array, index, value):
    """Write a vector to `index` on."""
    vec = Vec(array.dtype)

    def codegen(context, builder, sig, args):
        array, index, value = args
        _store(builder, value, _pointer(context, builder, sig.args[0], array, index,
                                        _INT(vec.lanes)))
        return context.get_dummy_value()
    return types.none(array, types.intp, vec), codegen


@intrinsic
def store_part(typingctx, array, index, value, count):
    """Write the first `count` lanes of a vector to `index` on."""
    vec = Vec(array.dtype)

    def codegen(context, builder, sig, args):
        array, index, value, count = args
        pointer = _pointer(context, builder, sig.args[0], array, index, count)
        _masked_store(builder, value, pointer, _mask(builder, count, vec.lanes))
        return context.get_dummy_value()
    return types.none(array, types.intp, vec, types.intp), codegen


@intrinsic
def store_many(typingctx, array, index, stride, values):
    """Write a tuple of vectors, each `stride` elements after the last, from `index` on."""
    vec = Vec(array.dtype)

    def codegen(context, builder, sig, args):
        array, index, stride, values = args
        count = len(sig.args[3])
        pointer = _pointer(context, builder, sig.args[0], array, index,
                           _extent(builder, count, stride, vec))
        for i in range(count):
            _store(builder, builder.extract_value(values, i),
                   builder.gep(pointer, [builder.mul(stride, _INT(i))]))
        return context.get_dummy_value()
    return types.none(array, types.intp, types.intp, types.UniTuple(vec, len(values))), codegen


# The micro-kernel.


def _not_unrolled(module):
    """Return the metadata of a loop to be left as it is."""
    disable = module.add_metadata([ir.MetaDataString(module, "llvm.loop.unroll.disable")])
    loop = ir.values.MDValue(module, [disable], name=str(len(module.metadata)))
    loop.operands = (loop, disable)
    return loop


def _tile_function(module, dtype, rows, vectors):
    """Return a new LLVM function: the tile of `rows` x `vectors`."""
    vec = Vec(dtype)
    vector = _vector(vec)
    kind = _tile_type(dtype)
    name = f"fastrnn_tile_{dtype}_{rows}x{vectors}"
    function = ir.Function(module, kind, name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    a, a_row, a_step, b, b_step, d, d_row, c, c_row, k, last = function.args
    entry = function.append_basic_block("entry")
    loop = function.append_basic_block("loop")
    done = function.append_basic_block("done")
    builder = ir.IRBuilder(entry)
    mask = _mask(builder, last, vec.lanes)

    def element(base, row, v):
        return builder.gep(builder.gep(base, [row]), [_INT(v * vec.lanes)])

    starts = []
    for r in range(rows):
        row = builder.mul(_INT(r), d_row)
        for v in range(vectors):
            at = element(d, row, v)
            starts.append(_masked_load(builder, at, vector, mask) if v == vectors - 1
                          else _load(builder, at, vector))
    a_rows = [builder.gep(a, [builder.mul(_INT(r), a_row)]) for r in range(rows)]
    builder.cbranch(builder.icmp_signed(">", k, _INT(0)), loop, done)

    builder.position_at_end(loop)
    step = builder.phi(_INT)
    a_at = builder.phi(_INT)
    b_at = builder.phi(_INT)
    for phi in (step, a_at, b_at):
        phi.add_incoming(_INT(0), entry)
    sums = [builder.phi(vector) for _ in starts]
    b_row = builder.gep(b, [b_at])
    b_vectors = [_load(builder, builder.gep(b_row, [_INT(v * vec.lanes)]), vector)
                 for v in range(vectors)]
    results = []
    for r in range(rows):
        a_value = _splat(builder, builder.load(builder.gep(a_rows[r], [a_at])), vec.lanes)
        results += [_call(builder, "fma", vector, a_value, b_vectors[v], sums[r * vectors + v])
                    for v in range(vectors)]
    next_step = builder.add(step, _INT(1))
    step.add_incoming(next_step, loop)
    a_at.add_incoming(builder.add(a_at, a_step), loop)
    b_at.add_incoming(builder.add(b_at, b_step), loop)
    for phi, start, result in zip(sums, starts, results, strict=True):
        phi.add_incoming(start, entry)
        phi.add_incoming(result, loop)
    again = builder.cbranch(builder.icmp_signed("<", next_step, k), loop, done)
    # The loop is as wide as the registers allow: unrolling only costs seconds of compilation.
    again.set_metadata("llvm.loop", _not_unrolled(module))

    builder.position_at_end(done)
    for i, (start, result) in enumerate(zip(starts, results, strict=True)):
        total = builder.phi(vector)
        total.add_incoming(start, entry)
        total.add_incoming(result, loop)
        starts[i] = total
    for r in range(rows):
        row = builder.mul(_INT(r), c_row)
        for v in range(vectors):
            total, at = starts[r * vectors + v], element(c, row, v)
            if v == vectors - 1:
                _masked_store(builder, total, at, mask)
            else:
                _store(builder, total, at)
    builder.ret_void()
    return function


def _tile_type(dtype):
    """Return the type of a tile's LLVM function: the arguments of `tile` from `a` on, k, last."""
    pointer = _scalar(dtype).as_pointer()
    a, b, d, c = [pointer, _INT, _INT], [pointer, _INT], [pointer, _INT], [pointer, _INT]
    return ir.FunctionType(ir.VoidType(), [*a, *b, *d, *c, _INT, _INT])


def _tile_symbol(dtype):
    return f"fastrnn_tile_{dtype}"


@intrinsic
def _tile_address(typingctx, array):
    """Compile the tiles of all sizes and return the address of the function that chooses one."""
    dtype = array.dtype

    def codegen(context, builder, sig, args):
        kind = _tile_type(dtype)
        chooser = ir.Function(
            builder.module, ir.FunctionType(ir.VoidType(), [_INT, _INT, *kind.args]),
            _tile_symbol(dtype))
        rows, vectors, *rest = chooser.args
        inner = ir.IRBuilder(chooser.append_basic_block("entry"))
        never = chooser.append_basic_block("no_such_tile")
        choice = inner.switch(inner.add(inner.mul(vectors, _INT(16)), rows), never)
        for v in range(1, WIDEST + 1):
            for r in range(1, most_rows(v) + 1):
                block = chooser.append_basic_block(f"tile_{r}x{v}")
                choice.add_case(_INT(v * 16 + r), block)
                inner.position_at_end(block)
                inner.call(_tile_function(builder.module, dtype, r, v), rest, tail=True)
                inner.ret_void()
        inner.position_at_end(never)
        inner.unreachable()
        return builder.ptrtoint(chooser, _INT)
    return types.intp(array), codegen


@jit
def tile_address(array):
    """Return the address of the tiles for arrays like this one."""
    return _tile_address(array)


_tiles_are_provided = set()


@before_kernels
def provide_tiles(dtype):
    """Make the tiles known by name, so that no kernel needs a copy: they take long to compile."""
    if dtype in _TILE_TYPES and dtype not in _tiles_are_provided:
        _tiles_are_provided.add(dtype)
        address = tile_address(np.empty(0, np.dtype(dtype.name)))
        llvm.add_symbol(_tile_symbol(dtype), address)


@intrinsic
def tile(typingctx, rows, vectors, last, k, a, a_at, a_row, a_step, b, b_at, b_step,
         d, d_at, d_row, c, c_at, c_row):
    """C = D + A B for a tile of C that lives in registers: the one matrix kernel.

        c[r, n] = d[r, n] + sum over s < k of a[r, s] b[s, n]

    Accumulated in the order of s, so that the result does not depend on `rows` or `vectors`.

    Args:
        rows: rows of the tile, 1 to most_rows(vectors).
        vectors: width of the tile in vectors, 1 to WIDEST.
        last: lanes of the last vector that exist in c and d, 1 to lanes(c).
        k: terms of each sum, 0 or more.
        a, a_at, a_row, a_step: a[r, s] is element a_at + r * a_row + s * a_step.
        b, b_at, b_step: b[s, n] is element b_at + s * b_step + n; whole vectors are read.
        d, d_at, d_row: d[r, n] is element d_at + r * d_row + n. d_row = 0 repeats one row (a
            bias); d may be c itself (adding a product).
        c, c_at, c_row: written, never read unless it is d; must not overlap a or b.
    """
    index = types.intp
    a_type, b_type, c_type, d_type = a, b, c, d

    def codegen(context, builder, sig, args):
        (rows, vectors, last, k, a, a_at, a_row, a_step, b, b_at, b_step,
         d, d_at, d_row, c, c_at, c_row) = args
        lanes = _INT(Vec(c_type.dtype).lanes)

        def add(x, y):
            return builder.add(x, y)

        def upto(count, stride):
            return builder.mul(builder.sub(count, _INT(1)), stride)

        width = add(upto(vectors, lanes), last)
        a_reach = add(add(upto(rows, a_row), upto(k, a_step)), _INT(1))
        b_reach = add(upto(k, b_step), builder.mul(vectors, lanes))
        some = builder.icmp_signed(">", k, _INT(0))
        a = _pointer(context, builder, a_type, a, a_at, builder.select(some, a_reach, _INT(0)))
        b = _pointer(context, builder, b_type, b, b_at, builder.select(some, b_reach, _INT(0)))
        d = _pointer(context, builder, d_type, d, d_at, add(upto(rows, d_row), width))
        c = _pointer(context, builder, c_type, c, c_at, add(upto(rows, c_row), width))
        kind = _tile_type(c_type.dtype)
        function = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(ir.VoidType(), [_INT, _INT, *kind.args]),
            _tile_symbol(c_type.dtype))
        builder.call(function, [rows, vectors, a, a_row, a_step, b, b_step, d, d_row, c, c_row,
                                k, last])
        return context.get_dummy_value()
    return types.none(index, index, index, index,
                      a, index, index, index, b, index, index,
                      d, index, index, c, index, index), codegen
