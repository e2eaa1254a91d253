"""Smoothed-aggregation multigrid, applied to a block of vectors at once.

Aggregates and strength of connection come from pyamg, the hierarchy follows Vanek, Mandel
and Brezina 1996 (10.1007/BF02238511). The cycle runs in float32 and over blocks: a V-cycle
with one Jacobi sweep before and after.
"""

from dataclasses import dataclass

import numpy as np
import scipy.linalg
import scipy.sparse

from efield.kernels import sparse
from efield.kernels._jit import run_chunks
from efield.solve.matrix import SparseMatrix, galerkin, smoothed_prolongator, strong_couplings

STRENGTH_THRESHOLD = 0.04
"""Couplings weaker than this fraction of the diagonals do not aggregate."""

COARSEST = 250
"""Unknowns below which a level is solved densely."""

NULL = 1e-10
"""Eigenvalues of the coarsest matrix below this part of the largest are zeros, one a connected part."""

MAX_LEVELS = 12

JACOBI_DAMPING = 4.0 / 3.0
"""Jacobi weight times the spectral radius of D^-1 A."""


@dataclass(frozen=True, eq=False)
class Level:
    """One level: its matrix, its Jacobi weights and the way to the next coarser one."""

    matrix: SparseMatrix
    jacobi: np.ndarray
    prolong: SparseMatrix
    restrict: SparseMatrix


@dataclass(frozen=True, eq=False)
class Multigrid:
    """Hierarchy in float32; :meth:`cycle` is a symmetric positive preconditioner."""

    finest: SparseMatrix
    levels: tuple
    coarse_inverse: np.ndarray

    @classmethod
    def build(cls, matrix):
        """Hierarchy of a symmetric positive semidefinite scipy CSR matrix.

        Parameters
        ----------
        matrix : (n, n) scipy.sparse.csr_matrix, float64
            Constants on each connected part may be its null space.
        """
        levels, share = [], np.ones((matrix.shape[0], 1), np.float32)
        finest = SparseMatrix.from_scipy(matrix, np.float32)
        single = finest
        while matrix.shape[0] > COARSEST and len(levels) < MAX_LEVELS:
            level, coarser = _coarsen(matrix, single)
            if coarser.shape[0] > 0.8 * matrix.shape[0]:  # nothing left to aggregate
                break
            levels.append(level)
            matrix, single = coarser, SparseMatrix.from_scipy(coarser, np.float32)
            share, finer_share = np.empty((matrix.shape[0], 1), np.float32), share
            level.restrict.times(finer_share, share)
        inverse = coarse_inverse(matrix.toarray(), share[:, 0].astype(float))
        return cls(finest, tuple(levels), inverse.astype(np.float32))

    def cycle(self, b, workspace):
        """One V-cycle on a float32 block; the result lives in `workspace`."""
        return self._descend(0, b, workspace)

    def workspace(self, width):
        """Scratch blocks for :meth:`cycle`, one set a level."""
        sizes = [level.matrix.n_rows for level in self.levels]
        coarse = [*sizes[1:], len(self.coarse_inverse)]
        return [
            (
                np.empty((n, width), np.float32),
                np.empty((n, width), np.float32),
                np.empty((m, width), np.float32),
            )
            for n, m in zip(sizes, coarse, strict=False)  # no level at all: dense
        ]

    def _descend(self, depth, b, workspace):
        if depth == len(self.levels):
            return self.coarse_inverse @ b
        level = self.levels[depth]
        x, y, coarse_b = workspace[depth]
        run_chunks(sparse.scale_rows, level.matrix.n_rows, level.jacobi, b, x)
        level.matrix.residual(x, b, y)
        level.restrict.times(y, coarse_b)
        level.prolong.add_times(self._descend(depth + 1, coarse_b, workspace), x)
        level.matrix.jacobi(x, b, level.jacobi, y)
        return y


def coarse_inverse(matrix, share):
    """Inverse of the coarsest matrix for right-hand sides that sum to nearly zero on each connected part.

    In float32 they do so nearly only. The rest is spread evenly over the nodes, and each unknown is freed
    of the `share` (n,) of the nodes that it stands for. Were all unknowns freed of the same, those few that
    are hardly connected to the others would be flooded, and the solution would be shifted by a constant
    that spoils the dot products of conjugate gradients. By symmetry the solution's mean over the nodes is 0.
    """
    values, vectors = np.linalg.eigh(matrix)
    null = values <= NULL * values.max(initial=0.0)
    constants, rest = vectors[:, null], vectors[:, ~null]
    weighted = share[:, None] * constants
    free = np.eye(len(matrix)) - constants @ np.linalg.solve(constants.T @ weighted, weighted.T)
    return free @ (rest / values[~null]) @ rest.T @ free.T


def _coarsen(matrix, single):
    """The level of `matrix` (`single` in float32) and the Galerkin matrix of the next one."""
    inverse = _inverse_diagonal(matrix)
    weight = JACOBI_DAMPING / spectral_radius(matrix, inverse) * inverse
    prolong = smoothed_prolongator(matrix, *_aggregates(matrix), weight)
    restrict = prolong.T.tocsr()
    level = Level(
        single,
        weight.astype(np.float32),
        SparseMatrix.from_scipy(prolong, np.float32),
        SparseMatrix.from_scipy(restrict, np.float32),
    )
    return level, galerkin(restrict, matrix, prolong)


def _inverse_diagonal(matrix):
    """Inverse diagonal, 0 for an unknown without neighbours.

    On a coarse level such an unknown is a connected part of the mesh by itself. Its diagonal
    is rounding around zero; the levels above have solved that part up to its constant.
    """
    alone = np.diff(matrix.indptr) <= 1
    return np.divide(1.0, matrix.diagonal(), out=np.zeros(matrix.shape[0]), where=~alone)


def _aggregates(matrix):
    """(n,) aggregate of each unknown, and how many there are.

    pyamg leaves out unknowns without a strong coupling. They join the aggregate of the
    neighbour they are coupled to most, so that constants stay in the coarse space.
    """
    from pyamg.aggregation.aggregate import standard_aggregation

    tentative = standard_aggregation(strong_couplings(matrix, STRENGTH_THRESHOLD))[0]
    n_aggregates = tentative.shape[1]
    member = np.full(matrix.shape[0], -1, np.int32)
    rows, columns = tentative.nonzero()
    member[rows] = columns
    for i in np.flatnonzero(member < 0):
        row = slice(matrix.indptr[i], matrix.indptr[i + 1])
        placed = member[matrix.indices[row]]
        coupling = np.where(placed >= 0, np.abs(matrix.data[row]), 0.0)
        if coupling.max(initial=0.0) > 0:
            member[i] = placed[np.argmax(coupling)]
        else:
            member[i] = n_aggregates
            n_aggregates += 1
    return member, n_aggregates


def spectral_radius(matrix, inverse_diagonal, n_iterations=10):
    """Spectral radius of D^-1 A by Lanczos from a fixed start, 3 % on the safe side."""
    scale = np.sqrt(inverse_diagonal)
    wide, image = SparseMatrix.from_scipy(matrix, np.float64), np.empty((len(scale), 1))
    v = np.random.default_rng(0).standard_normal(len(scale))
    v /= np.linalg.norm(v)
    before, beta = np.zeros_like(v), 0.0
    alphas, betas = [], []
    for _ in range(min(n_iterations, len(scale))):
        wide.times((scale * v)[:, None], image)
        w = scale * image[:, 0] - beta * before
        alpha = v @ w
        w -= alpha * v
        alphas.append(alpha)
        beta = np.linalg.norm(w)
        betas.append(beta)
        if beta < 1e-12:
            break
        before, v = v, w / beta
    return 1.03 * scipy.linalg.eigvalsh_tridiagonal(alphas, betas[: len(alphas) - 1])[-1]
