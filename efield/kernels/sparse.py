"""Sparse matrix times block, and the vector operations of block conjugate gradients.

A block holds its right-hand sides side by side, (n, k) with k of 4, 8 or 16, so that a matrix
entry is read once for all of them. Reductions are summed over fixed chunks of rows, so they do not
depend on the number of threads.
"""

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from efield.kernels._jit import jit

REDUCE_CHUNK = 4096
"""Rows per partial sum."""

WIDTHS = (4, 8, 16)
"""Block widths with a row product of their own.

LLVM does not vectorise short loops over the columns of a block by itself, and numba leaves
its superword vectoriser off; so the row product is written as vector instructions, which
every target lowers to what it has. Against the plain loop this halves the time.
"""


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


@jit
def spmm_4(begin, end, indptr, indices, data, x, y):
    """``y[begin:end] = (A x)[begin:end]`` for blocks of four columns."""
    for i in range(begin, end):
        row_product_4(data, indices, x, np.int64(indptr[i]), np.int64(indptr[i + 1]), y, np.int64(i))


@jit
def spmm_8(begin, end, indptr, indices, data, x, y):
    """``y[begin:end] = (A x)[begin:end]`` for blocks of eight columns."""
    for i in range(begin, end):
        row_product_8(data, indices, x, np.int64(indptr[i]), np.int64(indptr[i + 1]), y, np.int64(i))


@jit
def spmm_16(begin, end, indptr, indices, data, x, y):
    """``y[begin:end] = (A x)[begin:end]`` for blocks of sixteen columns."""
    for i in range(begin, end):
        row_product_16(data, indices, x, np.int64(indptr[i]), np.int64(indptr[i + 1]), y, np.int64(i))


PRODUCTS = {4: spmm_4, 8: spmm_8, 16: spmm_16}
"""Sparse product by block width; a block is padded to one of these."""


@jit
def scale_rows(begin, end, weight, b, x):
    """``x = weight * b``: one Jacobi sweep from zero."""
    for i in range(begin, end):
        w = weight[i]
        row, source = x[i], b[i]
        for c in range(row.size):
            row[c] = w * source[c]


@jit
def subtract(begin, end, b, y):
    """``y = b - y``, in place."""
    for i in range(begin, end):
        row, source = y[i], b[i]
        for c in range(row.size):
            row[c] = source[c] - row[c]


@jit
def add(begin, end, y, x):
    """``x += y``, in place."""
    for i in range(begin, end):
        row, source = x[i], y[i]
        for c in range(row.size):
            row[c] += source[c]


@jit
def add_jacobi(begin, end, weight, b, y, x):
    """``x += weight * (b - y)``: one Jacobi sweep, with ``y = A x`` at hand."""
    for i in range(begin, end):
        w = weight[i]
        row, source, product = x[i], b[i], y[i]
        for c in range(row.size):
            row[c] += w * (source[c] - product[c])


@jit
def update_direction(begin, end, z, beta, p):
    """``p = z + beta p``, in place, one `beta` a column."""
    for i in range(begin, end):
        row, source = p[i], z[i]
        for c in range(row.size):
            row[c] = source[c] + beta[c] * row[c]


@jit
def update_solution(begin, end, alpha, p, q, x, r):
    """``x += alpha p; r -= alpha q``, in place, one `alpha` a column."""
    for i in range(begin, end):
        row, residual, direction, product = x[i], r[i], p[i], q[i]
        for c in range(row.size):
            row[c] += alpha[c] * direction[c]
            residual[c] -= alpha[c] * product[c]


@jit
def partial_dots(begin, end, x, y, partial):
    """Column dot products over chunk `begin` .. `end` - 1 into ``partial[chunk]`` (float64)."""
    n, width = x.shape
    total = np.empty(width)
    for chunk in range(begin, end):
        for c in range(width):
            total[c] = 0.0
        for i in range(chunk * REDUCE_CHUNK, min(n, (chunk + 1) * REDUCE_CHUNK)):
            a, b = x[i], y[i]
            for c in range(width):
                total[c] += np.float64(a[c]) * b[c]
        for c in range(width):
            partial[chunk, c] = total[c]


@jit
def product_counts(begin, end, a_indptr, a_indices, b_indptr, b_indices, n_columns, counts):
    """Row lengths of the sparse product A B."""
    seen = np.full(n_columns, -1, np.int32)
    for i in range(begin, end):
        count = 0
        for p in range(a_indptr[i], a_indptr[i + 1]):
            k = a_indices[p]
            for q in range(b_indptr[k], b_indptr[k + 1]):
                j = b_indices[q]
                if seen[j] != i:
                    seen[j] = i
                    count += 1
        counts[i] = count


@jit
def product_rows(
    begin, end, a_indptr, a_indices, a_data, b_indptr, b_indices, b_data, n_columns, indptr, indices, data
):
    """Rows of the sparse product A B (Gustavson 1978); columns in the order they appear."""
    slot = np.full(n_columns, -1, np.int32)
    for i in range(begin, end):
        first = indptr[i]
        fill = first
        for p in range(a_indptr[i], a_indptr[i + 1]):
            k, a = a_indices[p], a_data[p]
            for q in range(b_indptr[k], b_indptr[k + 1]):
                j = b_indices[q]
                place = slot[j]
                if place < first:
                    slot[j] = fill
                    indices[fill] = j
                    data[fill] = a * b_data[q]
                    fill += 1
                else:
                    data[place] += a * b_data[q]
