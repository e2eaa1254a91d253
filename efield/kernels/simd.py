"""One sparse row times a block of vectors, in vector registers.

LLVM does not vectorise short loops over the columns of a block by itself, and numba leaves
its superword vectoriser off; so the row product is written as LLVM vector instructions, which
every target lowers to what it has. Against the plain loop this halves the time of a product.
"""

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

WIDTHS = (4, 8, 16)
"""Block widths with a row product of their own."""


def _row_product(width):
    """Intrinsic ``out[i, :] = sum_p data[p] x[indices[p], :]`` for p in [first, stop).

    All arrays are C-contiguous; `x` and `out` have `width` columns and the type of `data`.
    """

    @intrinsic
    def row_product(typing_context, data, indices, x, first, stop, out, row):
        signature = types.void(data, indices, x, first, stop, out, row)

        def generate(context, builder, signature, arguments):
            arrays = [
                context.make_array(kind)(context, builder, value).data
                for kind, value in zip(signature.args, arguments, strict=True)
                if isinstance(kind, types.Array)
            ]
            values, columns, block, target = arrays
            first, stop, row = arguments[3], arguments[4], arguments[6]
            index = ir.IntType(64)
            vector = ir.VectorType(context.get_value_type(signature.args[0].dtype), width)
            scalar_bytes = 4 if signature.args[0].dtype.bitwidth == 32 else 8

            def vector_at(base, position):
                start = builder.gep(base, [builder.mul(position, ir.Constant(index, width))])
                return builder.bitcast(start, vector.as_pointer())

            before = builder.block
            loop, done = builder.append_basic_block("entry"), builder.append_basic_block("done")
            builder.cbranch(builder.icmp_signed("<", first, stop), loop, done)
            builder.position_at_end(loop)
            entry, total = builder.phi(index), builder.phi(vector)
            zero = ir.Constant(vector, [0.0] * width)
            entry.add_incoming(first, before)
            total.add_incoming(zero, before)
            column = builder.sext(builder.load(builder.gep(columns, [entry])), index)
            part = builder.load(vector_at(block, column), align=scalar_bytes)
            value = builder.load(builder.gep(values, [entry]))
            lanes = builder.insert_element(
                ir.Constant(vector, ir.Undefined), value, ir.Constant(ir.IntType(32), 0)
            )
            spread = builder.shuffle_vector(
                lanes,
                ir.Constant(vector, ir.Undefined),
                ir.Constant(ir.VectorType(ir.IntType(32), width), [0] * width),
            )
            # "contract" lets a multiply-add be one instruction
            product = builder.fmul(spread, part, flags=("contract",))
            summed = builder.fadd(product, total, flags=("contract",))
            following = builder.add(entry, ir.Constant(index, 1))
            entry.add_incoming(following, loop)
            total.add_incoming(summed, loop)
            builder.cbranch(builder.icmp_signed("<", following, stop), loop, done)
            builder.position_at_end(done)
            result = builder.phi(vector)
            result.add_incoming(zero, before)
            result.add_incoming(summed, loop)
            builder.store(result, vector_at(target, row), align=scalar_bytes)
            return context.get_dummy_value()

        return signature, generate

    return row_product


row_product_4, row_product_8, row_product_16 = (_row_product(width) for width in WIDTHS)
