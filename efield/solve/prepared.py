"""A head made ready to solve: assembled, with its multigrid hierarchy.

Coils, placements and targets share one :class:`PreparedHead`.
"""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import scipy.sparse

from efield.errors import EfieldError
from efield.fem.assemble import geometry
from efield.fem.elements import ORDERS, LinearElements, QuadraticElements
from efield.fem.source import element_field
from efield.memory import require_memory
from efield.model.heads import load_head
from efield.solve.block_cg import Solution, solve
from efield.solve.matrix import SparseMatrix
from efield.solve.multigrid import Multigrid
from efield.solve.two_level import BlockMatrix, TwoLevel

BLOCK = 16
"""Right-hand sides solved at once: enough to share the matrix, few enough to stay in cache."""

SECOND_ORDER_BLOCK = 8
"""The same at second order, where blocks of 16 would need more memory than the matrix."""


@dataclass(frozen=True, eq=False)
class PreparedHead:
    """Assembled operators and solver of one head; make it with :func:`efield.prepare`.

    Pickles as its head alone and is prepared again on arrival.
    """

    head: object
    elements: LinearElements | QuadraticElements
    stiffness: SparseMatrix | BlockMatrix = field(repr=False)
    multigrid: Multigrid | TwoLevel = field(repr=False)

    def __reduce__(self):
        return _prepared_again, (self.head, self.element_order)

    @property
    def element_order(self):
        """Order of the finite elements, 1 or 2."""
        return self.elements.order

    @property
    def block(self):
        """Right-hand sides solved at once."""
        return BLOCK if self.element_order == 1 else SECOND_ORDER_BLOCK

    @property
    def geometry(self):
        """The ordered mesh with its conductivities."""
        return self.elements.geometry

    @property
    def operators(self):
        """First-order stiffness and source operator."""
        return self.elements.operators

    @property
    def nodes(self):
        """(n, 3) where dA/dt is sampled, m: used nodes in solver order; at order 2 then midpoints."""
        return self.elements.nodes

    def solve(self, b, *, rtol, start=None):
        """Solve ``K x = b`` for an (n, k) block in solver order, beginning with `start` (n, k) or 0.

        Raises
        ------
        ConvergenceError
            The residual stalls above `rtol`.
        """
        n, k = b.shape
        if k <= self.block:
            return self._solve_block(b, rtol, start)
        x, residual, iterations = np.empty((n, k)), np.empty(k), 0
        for first in range(0, k, self.block):
            columns = slice(first, first + self.block)
            part = self._solve_block(b[:, columns], rtol, None if start is None else start[:, columns])
            x[:, columns], residual[columns] = part.x, part.residual
            iterations += part.iterations
        return Solution(x, residual, iterations)

    def _solve_block(self, b, rtol, start):
        own = np.ascontiguousarray(b)
        return solve(self.stiffness, self.multigrid.finest, self.multigrid, own, rtol, start)

    def source_load(self, dadt):
        """Right-hand sides (n, k) of dA/dt (n, 3, k) at :attr:`nodes`, V/m."""
        return self.elements.source_load(dadt)

    def element_field(self, potential, dadt, elements):
        """E of some tetrahedra (the mean over each) from a solution and dA/dt at the nodes.

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
        where = self.tet_position[elements]
        return element_field(self.head.mesh.ordered, potential, dadt, where, np.arange(len(where)))

    @cached_property
    def tet_position(self):
        """(n_tets,) place of each of the mesh's tetrahedra in solver order."""
        position = np.empty(len(self.geometry.tet_order), np.int64)
        position[self.geometry.tet_order] = np.arange(len(position))
        return position

    @property
    def first_order(self):
        """The same head prepared at first order; shares its arrays."""
        return self if self.element_order == 1 else self._corner_system

    @cached_property
    def _corner_system(self):
        elements = LinearElements(self.geometry, self.operators)
        return PreparedHead(self.head, elements, self.stiffness.corners, self.multigrid.multigrid)


def prepare(head, *, element_order=None):
    """Assemble a head and set its solver up.

    Parameters
    ----------
    head : HeadModel, PreparedHead, str or path
        A prepared head is returned as it is.
    element_order : {1, 2}
        Order of the finite elements; None is that of a prepared head, else 1.

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
    EfieldError
        An order that there is not, or not that of the prepared head.
    """
    if isinstance(head, PreparedHead):
        return _of_order(head, element_order)
    order = 1 if element_order is None else checked_order(element_order)
    head = load_head(head)
    require_memory(len(head.tets), element_order=order)
    geo = geometry(head.mesh, head.conductivity)
    elements = LinearElements.of(geo)
    matrix = corner_matrix(elements)
    prepared = PreparedHead(
        head, elements, SparseMatrix.from_scipy(matrix, np.float64), Multigrid.build(matrix)
    )
    return prepared if order == 1 else _second_order(prepared)


def _second_order(prepared):
    """The same head at second order; its first-order system is the corner block."""
    elements = QuadraticElements(prepared.geometry, prepared.operators, prepared.head.mesh.ordered.edges)
    rows = elements.edge_rows()
    matrix = BlockMatrix.of(prepared.stiffness, rows)
    return PreparedHead(
        prepared.head, elements, matrix, TwoLevel.of(prepared.multigrid, matrix, rows.diagonal)
    )


def checked_order(element_order):
    """`element_order` where it is one that there is.

    Raises
    ------
    EfieldError
        It is none of `ORDERS`.
    """
    if element_order not in ORDERS or isinstance(element_order, bool):
        valid = ", ".join(map(str, ORDERS))
        raise EfieldError(f"element_order={element_order!r} is not available; valid: {valid}")
    return int(element_order)


def _prepared_again(head, element_order):
    return prepare(head, element_order=element_order)


def _of_order(prepared, element_order):
    """`prepared` where it is of the wanted order."""
    if element_order is not None and checked_order(element_order) != prepared.element_order:
        raise EfieldError(
            f"head {prepared.head.name!r} was prepared at element_order={prepared.element_order}, not "
            f"{element_order}; prepare it with efield.prepare(head, element_order={element_order})"
        )
    return prepared


def corner_matrix(elements):
    """First-order stiffness of elements of either order, (n_nodes, n_nodes) scipy CSR."""
    own, n = elements.operators, len(elements.geometry.nodes)
    return scipy.sparse.csr_matrix((own.stiffness, own.indices, own.indptr), shape=(n, n))
