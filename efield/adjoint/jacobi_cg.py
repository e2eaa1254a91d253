"""A few conjugate gradients with the diagonal as preconditioner: enough for what finer elements add.

In float32: a share of the residual is left in any case.
"""

import numpy as np

from efield.kernels import vectors
from efield.kernels._jit import run_chunks

SOLVED = 1e-12
"""Share of the first ``sum r^2 / K_ii`` at which nothing is left to solve: float32 holds no more, and where K
has a null space further steps would let the solution grow along it."""


def jacobi_cg(times, inverse_diagonal, b, steps):
    """Approximate the solution of ``K x = b`` from zero.

    Parameters
    ----------
    times : callable (x, out)
        ``out = K x``, both (n,) float32.
    inverse_diagonal : (n,) array
        Of K; where it is 0, x stays 0 and its rows do not count.
    b : (n,) array
    steps : int
        At most; fewer where the residual is at rounding before.

    Returns
    -------
    (n,) array
    """
    n, size = len(b), np.abs(b).max() or 1.0
    weight, residual = inverse_diagonal.astype(np.float32, copy=False), (b / size).astype(np.float32)
    x, direction, product, preconditioned = (np.zeros(n, np.float32) for _ in range(4))
    alpha, rho, first = np.float32(0), np.inf, None
    for step in range(steps + 1):
        state = alpha, direction, product, weight, x, residual, preconditioned
        before, rho = rho, _summed(vectors.advance, n, *state)
        first = rho if first is None else first
        if step == steps or rho <= SOLVED * first:
            break
        run_chunks(vectors.update_direction, n, preconditioned, np.float32(rho / before), direction)
        times(direction, product)
        alpha = np.float32(rho / _summed(vectors.dot, n, direction, product))
    return size * x.astype(np.float64)


def _summed(kernel, n, *arguments):
    """Sum of what a kernel gives for each chunk."""
    partial = np.empty(-(-n // vectors.CHUNK))
    run_chunks(kernel, len(partial), *arguments, partial, min_chunk=4)
    return float(partial.sum())
