"""The transpose of a square of vectors in registers, with which weights are packed."""

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from fastrnn.kernels.memory import address, read, write
from fastrnn.kernels.simd import INT, LANE, Vec


@intrinsic
def transpose_square(typingctx, to, to_at, to_row, source, at, row):
    """Write the transpose of a square, as many vectors as one has lanes: rows `row` apart."""
    vec = Vec(to.dtype)
    index = types.intp

    def codegen(context, builder, sig, args):
        n = vec.lanes
        _, to_at, to_row, _, at, row = args
        square = [
            read(builder, vec.llvm, address(context, builder, source, args[3],
                                            builder.add(at, builder.mul(row, INT(i))), INT(n)))
            for i in range(n)
        ]  # fmt: skip
        half = 1
        while half < n:  # exchange the off-diagonal quarters of all blocks of 2, 4, 8... rows
            upper = [j if not j & half else n + j - half for j in range(n)]
            lower = [j + half if not j & half else n + j for j in range(n)]
            for i in (i for i in range(n) if not i & half):
                pair = square[i], square[i + half]
                for place, lanes_of_pair in ((i, upper), (i + half, lower)):
                    mask = ir.Constant(ir.VectorType(LANE, n), lanes_of_pair)
                    square[place] = builder.shuffle_vector(*pair, mask)
            half *= 2
        for i, column in enumerate(square):
            begin = builder.add(to_at, builder.mul(to_row, INT(i)))
            write(builder, column, address(context, builder, to, args[0], begin, INT(n)))
        return context.get_dummy_value()

    return types.none(to, index, index, source, index, index), codegen
