"""A head made ready to solve: assembled, with its multigrid hierarchy.

Coils, placements and targets share one :class:`PreparedHead`.
"""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import scipy.sparse

from efield.errors import EfieldError
from efield.fem.assemble import Geometry, Operators, assemble, geometry
from efield.fem.source import element_field
from efield.kernels import fem as kernel
from efield.kernels._jit import run_chunks
from efield.memory import require_memory
from efield.model.heads import load_head
from efield.solve.block_cg import Solution, solve
from efield.solve.matrix import SparseMatrix
from efield.solve.multigrid import Multigrid

BLOCK = 16
"""Right-hand sides solved at once: enough to share the matrix, few enough to stay in cache."""


@dataclass(frozen=True, eq=False)
class PreparedHead:
    """Assembled operators and solver of one head; make it with :func:`efield.prepare`.

    Pickles as its head alone and is prepared again on arrival.
    """

    head: object
    geometry: Geometry = field(repr=False)
    operators: Operators = field(repr=False)
    stiffness: SparseMatrix = field(repr=False)
    multigrid: Multigrid = field(repr=False)

    def __reduce__(self):
        return prepare, (self.head,)

    @property
    def nodes(self):
        """(n, 3) used nodes in solver order, m."""
        return self.geometry.nodes

    def solve(self, b, *, rtol):
        """Solve ``K x = b`` for an (n, k) block in solver order.

        Raises
        ------
        ConvergenceError
            The residual stalls above `rtol`.
        """
        n, k = b.shape
        x, residual, iterations = np.empty((n, k)), np.empty(k), 0
        for start in range(0, k, BLOCK):
            columns = slice(start, start + BLOCK)
            part = solve(
                self.stiffness, self._single, self.multigrid, np.ascontiguousarray(b[:, columns]), rtol
            )
            x[:, columns], residual[columns] = part.x, part.residual
            iterations += part.iterations
        return Solution(x, residual, iterations)

    def source_load(self, dadt):
        """Right-hand sides ``b = -source . dadt`` of node values (n, 3, k), V/m; returns (n, k)."""
        out = np.empty((len(self.nodes), dadt.shape[2]))
        run_chunks(
            kernel.source_times,
            len(out),
            self.operators.indptr,
            self.operators.indices,
            self.operators.source,
            dadt,
            out,
        )
        return out

    def element_field(self, potential, dadt, elements):
        """E of some tetrahedra from values at the nodes.

        Parameters
        ----------
        potential : (n,) array, V
        dadt : (n, 3) array, V/m
        elements : (m,) int array
            In the mesh's own order, as is the result.

        Returns
        -------
        (m, 3) array, V/m
        """
        geo = self.geometry
        potential, dadt = np.ascontiguousarray(potential), np.ascontiguousarray(dadt)
        tets = geo.tets[self.tet_position[elements]]
        return element_field(geo.nodes, tets, potential, dadt, np.arange(len(tets)))

    @cached_property
    def tet_position(self):
        """(n_tets,) place of each of the mesh's tetrahedra in solver order."""
        position = np.empty(len(self.geometry.tet_order), np.int64)
        position[self.geometry.tet_order] = np.arange(len(position))
        return position

    @property
    def _single(self):
        return self.multigrid.finest


def prepare(head, *, element_order=1):
    """Assemble a head and set its solver up.

    Parameters
    ----------
    head : HeadModel, PreparedHead, str or path
        A prepared head is returned as it is.
    element_order : {1}
        Order of the finite elements.

    Returns
    -------
    PreparedHead
        Accepted wherever a head is.

    Raises
    ------
    MeshError
        A tetrahedron without volume, or no mesh of that name.
    ResourceError
        The head would not fit in memory.
    """
    if element_order != 1:
        raise EfieldError(f"element_order={element_order!r} is not available; valid: 1")
    if isinstance(head, PreparedHead):
        return head
    head = load_head(head)
    require_memory(len(head.tets))
    geo = geometry(head.mesh, head.conductivity)
    operators = assemble(geo)
    matrix = scipy.sparse.csr_matrix(
        (operators.stiffness, operators.indices, operators.indptr), shape=(len(geo.nodes),) * 2
    )
    return PreparedHead(
        head=head,
        geometry=geo,
        operators=operators,
        stiffness=SparseMatrix.from_scipy(matrix, np.float64),
        multigrid=Multigrid.build(matrix),
    )
