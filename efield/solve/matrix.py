"""Compressed sparse rows: products with blocks, and with each other."""

from dataclasses import dataclass

import numpy as np
import scipy.sparse

from efield.kernels import sparse
from efield.kernels._jit import run_chunks


PRODUCT_CHUNK = 64
"""Rows of a sparse product worth a thread: those of coarse levels are few, and long."""


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


def product(a, b):
    """Product of two scipy CSR matrices, rows in parallel; columns are not sorted.

    Returns
    -------
    scipy.sparse.csr_matrix, float64
    """
    n_rows, n_columns = a.shape[0], b.shape[1]
    left = (a.indptr, a.indices, a.data)
    right = (b.indptr, b.indices, b.data)
    counts = np.empty(n_rows, np.int64)
    parts = run_chunks(
        sparse.product_rows, n_rows, *left, *right, n_columns, counts, min_chunk=PRODUCT_CHUNK
    )
    indptr = np.zeros(n_rows + 1, np.int32)
    np.cumsum(counts, out=indptr[1:])
    indices, data = map(np.concatenate, zip(*parts, strict=True))
    return scipy.sparse.csr_matrix((data, indices, indptr), shape=(n_rows, n_columns))
