"""The second-order system by blocks, and its preconditioner.

In the hierarchical basis the corner block is the first-order stiffness, so its multigrid is the coarse
level as it stands; edges are smoothed by one damped Jacobi sweep before and after (p-multigrid:
Sundar, Stadler and Biros 2015, 10.1002/nla.1979, compare such smoothers).
"""

from dataclasses import dataclass

import numpy as np

from efield.kernels import sparse
from efield.kernels._jit import run_chunks
from efield.solve.matrix import SparseMatrix
from efield.solve.multigrid import Multigrid

DAMPING = 0.6
"""Jacobi weight of the edges times their diagonal, at most."""

BOUND = 1.9
"""Jacobi weight of the edges times the sum of their row's absolute entries, at most.

Below 2 no sweep amplifies an error (Gershgorin) and the cycle stays positive; `DAMPING` alone does not
see to that around slivers, where the largest eigenvalue over the diagonal exceeds 2 / 0.6."""


@dataclass(frozen=True, eq=False)
class BlockMatrix:
    """``[[K11, K1e], [Ke1, Kee]]``; products as of :class:`SparseMatrix`.

    Attributes
    ----------
    corners : SparseMatrix
        K11.
    beside : SparseMatrix
        K1e; its columns count from the first corner.
    edges : SparseMatrix
        Ke1 and Kee side by side.
    """

    corners: SparseMatrix
    beside: SparseMatrix
    edges: SparseMatrix

    @classmethod
    def of(cls, corners, rows):
        """From the first-order stiffness and :class:`EdgeRows`."""
        return cls(corners, _matrix(*rows.corner_rows()), _matrix(rows.indptr, rows.indices, rows.data))

    def single(self, corners):
        """In float32, where `corners` is K11 so."""
        beside, edges = (_matrix(m.indptr, m.indices, _rounded(m.data)) for m in (self.beside, self.edges))
        return BlockMatrix(corners, beside, edges)

    def times(self, x, out):
        """``out = K x``."""
        n = self.corners.n_rows
        self.corners.times(x[:n], out[:n])
        self.beside.add_times(x, out[:n])
        self.edges.times(x, out[n:])

    def residual(self, x, b, out):
        """``out = b - K x``."""
        n = self.corners.n_rows
        self.corners.residual(x[:n], b[:n], out[:n])
        self.beside.residual(x, out[:n], out[:n])
        self.edges.residual(x, b[n:], out[n:])


@dataclass(frozen=True, eq=False)
class TwoLevel:
    """One cycle on the second-order system: a symmetric positive preconditioner in float32.

    Attributes
    ----------
    matrix : BlockMatrix
    multigrid : Multigrid
        Of the corner block.
    jacobi : (n_edges,) float32 array
    """

    matrix: BlockMatrix
    multigrid: Multigrid
    jacobi: np.ndarray

    @property
    def finest(self):
        """The system in float32."""
        return self.matrix

    @classmethod
    def of(cls, multigrid, matrix, diagonal):
        """From the corners' multigrid, the system in float64 and the edges' diagonal."""
        rows, sums = matrix.edges, np.empty(len(diagonal))
        entries = (rows.indptr, rows.indices, rows.data, matrix.corners.n_rows)
        run_chunks(sparse.absolute_row_sums, len(sums), *entries, sums)
        weight = np.minimum(DAMPING / diagonal, BOUND / sums).astype(np.float32)
        return cls(matrix.single(multigrid.finest), multigrid, weight)

    def workspace(self, width):
        """Scratch blocks for :meth:`cycle`."""
        n, n_edges = self.matrix.corners.n_rows, self.matrix.edges.n_rows
        sizes = (n + n_edges, n, n_edges)
        own = tuple(np.empty((size, width), np.float32) for size in sizes)
        return own, self.multigrid.workspace(width)

    def cycle(self, b, workspace):
        """Edges, corners, edges; the result lives in `workspace`."""
        (x, corner_b, edge_b), below = workspace
        n, n_edges = self.matrix.corners.n_rows, self.matrix.edges.n_rows
        run_chunks(sparse.scale_rows, n_edges, self.jacobi, b[n:], x[n:])
        x[:n] = 0.0
        self.matrix.beside.residual(x, b[:n], corner_b)
        x[:n] = self.multigrid.cycle(corner_b, below)
        self.matrix.edges.residual(x, b[n:], edge_b)
        run_chunks(sparse.add_scaled_rows, n_edges, self.jacobi, edge_b, x[n:])
        return x


def _rounded(data):
    """`data` in float32, its memory first touched by several threads."""
    out = np.empty(len(data), np.float32)

    def fill(begin, end):
        out[begin:end] = data[begin:end]

    run_chunks(fill, len(out))
    return out


def _matrix(indptr, indices, data):
    return SparseMatrix(indptr, indices, data, len(indptr) - 1)
