"""Sums of rows in vector registers.

LLVM does not vectorise short loops over the columns of a block by itself, and numba leaves its
superword vectoriser off; so the sum is written as vector instructions, which every target lowers
to what it has. Against the plain loop this halves the time of a sparse product.

The disk cache of the kernels that call this does not see edits of this file: clear it after one.
"""

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic


@intrinsic(prefer_literal=True)
def row_product(typing_context, width, data, indices, x, first, stop, base, weight, b, out, row):
    """``out[row] = base[row] + weight * (b[row] - s)`` with ``s = sum_p data[p] x[indices[p]]``.

    The sum runs over p in [first, stop). `base`, `weight` (a number) and `b` may be None; without `b` the
    sum counts as it is. Blocks are C-contiguous and have `width` columns, a constant, and the type of
    `data`; only `x` may be of a narrower one.
    """
    columns = width.literal_value
    signature = types.void(width, data, indices, x, first, stop, base, weight, b, out, row)

    def generate(context, builder, signature, arguments):
        kinds = signature.args[1:]
        arguments = [
            context.make_array(kind)(context, builder, value).data if isinstance(kind, types.Array) else value
            for kind, value in zip(kinds, arguments[1:], strict=True)
        ]
        values, places, block, first, stop, base, weight, b, out, row = arguments
        first, stop, row = (
            context.cast(builder, value, kinds[k], types.int64)
            for k, value in ((3, first), (4, stop), (9, row))
        )
        index, number = ir.IntType(64), context.get_value_type(kinds[0].dtype)
        vector = ir.VectorType(number, columns)
        narrow = ir.VectorType(context.get_value_type(kinds[2].dtype), columns)
        bytes_each = kinds[0].dtype.bitwidth // 8

        def at(array, position, vector=vector):
            start = builder.gep(array, [builder.mul(position, ir.Constant(index, columns))])
            return builder.bitcast(start, vector.as_pointer())

        def row_of(array, position):
            return builder.load(at(array, position), align=bytes_each)

        def term(position):
            row = builder.load(at(block, position, narrow), align=kinds[2].dtype.bitwidth // 8)
            return row if narrow == vector else builder.fpext(row, vector)

        def spread(value):
            undefined, lane = ir.Constant(vector, ir.Undefined), ir.IntType(32)
            lanes = builder.insert_element(undefined, value, ir.Constant(lane, 0))
            return builder.shuffle_vector(
                lanes, undefined, ir.Constant(ir.VectorType(lane, columns), [0] * columns)
            )

        before = builder.block
        loop, done = builder.append_basic_block("entry"), builder.append_basic_block("done")
        builder.cbranch(builder.icmp_signed("<", first, stop), loop, done)
        builder.position_at_end(loop)
        entry, total = builder.phi(index), builder.phi(vector)
        zero = ir.Constant(vector, [0.0] * columns)
        entry.add_incoming(first, before)
        total.add_incoming(zero, before)
        place = builder.sext(builder.load(builder.gep(places, [entry])), index)
        value = spread(builder.load(builder.gep(values, [entry])))
        # "contract" lets a multiply-add be one instruction
        product = builder.fmul(value, term(place), flags=("contract",))
        summed = builder.fadd(product, total, flags=("contract",))
        following = builder.add(entry, ir.Constant(index, 1))
        entry.add_incoming(following, loop)
        total.add_incoming(summed, loop)
        builder.cbranch(builder.icmp_signed("<", following, stop), loop, done)
        builder.position_at_end(done)
        result = builder.phi(vector)
        result.add_incoming(zero, before)
        result.add_incoming(summed, loop)
        if kinds[7] is not types.none:
            result = builder.fsub(row_of(b, row), result)
        if kinds[6] is not types.none:
            weight = context.cast(builder, weight, kinds[6], kinds[0].dtype)
            result = builder.fmul(spread(weight), result, flags=("contract",))
        if kinds[5] is not types.none:
            result = builder.fadd(row_of(base, row), result, flags=("contract",))
        builder.store(result, at(out, row), align=bytes_each)
        return context.get_dummy_value()

    return signature, generate
