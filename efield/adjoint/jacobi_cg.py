"""A few conjugate gradients with the diagonal as preconditioner: enough for what finer elements add."""

import numpy as np

from efield.kernels import sparse
from efield.kernels._jit import run_chunks
from efield.solve.block_cg import dots


def jacobi_cg(times, inverse_diagonal, b, steps):
    """Approximate the solution of ``K x = b`` from zero.

    Parameters
    ----------
    times : callable (x, out)
        ``out = K x``, both (n, 1).
    inverse_diagonal : (n,) array
        Of K; where it is 0, x stays 0 and its rows do not count.
    b : (n, 1) array
        Not changed; its type is that of the work.
    steps : int

    Returns
    -------
    (n, 1) array
    """
    n, residual = len(b), b.copy()
    direction, x, product, preconditioned = (np.zeros_like(b) for _ in range(4))
    rho = np.full(1, np.inf)
    for _ in range(steps):
        run_chunks(sparse.scale_rows, n, inverse_diagonal, residual, preconditioned)
        before, rho = rho, dots(residual, preconditioned)
        run_chunks(sparse.update_direction, n, preconditioned, _share(rho, before, b.dtype), direction)
        times(direction, product)
        alpha = _share(rho, dots(direction, product), b.dtype)
        run_chunks(sparse.update_solution, n, alpha, direction, product, x, residual)
    return x


def _share(a, b, dtype):
    """a / b; 0 where there is nothing left to solve."""
    return np.divide(a, b, out=np.zeros_like(a), where=b > 0).astype(dtype)
