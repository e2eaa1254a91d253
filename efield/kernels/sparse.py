"""Sparse matrix times block, and the vector operations of block conjugate gradients.

A block holds its right-hand sides side by side, (n, k) with k of 1, 4, 8 or 16, so that a matrix
entry is read once for all of them. Reductions are summed over fixed chunks of rows, so they do not
depend on the number of threads.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from efield.kernels._jit import jit
from efield.kernels._vector import row_product

REDUCE_CHUNK = 4096
"""Rows per partial sum."""

WIDTHS = (1, 4, 8, 16)
"""Block widths that have kernels of their own."""


@dataclass(frozen=True)
class BlockKernels:
    """Products of a sparse matrix with blocks of one width, each with what follows it in one pass.

    All take ``(begin, end, indptr, indices, data, ...)`` and own rows ``begin .. end - 1`` of the last array.
    """

    product: Callable
    """``y = A x``; arguments x, y."""
    residual: Callable
    """``y = b - A x``; arguments x, b, y."""
    add_product: Callable
    """``y += A x``; arguments x, y."""
    jacobi: Callable
    """``y = x + weight * (b - A x)``, one Jacobi sweep; arguments x, b, weight, y."""


def _block_kernels(width):
    @jit
    def product(begin, end, indptr, indices, data, x, y):
        for i in range(begin, end):
            row_product(width, data, indices, x, indptr[i], indptr[i + 1], None, None, None, y, i)

    @jit
    def residual(begin, end, indptr, indices, data, x, b, y):
        for i in range(begin, end):
            row_product(width, data, indices, x, indptr[i], indptr[i + 1], None, None, b, y, i)

    @jit
    def add_product(begin, end, indptr, indices, data, x, y):
        for i in range(begin, end):
            row_product(width, data, indices, x, indptr[i], indptr[i + 1], y, None, None, y, i)

    @jit
    def jacobi(begin, end, indptr, indices, data, x, b, weight, y):
        for i in range(begin, end):
            row_product(width, data, indices, x, indptr[i], indptr[i + 1], x, weight[i], b, y, i)

    return BlockKernels(product, residual, add_product, jacobi)


BLOCKS = {width: _block_kernels(width) for width in WIDTHS}
"""Kernels by block width; a block is padded to one of these."""


@jit
def scale_rows(begin, end, weight, b, x):
    """``x = weight * b``: one Jacobi sweep from zero."""
    for i in range(begin, end):
        w = weight[i]
        row, source = x[i], b[i]
        for c in range(row.size):
            row[c] = w * source[c]


@jit
def add_scaled_rows(begin, end, weight, b, x):
    """``x += weight * b``, one factor a row."""
    for i in range(begin, end):
        w = weight[i]
        row, source = x[i], b[i]
        for c in range(row.size):
            row[c] += w * source[c]


@jit
def scale_columns(begin, end, x, scale, y):
    """``y = x * scale``, one factor a column, rounded to the type of `y`."""
    for i in range(begin, end):
        row, source = y[i], x[i]
        for c in range(row.size):
            row[c] = source[c] * scale[c]


@jit
def move_scaled(begin, end, y, scale, x):
    """``x += y * scale; y = 0``, one factor a column."""
    for i in range(begin, end):
        row, source = x[i], y[i]
        for c in range(row.size):
            row[c] += source[c] * scale[c]
            source[c] = 0


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
def galerkin_rows(
    begin,
    end,
    r_indptr,
    r_indices,
    r_data,
    a_indptr,
    a_indices,
    a_data,
    p_indptr,
    p_indices,
    p_data,
    n_columns,
    counts,
):
    """Rows of ``R A P``, one row of R A at a time; columns in the order they appear.

    Writes the lengths of its rows and returns their (indices, data), one row after the other: one
    pass, where knowing the length beforehand would take two.
    """
    between, slot = np.full(p_indptr.size - 1, -1, np.int64), np.full(n_columns, -1, np.int64)
    middle, weights = np.empty(1024, np.int32), np.empty(1024)
    size = 64 * (end - begin) + 1024
    indices, data = np.empty(size, np.int32), np.empty(size)
    fill, before = 0, 0
    for i in range(begin, end):
        most = 0
        for q in range(r_indptr[i], r_indptr[i + 1]):
            most += a_indptr[r_indices[q] + 1] - a_indptr[r_indices[q]]
        if most > middle.size:
            middle, weights = np.empty(2 * most, np.int32), np.empty(2 * most)
        n, most = 0, 0
        for q in range(r_indptr[i], r_indptr[i + 1]):
            k, r = r_indices[q], r_data[q]
            for p in range(a_indptr[k], a_indptr[k + 1]):
                j = a_indices[p]
                place = between[j] - before
                if place < 0:
                    between[j] = before + n
                    middle[n], weights[n] = j, r * a_data[p]
                    most += p_indptr[j + 1] - p_indptr[j]
                    n += 1
                else:
                    weights[place] += r * a_data[p]
        before += n
        first = fill
        if first + min(most, n_columns) > size:
            size = 2 * size + most
            wider, longer = np.empty(size, np.int32), np.empty(size)
            wider[:first], longer[:first] = indices[:first], data[:first]
            indices, data = wider, longer
        for m in range(n):
            j, weight = middle[m], weights[m]
            for q in range(p_indptr[j], p_indptr[j + 1]):
                column = p_indices[q]
                place = slot[column]
                if place < first:
                    slot[column] = fill
                    indices[fill], data[fill] = column, weight * p_data[q]
                    fill += 1
                else:
                    data[place] += weight * p_data[q]
        counts[i] = fill - first
    return indices[:fill], data[:fill]


@jit
def smoothed_rows(begin, end, indptr, indices, data, member, weight, n_columns, counts):
    """Rows of ``(I - W A) T``, T the ones of each unknown's aggregate; results as of `galerkin_rows`."""
    slot = np.full(n_columns, -1, np.int64)
    size = indptr[end] - indptr[begin] + end - begin
    columns, values = np.empty(size, np.int32), np.empty(size)
    fill = 0
    for i in range(begin, end):
        first, own = fill, member[i]
        slot[own] = fill
        columns[fill], values[fill] = own, 1.0
        fill += 1
        for p in range(indptr[i], indptr[i + 1]):
            j, value = member[indices[p]], -weight[i] * data[p]
            place = slot[j]
            if place < first:
                slot[j] = fill
                columns[fill], values[fill] = j, value
                fill += 1
            else:
                values[place] += value
        counts[i] = fill - first
    return columns[:fill], values[:fill]


@jit
def _is_strong(i, j, value, root):
    return i == j or abs(value) >= root[i] * root[j]


@jit
def count_strong(begin, end, indptr, indices, data, root, count):
    """Entries of each row with ``|a_ij| >= root_i root_j``, and its diagonal."""
    for i in range(begin, end):
        total = 0
        for p in range(indptr[i], indptr[i + 1]):
            total += _is_strong(i, indices[p], data[p], root)
        count[i] = total


@jit
def take_strong(begin, end, indptr, indices, data, root, pointers, out):
    """Columns of the entries that :func:`count_strong` counts; row i begins at ``pointers[i]``."""
    for i in range(begin, end):
        fill = pointers[i]
        for p in range(indptr[i], indptr[i + 1]):
            if _is_strong(i, indices[p], data[p], root):
                out[fill] = indices[p]
                fill += 1


@jit
def absolute_row_sums(begin, end, indptr, indices, data, first_column, out):
    """Sums of the absolute entries of rows, in columns from `first_column` on."""
    for i in range(begin, end):
        total = 0.0
        for p in range(indptr[i], indptr[i + 1]):
            if indices[p] >= first_column:
                total += abs(data[p])
        out[i] = total
