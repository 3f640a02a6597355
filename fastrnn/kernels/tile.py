"""The register tile: the micro-kernel under every matrix product.

`tile` adds a product into a block of C small enough to live in registers. Its machine code is
made once for each type of float, for all sizes, and known to the kernels by name, for it takes
long to compile. The loops around it, packing and blocking are in gemm.py.
"""

import functools

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from fastrnn.kernels.linked import call_linked, linked
from fastrnn.kernels.memory import address, first_lanes, read, read_masked, write, write_masked
from fastrnn.kernels.simd import INT, Vec, bytes_of_register, call, scalar_type, splat
from fastrnn.kernels.target import features

# The most rows of a tile that many vectors wide, by the size of the register file: the
# accumulators (rows x vectors), a row of b and one broadcast value must stay in registers.
_MOST_ROWS = {32: {1: 8, 2: 8, 3: 8, 4: 6}, 16: {1: 8, 2: 6, 3: 4, 4: 3}}
MAX_VECTORS = 4

# Rows of a that are reached from one pointer: an address can have one multiple of a row in it.
_PER_POINTER = 3

# Terms of a sum that are added up before they are added to the rest: rounding grows with the root
# of this and of the number of such blocks, not of k. Half of it would cost 2 % of the time.
TERMS = 128


@functools.cache
def max_rows(vectors: int) -> int:
    """Return how many rows a tile of `vectors` vectors may have."""
    return _MOST_ROWS[32 if features() & {"avx512f", "neon"} else 16][vectors]


def describe() -> dict[str, str]:
    """Return what the kernels use of this CPU, for `fastrnn info`."""
    names = {64: "AVX-512", 32: "AVX2", 16: "128-bit vectors"}
    lanes = bytes_of_register() // 4
    return {
        "instruction set": names[bytes_of_register()] + " + FMA" * ("fma" in features()),
        "lanes": f"{lanes} float32, {lanes // 2} float64",
        "tile": f"{max_rows(MAX_VECTORS)} rows x {MAX_VECTORS} vectors",
    }


def _type(dtype):
    """Return the type of a tile's LLVM function: the arguments of `tile` from `a` on, then more."""
    pointer = scalar_type(dtype).as_pointer()
    a, b, d, c = [pointer, INT, INT], [pointer, INT], [pointer, INT], [pointer, INT]
    return ir.FunctionType(ir.VoidType(), [*a, *b, *d, *c, INT, INT, INT])


def _chooser_type(dtype):
    return ir.FunctionType(ir.VoidType(), [INT, INT, *_type(dtype).args])


def _not_unrolled(module):
    """Return the metadata of a loop to be left as it is."""
    disable = module.add_metadata([ir.MetaDataString(module, "llvm.loop.unroll.disable")])
    loop = ir.values.MDValue(module, [disable], name=str(len(module.metadata)))
    loop.operands = (loop, disable)
    return loop


def _hidden(builder, pointer):
    """Return the pointer through an opaque asm, so that LLVM cannot strength-reduce it; free.

    Else LLVM would walk from row to row by additions, which take the ports that multiply-adds want.
    """
    kind = ir.FunctionType(pointer.type, [pointer.type])
    return builder.asm(kind, "", "=r,0", [pointer], side_effect=False)


def _define(module, dtype, rows, vectors):
    """Define the LLVM function of the tile of `rows` x `vectors` and return it."""
    vec = Vec(dtype)
    function = ir.Function(module, _type(dtype), f"tile_{dtype}_{rows}x{vectors}")
    function.linkage = "internal"
    function.attributes.add("noinline")
    a, a_row, a_step, b, b_step, d, d_row, c, c_row, k, terms, last = function.args
    entry, block, loop, flush, done = (
        function.append_basic_block(name) for name in ("entry", "block", "loop", "flush", "done")
    )
    builder = ir.IRBuilder(entry)
    mask = first_lanes(builder, last, vec.lanes)
    places = [(r, v) for r in range(rows) for v in range(vectors)]
    zero = ir.Constant(vec.llvm, None)

    def element(base, row_length, r, v):
        row = builder.gep(base, [builder.mul(INT(r), row_length)])
        return builder.gep(row, [INT(v * vec.lanes)])

    multiples = [builder.mul(INT(i), a_row) for i in range(_PER_POINTER)]
    starts = [element(a, a_row, r, 0) for r in range(0, rows, _PER_POINTER)]
    builder.branch(block)

    # A block of terms: its sum starts at zero and is added to d, after the first block to c.
    builder.position_at_end(block)
    left, a_begin, b_begin = builder.phi(INT), builder.phi(INT), builder.phi(INT)
    sum_from, sum_row = builder.phi(d.type), builder.phi(INT)
    for phi, value in ((left, k), (a_begin, INT(0)), (b_begin, INT(0)), (sum_from, d),
                       (sum_row, d_row)):  # fmt: skip
        phi.add_incoming(value, entry)
    begins = [builder.gep(start, [a_begin]) for start in starts]
    whole = builder.icmp_signed("<", terms, left)
    count = builder.select(whole, terms, left)
    builder.cbranch(builder.icmp_signed(">", count, INT(0)), loop, flush)

    builder.position_at_end(loop)
    counters = []
    for start, stride in ((INT(0), INT(1)), (b_begin, b_step)):
        at = builder.phi(INT)
        at.add_incoming(start, block)
        counters.append((at, stride))
    pointers = [builder.phi(a.type) for _ in starts]
    sums = [builder.phi(vec.llvm) for _ in places]
    b_row = builder.gep(b, [counters[1][0]])

    def value(r):
        pointer, within = pointers[r // _PER_POINTER], multiples[r % _PER_POINTER]
        return splat(builder, builder.load(builder.gep(pointer, [within])), vec.lanes)

    def vector(v):
        return read(builder, vec.llvm, builder.gep(b_row, [INT(v * vec.lanes)]))

    # Where registers are few there is room for all of the shorter side and one of the longer.
    by_rows = rows > vectors
    held = [vector(v) for v in range(vectors)] if by_rows else [value(r) for r in range(rows)]
    products = {}
    for i in range(rows if by_rows else vectors):
        one = value(i) if by_rows else vector(i)
        for j, other in enumerate(held):
            place = (i, j) if by_rows else (j, i)
            total = sums[places.index(place)]
            products[place] = call(builder, "fma", vec.llvm, one, other, total)
    results = [products[place] for place in places]
    step, b_end = (builder.add(at, stride) for at, stride in counters)
    for (at, _), end in zip(counters, (step, b_end), strict=True):
        at.add_incoming(end, loop)
    for pointer, begin in zip(pointers, begins, strict=True):
        pointer.add_incoming(begin, block)
        pointer.add_incoming(_hidden(builder, builder.gep(pointer, [a_step])), loop)
    for total, result in zip(sums, results, strict=True):
        total.add_incoming(zero, block)
        total.add_incoming(result, loop)
    again = builder.cbranch(builder.icmp_signed("<", step, count), loop, flush)
    # The loop is as wide as the registers allow: unrolling it would only take seconds to compile.
    again.set_metadata("llvm.loop", _not_unrolled(module))

    builder.position_at_end(flush)
    totals = [builder.phi(vec.llvm) for _ in places]
    for total, result in zip(totals, results, strict=True):
        total.add_incoming(zero, block)
        total.add_incoming(result, loop)
    b_next = builder.phi(INT)
    b_next.add_incoming(b_begin, block)
    b_next.add_incoming(b_end, loop)
    a_next = builder.add(a_begin, builder.mul(count, a_step))
    for (r, v), total in zip(places, totals, strict=True):
        before, after = element(sum_from, sum_row, r, v), element(c, c_row, r, v)
        if v < vectors - 1:
            write(builder, builder.fadd(read(builder, vec.llvm, before), total), after)
        else:
            start = read_masked(builder, vec.llvm, before, mask)
            write_masked(builder, builder.fadd(start, total), after, mask)
    for phi, value in ((left, builder.sub(left, count)), (a_begin, a_next), (b_begin, b_next),
                       (sum_from, c), (sum_row, c_row)):  # fmt: skip
        phi.add_incoming(value, flush)
    builder.cbranch(whole, block, done)

    builder.position_at_end(done)
    builder.ret_void()
    return function


@linked("tile", _chooser_type)
def _define_chooser(module, chooser, dtype):
    """Define the tiles of all sizes and, as `chooser`, the function that calls one of them."""
    rows, vectors, *rest = chooser.args
    inside = ir.IRBuilder(chooser.append_basic_block("entry"))
    never = chooser.append_basic_block("no_such_tile")
    choice = inside.switch(inside.add(inside.mul(vectors, INT(16)), rows), never)
    for v in range(1, MAX_VECTORS + 1):
        for r in range(1, max_rows(v) + 1):
            case = chooser.append_basic_block(f"tile_{r}x{v}")
            choice.add_case(INT(v * 16 + r), case)
            inside.position_at_end(case)
            inside.call(_define(module, dtype, r, v), rest, tail=True)
            inside.ret_void()
    inside.position_at_end(never)
    inside.unreachable()


@intrinsic
def tile(typingctx, rows, vectors, last, k, terms, a, a_at, a_row, a_step, b, b_at, b_step,
         d, d_at, d_row, c, c_at, c_row):  # fmt: skip
    """C = D + A B for a tile of C that lives in registers: the one matrix kernel.

        c[r, n] = d[r, n] + sum over s < k of a[r, s] b[s, n]

    Summed in the order of s, by fused multiply-add, in blocks: the result does not depend on
    `rows` or `vectors`, so a row comes out the same in any company.

    Args:
        rows: rows of the tile, 1 to max_rows(vectors).
        vectors: width of the tile in vectors, 1 to MAX_VECTORS.
        last: lanes of the last vector that exist in c and d, 1 to lanes(c).
        k: terms of each sum, 0 or more.
        terms: those of a block, at least 1.
        a, a_at, a_row, a_step: a[r, s] is element a_at + r * a_row + s * a_step.
        b, b_at, b_step: b[s, n] is element b_at + s * b_step + n; whole vectors are read.
        d, d_at, d_row: d[r, n] is element d_at + r * d_row + n. d_row = 0 repeats one row (a
            bias); d may be c itself (adding a product).
        c, c_at, c_row: written, never read unless it is d; must not overlap a or b.
    """
    arrays = {"a": a, "b": b, "d": d, "c": c}

    def codegen(context, builder, sig, args):
        (rows, vectors, last, k, terms, a, a_at, a_row, a_step, b, b_at, b_step,
         d, d_at, d_row, c, c_at, c_row) = args  # fmt: skip
        lanes = INT(Vec(arrays["c"].dtype).lanes)

        def upto_last(count, stride):
            return builder.mul(builder.sub(count, INT(1)), stride)

        def if_any(extent):
            return builder.select(builder.icmp_signed(">", k, INT(0)), extent, INT(0))

        def at(name, array, index, *extents):
            extent = functools.reduce(builder.add, extents)
            extent = if_any(extent) if name in "ab" else extent
            return address(context, builder, arrays[name], array, index, extent)

        width = builder.add(upto_last(vectors, lanes), last)
        a = at("a", a, a_at, upto_last(rows, a_row), upto_last(k, a_step), INT(1))
        b = at("b", b, b_at, upto_last(k, b_step), builder.mul(vectors, lanes))
        d = at("d", d, d_at, upto_last(rows, d_row), width)
        c = at("c", c, c_at, upto_last(rows, c_row), width)
        dtype = arrays["c"].dtype
        call_linked(builder, "tile", dtype, [rows, vectors, a, a_row, a_step, b, b_step,
                                             d, d_row, c, c_row, k, terms, last])  # fmt: skip
        return context.get_dummy_value()

    index = types.intp
    return types.none(index, index, index, index, index, a, index, index, index, b, index, index,
                      d, index, index, c, index, index), codegen  # fmt: skip
