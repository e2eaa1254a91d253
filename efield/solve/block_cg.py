"""Conjugate gradients on a block of right-hand sides, with the residual confirmed in float64.

The iteration runs in float32 with the multigrid cycle as preconditioner. Now and then the
solution is added up in float64 and the recursion's residual is replaced by the true one,
``b - K x`` in float64, which also decides when to stop; the search direction is kept, so
nothing of the convergence is lost (van der Vorst and Ye 2000, 10.1137/S1064827599353865).
"""

from dataclasses import dataclass

import numpy as np

from efield.errors import ConvergenceError, EfieldError
from efield.kernels import sparse
from efield.kernels._jit import run_chunks

INNER_RTOL = 1e-4
"""Reduction after which the residual is replaced; below about 1e-5 float32 rounding takes over."""

SAFETY = 0.8
"""Share of the wanted residual at which the true one is looked at."""

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


def solve(stiffness, single, multigrid, b, rtol, start=None):
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
    start : (n, k) array, optional
        What the iteration begins with, instead of 0.

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
    scale = np.where(norm > 0, norm, 1.0)
    x, residual, at_first = np.zeros(b.shape), np.empty(b.shape), b
    if start is not None:
        x[:, :n_columns], at_first = start, residual
        stiffness.residual(x, b, residual)
    recursion = _Recursion.start(single, multigrid, at_first, scale)
    history, iterations = [np.sqrt(dots(at_first, at_first)) / scale], 0
    while np.any(history[-1] > rtol):
        stuck = len(history) > 3 and history[-1].max() > 0.5 * history[-2].max()
        if stuck or len(history) > MAX_OUTER or not np.all(np.isfinite(history[-1])):
            raise _stalled(history, rtol)
        iterations += recursion.advance(max(INNER_RTOL * history[-1].max(), SAFETY * rtol))
        recursion.add_to(x)
        stiffness.residual(x, b, residual)
        recursion.replace_residual(residual)
        history.append(np.sqrt(dots(residual, residual)) / scale)
    return Solution(np.ascontiguousarray(x[:, :n_columns]), history[-1][:n_columns], iterations)


def _padded(b):
    """`b` with columns of zeros up to a width that the sparse products have."""
    width = min(width for width in sparse.BLOCKS if width >= b.shape[1])
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


@dataclass
class _Recursion:
    """State of the float32 conjugate gradients: what the next iteration goes on from.

    Each column counts in units of its own `scale`, so that float32 holds any of them.
    """

    matrix: object
    multigrid: object
    workspace: list
    residual: np.ndarray
    direction: np.ndarray
    product: np.ndarray
    solution: np.ndarray
    scale: np.ndarray
    rho: np.ndarray

    @classmethod
    def start(cls, matrix, multigrid, residual, scale):
        # np.zeros leaves the first touch of its memory to the kernels' threads, np.zeros_like does not
        width, made = residual.shape[1], (np.empty, np.zeros, np.empty, np.zeros)
        blocks = (make(residual.shape, np.float32) for make in made)
        state = cls(matrix, multigrid, multigrid.workspace(width), *blocks, scale, np.full(width, np.inf))
        state.replace_residual(residual)
        return state

    def advance(self, goal):
        """Iterate until the residuals fall below `goal`; returns the number of iterations."""
        n = len(self.residual)
        for iteration in range(MAX_INNER):
            if np.all(dots(self.residual, self.residual) <= goal**2):
                return iteration
            z = self.multigrid.cycle(self.residual, self.workspace)
            rho = dots(self.residual, z)
            beta = _ratio(rho, self.rho).astype(np.float32)
            run_chunks(sparse.update_direction, n, z, beta, self.direction)
            self.matrix.times(self.direction, self.product)
            alpha = _ratio(rho, dots(self.direction, self.product)).astype(np.float32)
            run_chunks(
                sparse.update_solution,
                n,
                alpha,
                self.direction,
                self.product,
                self.solution,
                self.residual,
            )
            self.rho = rho
        return MAX_INNER

    def replace_residual(self, residual):
        """Go on from a float64 `residual`."""
        run_chunks(sparse.scale_columns, len(residual), residual, 1.0 / self.scale, self.residual)

    def add_to(self, x):
        """Move what has been solved so far to the float64 block `x`."""
        run_chunks(sparse.move_scaled, len(x), self.solution, self.scale, x)


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
