"""Compressed sparse rows: products with blocks, and what coarser levels are made of."""

from dataclasses import dataclass

import numpy as np
import scipy.sparse

from efield.kernels import sparse
from efield.kernels._jit import run_chunks
from efield.model.arrays import row_pointers

ROWS_CHUNK = 64
"""Rows worth a thread: those of coarse levels are few, and long."""


@dataclass(frozen=True, eq=False)
class SparseMatrix:
    """Compressed rows, with a product over blocks."""

    indptr: np.ndarray
    indices: np.ndarray
    data: np.ndarray
    n_rows: int

    @classmethod
    def from_scipy(cls, matrix, dtype):
        """A scipy CSR matrix in the given precision; shares what need not be converted."""
        return cls(
            matrix.indptr.astype(np.int32, copy=False),
            matrix.indices.astype(np.int32, copy=False),
            matrix.data.astype(dtype, copy=False),
            matrix.shape[0],
        )

    def times(self, x, out):
        """``out = A x`` for blocks x (n_columns, k) and out (n_rows, k), k of 1, 4, 8 or 16."""
        self._run("product", x, out)

    def residual(self, x, b, out):
        """``out = b - A x``."""
        self._run("residual", x, b, out)

    def add_times(self, x, out):
        """``out += A x``."""
        self._run("add_product", x, out)

    def jacobi(self, x, b, weight, out):
        """``out = x + weight * (b - A x)`` with a `weight` for each row."""
        self._run("jacobi", x, b, weight, out)

    def _run(self, name, x, *arrays):
        kernel = getattr(sparse.BLOCKS[x.shape[1]], name)
        run_chunks(kernel, self.n_rows, self.indptr, self.indices, self.data, x, *arrays)


def galerkin(restrict, matrix, prolong):
    """``R A P`` of scipy CSR matrices, rows in parallel; columns are not sorted, A P is never stored.

    Returns
    -------
    scipy.sparse.csr_matrix, float64
    """
    arrays = [array for m in (restrict, matrix, prolong) for array in (m.indptr, m.indices, m.data)]
    return _by_rows(sparse.galerkin_rows, (restrict.shape[0], prolong.shape[1]), *arrays)


def smoothed_prolongator(matrix, member, n_aggregates, weight):
    """``(I - diag(weight) A) T``, with T the ones of each unknown's aggregate `member`.

    Returns
    -------
    scipy.sparse.csr_matrix, float64
    """
    arrays = (matrix.indptr, matrix.indices, matrix.data, member, weight)
    return _by_rows(sparse.smoothed_rows, (len(member), n_aggregates), *arrays)


def strong_couplings(matrix, threshold):
    """Where ``|a_ij| >= threshold sqrt(a_ii a_jj)``, and the diagonal; a scipy CSR matrix, values unset."""
    root = np.sqrt(threshold * np.abs(matrix.diagonal()))
    n, counts = len(root), np.empty(len(root), np.int64)
    arrays = (matrix.indptr, matrix.indices, matrix.data, root)
    run_chunks(sparse.count_strong, n, *arrays, counts)
    indptr = row_pointers(counts)
    indices = np.empty(indptr[-1], np.int32)
    run_chunks(sparse.take_strong, n, *arrays, indptr, indices)
    return scipy.sparse.csr_matrix((indices, indices, indptr), shape=matrix.shape)


def _by_rows(kernel, shape, *arrays):
    """CSR matrix of a kernel that gives the lengths of its rows and returns their (indices, data)."""
    counts = np.empty(shape[0], np.int64)
    parts = run_chunks(kernel, shape[0], *arrays, shape[1], counts, min_chunk=ROWS_CHUNK)
    indices, data = map(np.concatenate, zip(*parts, strict=True))
    return scipy.sparse.csr_matrix((data, indices, row_pointers(counts)), shape=shape)
