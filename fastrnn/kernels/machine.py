"""What kernels need of the machine besides vectors: atomic words, outlined calls, denormals.

With simd.py, memory.py, tile.py and dots.py all that speaks LLVM. The protocol of threads that is
made of these is in parallel.py.
"""

import platform

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastrnn.kernels.memory import address
from fastrnn.kernels.simd import INT

_ARCH = platform.machine().lower()
_X86 = _ARCH in ("x86_64", "amd64")
_ARM = _ARCH in ("aarch64", "arm64")

# Atomic words: element `at` of an int64 array, sequentially consistent.


def _word(context, builder, words, array, at):
    return address(context, builder, words, array, at, INT(1))


@intrinsic
def atomic_read(typingctx, words, at):
    """Return a word."""

    def codegen(context, builder, sig, args):
        return builder.load_atomic(_word(context, builder, words, *args), "seq_cst", 8)

    return types.int64(words, types.intp), codegen


@intrinsic
def atomic_write(typingctx, words, at, value):
    """Set a word."""

    def codegen(context, builder, sig, args):
        at = _word(context, builder, words, *args[:2])
        builder.store_atomic(args[2], at, "seq_cst", 8)
        return context.get_dummy_value()

    return types.none(words, types.intp, types.int64), codegen


@intrinsic
def atomic_add(typingctx, words, at, value):
    """Add to a word; return what it was."""

    def codegen(context, builder, sig, args):
        at = _word(context, builder, words, *args[:2])
        return builder.atomic_rmw("add", at, args[2], "seq_cst")

    return types.int64(words, types.intp, types.int64), codegen


@intrinsic
def atomic_replace(typingctx, words, at, old, new):
    """Set a word to `new` if it is `old`; return whether it was."""

    def codegen(context, builder, sig, args):
        at = _word(context, builder, words, *args[:2])
        pair = builder.cmpxchg(at, args[2], args[3], "seq_cst", "seq_cst")
        return builder.extract_value(pair, 1)

    return types.boolean(words, types.intp, types.int64, types.int64), codegen


@intrinsic
def pause(typingctx):
    """Tell the CPU that this is a loop that waits."""

    def codegen(context, builder, sig, args):
        if _X86:
            kind = ir.FunctionType(ir.VoidType(), [])
            function = cgutils.get_or_insert_function(
                builder.module, kind, "llvm.x86.sse2.pause")  # fmt: skip
            builder.call(function, [])
        elif _ARM:
            kind = ir.FunctionType(ir.VoidType(), [ir.IntType(32)])
            function = cgutils.get_or_insert_function(builder.module, kind, "llvm.aarch64.hint")
            builder.call(function, [ir.IntType(32)(1)])
        return context.get_dummy_value()

    return types.none(), codegen


# Calls by address, so that another thread can make them.


@intrinsic
def outlined(typingctx, function, arguments):
    """Return (code, data) for `invoke`: function(part, *arguments), the part left open.

    The arguments are kept in the caller's frame: its data must not be used when it has returned.
    """
    sig = function.get_call_type(typingctx, (types.intp, *arguments.types), {})

    def codegen(context, builder, _, args):
        # As Numba's own functions, so that what the function does with its status works.
        kind = context.call_conv.get_function_type(types.none, (types.intp, types.intp))
        number = len(builder.module.functions)
        code = ir.Function(builder.module, kind, f"{builder.function.name}.outlined.{number}")
        code.linkage = "internal"
        inside = ir.IRBuilder(code.append_basic_block("entry"))
        part, data = code.args[-2:]
        kept = inside.load(inside.inttoptr(data, args[1].type.as_pointer()))
        values = [inside.extract_value(kept, i) for i in range(len(arguments))]
        context.get_function(function, sig)(inside, [part, *values])
        context.call_conv.return_value(inside, context.get_dummy_value())
        frame = cgutils.alloca_once_value(builder, args[1])
        pair = [builder.ptrtoint(code, INT), builder.ptrtoint(frame, INT)]
        return context.make_tuple(builder, types.UniTuple(types.intp, 2), pair)

    return types.UniTuple(types.intp, 2)(function, arguments), codegen


def _invoke(context, builder, code, data, part):
    kind = context.call_conv.get_function_type(types.none, (types.intp, types.intp))
    slots = [cgutils.alloca_once(builder, argument.pointee) if i else None
             for i, argument in enumerate(kind.args[:2])]  # fmt: skip
    slots[0] = cgutils.alloca_once(builder, ir.IntType(64))
    first = builder.bitcast(slots[0], kind.args[0])
    status = builder.call(builder.inttoptr(code, kind.as_pointer()),
                          [first, slots[1], part, data])  # fmt: skip
    # Numba's status: 0 for a value, -2 for None.
    fine = builder.icmp_signed("<=", status, status.type(0))
    return builder.select(fine, INT(0), INT(1))


@intrinsic
def invoke(typingctx, code, data, part):
    """Call what `outlined` returned for one part; return 0, or another number if it raised."""

    def codegen(context, builder, sig, args):
        return _invoke(context, builder, *args)

    return types.intp(types.intp, types.intp, types.intp), codegen


@intrinsic
def call_if_any(typingctx, code):
    """Call a C function without arguments by its address, if that is not 0; return its int."""

    def codegen(context, builder, sig, args):
        return _call_if_any(builder, args[0], [])

    return types.int64(types.intp), codegen


@intrinsic
def call_with_block(typingctx, code, number, size, place):
    """Call a C function of (int, size_t, pointer) by its address, if that is not 0."""

    def codegen(context, builder, sig, args):
        code, number, size, place = args
        number = builder.trunc(number, ir.IntType(32))
        place = builder.inttoptr(place, ir.PointerType(ir.IntType(8)))
        return _call_if_any(builder, code, [number, size, place])

    return types.int64(types.intp, types.intp, types.intp, types.intp), codegen


def _call_if_any(builder, code, arguments):
    number = ir.IntType(32)
    slot = cgutils.alloca_once_value(builder, number(0))
    with builder.if_then(builder.icmp_signed("!=", code, INT(0))):
        kind = ir.FunctionType(number, [argument.type for argument in arguments]).as_pointer()
        builder.store(builder.call(builder.inttoptr(code, kind), arguments), slot)
    return builder.sext(builder.load(slot), INT)


@intrinsic
def invoke_in_team(typingctx, start, threads, code, data):
    """Have each thread of a team, the caller too, invoke part 0 of what `outlined` returned.

    start: address of GOMP_parallel, as GCC's OpenMP has it: it returns when all have.
    """

    def codegen(context, builder, sig, args):
        start, threads, code, data = args
        pointer, number = ir.PointerType(ir.IntType(8)), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [pointer])
        name = f"{builder.function.name}.member.{len(builder.module.functions)}"
        member = ir.Function(builder.module, kind, name)
        member.linkage = "internal"
        inside = ir.IRBuilder(member.append_basic_block("entry"))
        words = inside.bitcast(member.args[0], INT.as_pointer())
        known = [inside.load(inside.gep(words, [INT(i)])) for i in (0, 1)]
        _invoke(context, inside, *known, INT(0))
        inside.ret_void()
        pair = cgutils.alloca_once(builder, INT, 2)
        for i, value in enumerate((code, data)):
            builder.store(value, builder.gep(pair, [INT(i)]))
        parallel = ir.FunctionType(ir.VoidType(), [kind.as_pointer(), pointer, number, number])
        given = [member, builder.bitcast(pair, pointer), builder.trunc(threads, number), number(0)]
        builder.call(builder.inttoptr(start, parallel.as_pointer()), given)
        return context.get_dummy_value()

    return types.none(types.intp, types.intp, types.intp, types.intp), codegen


# Denormals: numbers below the smallest normal one cost some CPUs a hundred cycles each.

_FLUSH = {"x86": 0x8040, "arm": 1 << 24}  # MXCSR: flush to zero, denormals are zero; FPCR: FZ


def _mode(builder, value=None):
    """Read the floating-point mode of this thread, or set it."""
    if _X86:
        slot = cgutils.alloca_once(builder, ir.IntType(32))
        pointer = ir.PointerType(ir.IntType(8))
        kind = ir.FunctionType(ir.VoidType(), [pointer])
        name = "llvm.x86.sse.ldmxcsr" if value is not None else "llvm.x86.sse.stmxcsr"
        if value is not None:
            builder.store(builder.trunc(value, ir.IntType(32)), slot)
        function = cgutils.get_or_insert_function(builder.module, kind, name)
        builder.call(function, [builder.bitcast(slot, pointer)])
        return builder.zext(builder.load(slot), INT) if value is None else None
    if _ARM:
        kind = ir.FunctionType(INT, []) if value is None else ir.FunctionType(ir.VoidType(), [INT])
        name = f"llvm.aarch64.{'get' if value is None else 'set'}.fpcr"
        function = cgutils.get_or_insert_function(builder.module, kind, name)
        return builder.call(function, [] if value is None else [value])
    return INT(0)


def _changed_mode(builder, change):
    before = _mode(builder)
    flush = INT(_FLUSH["x86"] if _X86 else _FLUSH["arm"] if _ARM else 0)
    _mode(builder, change(before, flush))
    return before


@intrinsic
def flush_denormals(typingctx):
    """Let this thread take denormals for zero; return its mode before, for `restore_mode`."""

    def codegen(context, builder, sig, args):
        return _changed_mode(builder, builder.or_)

    return types.int64(), codegen


@intrinsic
def keep_denormals(typingctx):
    """Let this thread compute with denormals; return its mode before, for `restore_mode`."""

    def codegen(context, builder, sig, args):
        return _changed_mode(builder, lambda mode, flush: builder.and_(mode, builder.not_(flush)))

    return types.int64(), codegen


@intrinsic
def restore_mode(typingctx, mode):
    """Undo flush_denormals or keep_denormals."""

    def codegen(context, builder, sig, args):
        _mode(builder, args[0])
        return context.get_dummy_value()

    return types.none(types.int64), codegen
