"""Products with unpacked weights (GEMV): for the few rows for which packing would not pay.

`dots` makes one vector of results for each row; the rows and the weight are both read along k, a
vector at a time. Over a packed weight the tile (tile.py) is faster: no sum has to be added up
across a register.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastrnn.kernels.jit import jit
from fastrnn.kernels.linked import call_linked, linked
from fastrnn.kernels.memory import address, first_lanes, read, read_masked, write
from fastrnn.kernels.simd import INT, Vec, call, lanes, scalar_type

_LANE = ir.IntType(32)
ROWS = (4, 2, 1)  # rows at a time
_STREAMS = 8  # on Zen 4, of 8 MiB: 16 streams 31 GB/s, 8 70, 4 76, one 92


def _add_across(builder, sums):
    """Return a vector whose lane i is the sum of all lanes of sums[i], a power of two of them."""
    n, half = sums[0].type.count, 1
    while half < n:  # lanes that differ in bit `half` are added: of one vector, and of the next
        mine = [lane if not lane & half else n + (lane ^ half) for lane in range(n)]
        other = [lane ^ half if not lane & half else n + lane for lane in range(n)]
        masks = [ir.Constant(ir.VectorType(_LANE, n), lanes) for lanes in (mine, other)]
        seconds = sums[1::2] or sums  # the last one is added to itself
        sums = [builder.fadd(*(builder.shuffle_vector(a, b, mask) for mask in masks))
                for a, b in zip(sums[::2], seconds, strict=True)]  # fmt: skip
        half *= 2
    return sums[0]


def _define(module, dtype, rows):
    """Define the LLVM function for `rows` rows and return it."""
    vec = Vec(dtype)
    n = vec.lanes
    # Rows of the weight at a time: enough sums to keep the multipliers busy, and no more than
    # eight streams of memory, which is as many as the CPU fetches ahead.
    share = min(_STREAMS, n // rows)
    function = ir.Function(module, _type(dtype), f"dots_{dtype}_{rows}")
    function.linkage = "internal"
    function.attributes.add("noinline")
    a, a_row, b, b_row, count, k, d, c, c_row, begin, end = function.args
    entry, group, loop, rest, add, done = (
        function.append_basic_block(name)
        for name in ("entry", "group", "loop", "rest", "add", "done")
    )
    builder = ir.IRBuilder(entry)
    zero = ir.Constant(vec.llvm, None)
    whole = builder.and_(k, INT(-n))
    mask = first_lanes(builder, builder.sub(k, whole), n)
    a_rows = [builder.gep(a, [builder.mul(INT(r), a_row)]) for r in range(rows)]
    last, ahead = builder.sub(count, INT(1)), builder.mul(b_row, INT(share))
    builder.branch(group)

    builder.position_at_end(group)
    first = builder.phi(INT)
    first.add_incoming(begin, entry)
    b_rows = []
    for i in range(share):  # rows that do not exist repeat the last one
        row = builder.add(first, INT(i))
        row = builder.select(builder.icmp_signed("<", row, last), row, last)
        b_rows.append(builder.gep(b, [builder.mul(row, b_row)]))
    builder.cbranch(builder.icmp_signed(">", whole, INT(0)), loop, rest)

    def prefetch(at):
        for row in b_rows:
            place = builder.gep(builder.gep(row, [ahead]), [at])
            kind = ir.FunctionType(ir.VoidType(), [place.type, _LANE, _LANE, _LANE])
            function = cgutils.get_or_insert_function(module, kind, "llvm.prefetch.p0")
            builder.call(function, [place, _LANE(0), _LANE(3), _LANE(1)])

    def advance(at, sums, reading):
        a_values = [reading(builder.gep(row, [at])) for row in a_rows]
        b_values = [reading(builder.gep(row, [at])) for row in b_rows]
        return [call(builder, "fma", vec.llvm, a_values[i // share], b_values[i % share], total)
                for i, total in enumerate(sums)]  # fmt: skip

    builder.position_at_end(loop)
    at = builder.phi(INT)
    sums = [builder.phi(vec.llvm) for _ in range(rows * share)]
    if rows == max(ROWS):  # few streams: the CPU does not see early enough where they go on
        prefetch(at)
    results = advance(at, sums, lambda place: read(builder, vec.llvm, place))
    after = builder.add(at, INT(n))
    at.add_incoming(INT(0), group)
    at.add_incoming(after, loop)
    for total, result in zip(sums, results, strict=True):
        total.add_incoming(zero, group)
        total.add_incoming(result, loop)
    builder.cbranch(builder.icmp_signed("<", after, whole), loop, rest)

    builder.position_at_end(rest)
    totals = [builder.phi(vec.llvm) for _ in sums]
    for total, result in zip(totals, results, strict=True):
        total.add_incoming(zero, group)
        total.add_incoming(result, loop)
    with builder.if_else(builder.icmp_signed("<", whole, k)) as (some, none):
        with some:
            masked = advance(whole, totals, lambda p: read_masked(builder, vec.llvm, p, mask))
            from_some = builder.block
        with none:
            from_none = builder.block
    merged = []
    for total, result in zip(totals, masked, strict=True):
        merged.append(builder.phi(vec.llvm))
        merged[-1].add_incoming(result, from_some)
        merged[-1].add_incoming(total, from_none)
    builder.branch(add)

    builder.position_at_end(add)
    lanes = _add_across(builder, merged)
    for r in range(rows):
        part = ir.Constant(ir.VectorType(_LANE, share), list(range(r * share, (r + 1) * share)))
        sums_of_row = builder.shuffle_vector(lanes, lanes, part)
        start = read(builder, sums_of_row.type, builder.gep(d, [first]))
        to = builder.gep(builder.gep(c, [builder.mul(INT(r), c_row)]), [first])
        write(builder, builder.fadd(start, sums_of_row), to)
    following = builder.add(first, INT(share))
    first.add_incoming(following, add)
    builder.cbranch(builder.icmp_signed("<", following, end), group, done)

    builder.position_at_end(done)
    builder.ret_void()
    return function


def _type(dtype):
    pointer = scalar_type(dtype).as_pointer()
    return ir.FunctionType(
        ir.VoidType(), [pointer, INT, pointer, INT, INT, INT, pointer, pointer, INT, INT, INT]
    )


def _chooser_type(dtype):
    return ir.FunctionType(ir.VoidType(), [INT, *_type(dtype).args])


@linked("dots", _chooser_type)
def _define_chooser(module, chooser, dtype):
    """Define the functions of all heights and, as `chooser`, the one that calls one of them."""
    rows, *rest = chooser.args
    inside = ir.IRBuilder(chooser.append_basic_block("entry"))
    never = chooser.append_basic_block("never")
    choice = inside.switch(rows, never)
    for r in (r for r in ROWS if r <= Vec(dtype).lanes):
        case = chooser.append_basic_block(f"dots_{r}")
        choice.add_case(INT(r), case)
        inside.position_at_end(case)
        inside.call(_define(module, dtype, r), rest, tail=True)
        inside.ret_void()
    inside.position_at_end(never)
    inside.unreachable()


@intrinsic
def _dots(typingctx, rows, begin, end, count, k,
          a, a_at, a_row, b, b_at, b_row, d, d_at, c, c_at, c_row):  # fmt: skip
    """Compute columns begin..end of `dots` for one of ROWS rows; both multiples of its share."""
    arrays = {"a": a, "b": b, "d": d, "c": c}

    def codegen(context, builder, sig, args):
        (rows, begin, end, count, k, a, a_at, a_row, b, b_at, b_row, d, d_at,
         c, c_at, c_row) = args  # fmt: skip
        dtype = arrays["c"].dtype
        lanes = INT(Vec(dtype).lanes)

        def at(name, array, index, rows, pitch, width):
            last = builder.mul(builder.sub(rows, INT(1)), pitch)
            extent = builder.add(last, width)
            if name in "ab":
                extent = builder.select(builder.icmp_signed(">", k, INT(0)), extent, INT(0))
            return address(context, builder, arrays[name], array, index, extent)

        a = at("a", a, a_at, rows, a_row, k)
        b = at("b", b, b_at, count, b_row, k)
        d = at("d", d, d_at, INT(1), INT(0), lanes)
        c = at("c", c, c_at, rows, c_row, lanes)
        call_linked(builder, "dots", dtype, [rows, a, a_row, b, b_row, count, k, d, c, c_row,
                                             begin, end])  # fmt: skip
        return context.get_dummy_value()

    index = types.intp
    return types.none(index, index, index, index, index, a, index, index, b, index, index,
                      d, index, c, index, index), codegen  # fmt: skip


@jit
def dots(rows, count, k, a, a_at, a_row, b, b_at, b_row, d, d_at, c, c_at, c_row):
    """One vector of products for each row: the sums of a vector's lanes are added up at the end.

        c[r, j] = d[j] + sum over s < k of a[r, s] b[j, s]        j = 0 .. lanes(c) - 1

    The order of summation does not depend on `rows`: a row comes out the same in any company.

    Args:
        rows: any number.
        count: rows of b that exist, 1 to lanes(c); for the others, which are not touched, c gets
            some number.
        k: terms of each sum, 0 or more.
        a, a_at, a_row: a[r, s] is element a_at + r * a_row + s.
        b, b_at, b_row: b[j, s] is element b_at + j * b_row + s.
        d, d_at: d[j] is element d_at + j; a whole vector is read.
        c, c_at, c_row: written, whole vectors; must not overlap a, b or d.
    """
    n = lanes(c)
    fours = rows // 4 * 4 if n >= 4 else 0  # as many rows as a vector has lanes at most
    # Few rows of b at a time: they stay in L1 while all rows of a pass.
    for first in range(0, n, max(1, n // 4)):
        for row in range(0, fours, 4):
            _dots(
                4,
                first,
                first + n // 4,
                count,
                k,
                a,
                a_at + row * a_row,
                a_row,
                b,
                b_at,
                b_row,
                d,
                d_at,
                c,
                c_at + row * c_row,
                c_row,
            )
    row = fours
    while row < rows:
        height = 2 if rows - row >= 2 else 1
        _dots(
            height,
            0,
            n,
            count,
            k,
            a,
            a_at + row * a_row,
            a_row,
            b,
            b_at,
            b_row,
            d,
            d_at,
            c,
            c_at + row * c_row,
            c_row,
        )
        row += height
