"""A few conjugate gradients with the diagonal as preconditioner: enough for what finer elements add.

In float32: a share of the residual is left in any case.
"""

import numpy as np

from efield.kernels import sparse
from efield.kernels._jit import run_chunks
from efield.solve.block_cg import dots

SOLVED = 1e-12
"""Share of the first ``sum r^2 / K_ii`` at which nothing is left to solve: float32 holds no more, and where K
has a null space further steps would let the solution grow along it."""


def jacobi_cg(times, inverse_diagonal, b, steps):
    """Approximate the solution of ``K x = b`` from zero.

    Parameters
    ----------
    times : callable (x, out)
        ``out = K x``, both (n, 1) float32.
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
    inverse_diagonal = inverse_diagonal.astype(np.float32, copy=False)
    residual = (b / size).astype(np.float32)[:, None]
    direction, x, product, preconditioned = (np.zeros((n, 1), np.float32) for _ in range(4))
    first = rho = np.full(1, np.inf)
    for step in range(steps):
        run_chunks(sparse.scale_rows, n, inverse_diagonal, residual, preconditioned)
        before, rho = rho, dots(residual, preconditioned)
        first = rho if step == 0 else first
        if rho <= SOLVED * first:
            break
        run_chunks(sparse.update_direction, n, preconditioned, _share(rho, before), direction)
        times(direction, product)
        alpha = _share(rho, dots(direction, product))
        run_chunks(sparse.update_solution, n, alpha, direction, product, x, residual)
    return size * x[:, 0].astype(np.float64)


def _share(a, b):
    """a / b; 0 where there is nothing left to solve."""
    return np.divide(a, b, out=np.zeros_like(a), where=b > 0).astype(np.float32)
