"""Conjugate gradients on a block of right-hand sides, with the residual confirmed in float64.

The inner iteration runs in float32 with the multigrid cycle as preconditioner; outer
sweeps of iterative refinement compute the true residual ``b - K x`` in float64 and decide.
"""

from dataclasses import dataclass

import numpy as np

from efield.errors import ConvergenceError, EfieldError
from efield.kernels import sparse
from efield.kernels._jit import run_chunks

INNER_RTOL = 1e-4
"""What one float32 sweep reduces a residual by; below about 1e-5 rounding takes over."""

MAX_INNER = 100
MAX_OUTER = 12


@dataclass(frozen=True)
class Solution:
    """Solved block.

    Attributes
    ----------
    x : (n, k) float64 array
    residual : (k,) array
        True relative residuals ||b - K x|| / ||b||, in float64.
    iterations : int
        Preconditioned iterations, summed over the sweeps.
    """

    x: np.ndarray
    residual: np.ndarray
    iterations: int


def solve(stiffness, single, multigrid, b, rtol):
    """Solve ``K x = b`` for each column of `b`.

    Parameters
    ----------
    stiffness, single : SparseMatrix
        K in float64 and in float32.
    multigrid : Multigrid
    b : (n, k) float64 array, k up to 16
        Each column sums to zero on each connected part (K is singular).
    rtol : float
        Wanted relative residual, between 0 and 1.

    Raises
    ------
    ConvergenceError
        The residual stalls above `rtol`; the message carries its history. Or a right-hand
        side is not finite.
    """
    if not 0 < rtol < 1:
        raise EfieldError(f"rtol must lie between 0 and 1, not {rtol!r}")
    n_columns = b.shape[1]
    b = _padded(b)
    norm = np.sqrt(dots(b, b))
    if not np.all(np.isfinite(norm)):
        raise ConvergenceError(
            f"right-hand side {int(np.argmin(np.isfinite(norm)))} is not finite: a dipole of the coil lies "
            "on a node of the mesh, or its moments times dI/dt overflow"
        )
    safe = np.where(norm > 0, norm, 1.0)
    x = np.zeros_like(b)
    residual = b.copy()
    product = np.empty_like(b)
    history = [np.where(norm > 0, 1.0, 0.0)]
    iterations = 0
    while np.any(history[-1] > rtol):
        if len(history) > MAX_OUTER or not np.all(np.isfinite(history[-1])):
            raise _stalled(history, rtol)
        if len(history) > 3 and history[-1].max() > 0.5 * history[-2].max():
            raise _stalled(history, rtol)
        scale = np.where(history[-1] > 0, history[-1] * safe, 1.0)
        inner_rtol = max(INNER_RTOL, 0.3 * rtol / history[-1].max())
        correction, used = _sweep(single, multigrid, (residual / scale).astype(np.float32), inner_rtol)
        iterations += used
        x += correction * scale
        stiffness.times(x, product)
        np.subtract(b, product, out=residual)
        history.append(np.sqrt(dots(residual, residual)) / safe)
    return Solution(x[:, :n_columns], history[-1][:n_columns], iterations)


def _padded(b):
    """`b` with columns of zeros up to a width that the sparse products have."""
    width = min(width for width in sparse.PRODUCTS if width >= b.shape[1])
    if width == b.shape[1]:
        return np.ascontiguousarray(b)
    wide = np.zeros((len(b), width))
    wide[:, : b.shape[1]] = b
    return wide


def dots(x, y):
    """Column dot products in float64, independent of the thread count."""
    n_chunks = -(-len(x) // sparse.REDUCE_CHUNK)
    partial = np.empty((n_chunks, x.shape[1]))
    run_chunks(sparse.partial_dots, n_chunks, x, y, partial, min_chunk=4)
    return partial.sum(axis=0)


def _sweep(matrix, multigrid, r, rtol):
    """One float32 conjugate-gradient run from zero; returns (x, iterations)."""
    n, width = r.shape
    x = np.zeros_like(r)
    direction = np.zeros_like(r)
    product = np.empty_like(r)
    workspace = multigrid.workspace(width)
    goal = rtol**2 * dots(r, r)
    previous = np.ones(width)
    for iteration in range(MAX_INNER):
        if np.all(dots(r, r) <= goal):
            return x, iteration
        z = multigrid.cycle(r, workspace)
        rho = dots(r, z)
        beta = np.where(iteration > 0, _ratio(rho, previous), 0.0).astype(np.float32)
        run_chunks(sparse.update_direction, n, z, beta, direction)
        matrix.times(direction, product)
        alpha = _ratio(rho, dots(direction, product)).astype(np.float32)
        run_chunks(sparse.update_solution, n, alpha, direction, product, x, r)
        previous = rho
    return x, MAX_INNER


def _ratio(a, b):
    """a / b, and 0 where a column is finished (both vanish)."""
    return np.divide(a, b, out=np.zeros_like(a), where=b > 0)


def _stalled(history, rtol):
    trace = ", ".join(f"{h.max():.2e}" for h in history)
    return ConvergenceError(
        f"the solver stopped at a relative residual of {history[-1].max():.2e}, wanted {rtol:.0e} "
        f"(history: {trace}). Look for flat tetrahedra with `efield head check`, or for "
        "conductivities many orders apart."
    )
