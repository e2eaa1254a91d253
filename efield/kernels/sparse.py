"""Sparse matrix times block, and the vector operations of block conjugate gradients.

A block holds its right-hand sides side by side, (n, k), so that a matrix entry is read
once for all of them. Reductions are summed over fixed chunks of rows, so they do not
depend on the number of threads.
"""

import numpy as np

from efield.kernels._jit import jit

REDUCE_CHUNK = 4096
"""Rows per partial sum."""


@jit
def spmm(begin, end, indptr, indices, data, x, y):
    """``y[begin:end] = (A x)[begin:end]``.

    Four entries at a time: a quarter of the traffic to `y`, and the loop over columns
    vectorises.
    """
    width = x.shape[1]
    zero = x.dtype.type(0)
    for i in range(begin, end):
        row = y[i]
        for c in range(width):
            row[c] = zero
        p, stop = indptr[i], indptr[i + 1]
        while p + 3 < stop:
            a0, a1, a2, a3 = data[p], data[p + 1], data[p + 2], data[p + 3]
            x0, x1, x2, x3 = x[indices[p]], x[indices[p + 1]], x[indices[p + 2]], x[indices[p + 3]]
            for c in range(width):
                row[c] += a0 * x0[c] + a1 * x1[c] + (a2 * x2[c] + a3 * x3[c])
            p += 4
        while p < stop:
            a0, x0 = data[p], x[indices[p]]
            for c in range(width):
                row[c] += a0 * x0[c]
            p += 1


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
