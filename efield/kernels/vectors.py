"""Steps of conjugate gradients on one vector: what the blocks' kernels do, in loops that vectorise.

Sums run over fixed chunks in float64, so they do not depend on the number of threads.
"""

from efield.kernels._jit import jit_fused, jit_summed

CHUNK = 4096
"""Entries per partial sum."""


@jit_summed
def advance(begin, end, alpha, p, q, weight, x, r, z, partial):
    """``x += alpha p; r -= alpha q; z = weight r`` over chunks, and their ``sum z r``."""
    for chunk in range(begin, end):
        total = 0.0
        for i in range(chunk * CHUNK, min((chunk + 1) * CHUNK, x.size)):
            x[i] += alpha * p[i]
            r[i] -= alpha * q[i]
            z[i] = weight[i] * r[i]
            total += float(z[i]) * float(r[i])
        partial[chunk] = total


@jit_fused
def update_direction(begin, end, z, beta, p):
    """``p = z + beta p``."""
    for i in range(begin, end):
        p[i] = z[i] + beta * p[i]


@jit_summed
def dot(begin, end, x, y, partial):
    """``sum x y`` over chunks."""
    for chunk in range(begin, end):
        total = 0.0
        for i in range(chunk * CHUNK, min((chunk + 1) * CHUNK, x.size)):
            total += float(x[i]) * float(y[i])
        partial[chunk] = total
