"""Finite elements of order 1 and 2: all that the rest of the program asks of them.

Both give the right-hand side of a coil, the field in a tetrahedron, the load of a functional of E and
the node currents of its adjoint, by ONE rule for dA/dt: the element's own interpolation from its nodes
(4 at first order, 10 at second). So reciprocity holds for the discrete equations exactly.
"""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from efield.fem.assemble import Geometry, Operators, assemble
from efield.kernels import edges as edge_kernel
from efield.kernels import fem as linear
from efield.kernels import quadratic
from efield.kernels._jit import run_chunks
from efield.model.arrays import row_pointers

ORDERS = (1, 2)
"""Orders of the finite elements."""


@dataclass(frozen=True, eq=False)
class LinearElements:
    """First order: unknowns at the nodes, E constant in each tetrahedron.

    Attributes
    ----------
    geometry : Geometry
    operators : Operators
    """

    geometry: Geometry = field(repr=False)
    operators: Operators = field(repr=False)

    order = 1

    @classmethod
    def of(cls, geo):
        """Assembled on a :class:`Geometry`."""
        return cls(geo, assemble(geo))

    @property
    def nodes(self):
        """(n, 3) where dA/dt is sampled, m."""
        return self.geometry.nodes

    def source_load(self, dadt):
        """Right-hand sides (n, k) of node values (n, 3, k), V/m."""
        own = self.operators
        out = np.empty((len(self.nodes), dadt.shape[2]))
        run_chunks(linear.source_times, len(out), own.indptr, own.indices, own.source, dadt, out)
        return out

    def functional_load(self, where, weights):
        """``sum_t V_t w_t.grad N_i`` (n,) of weights (m, 3) on tetrahedra `where`."""
        out = np.zeros(len(self.nodes))
        linear.functional_load(self.geometry.nodes, self.geometry.tets, where, weights, out)
        return out

    def current_sources(self, psi, where, weights):
        """Node currents (n, k, 3) of ``J = w - sigma grad psi``, A m; psi (n, k), weights (k, m, 3)."""
        geo, out = self.geometry, np.zeros((*psi.shape, 3))
        run_chunks(
            linear.current_sources,
            len(weights),
            geo.nodes,
            geo.tets,
            geo.sigma,
            psi,
            where,
            weights,
            out,
            min_chunk=1,
        )
        return out


@dataclass(frozen=True, eq=False)
class EdgeRows:
    """Rows of the edges in the second-order system, CSR; columns are `n_nodes` nodes, then edges.

    Each row's first entry is its diagonal.
    """

    n_nodes: int
    indptr: np.ndarray
    indices: np.ndarray
    data: np.ndarray

    @property
    def diagonal(self):
        """(n_edges,) of K_ee."""
        return self.data[self.indptr[:-1]]

    def corner_rows(self):
        """CSR arrays of ``K_1e``, the nodes' columns transposed; its columns are those of the rows."""
        count = np.zeros(self.n_nodes, np.int64)
        quadratic.count_corner_columns(self.n_nodes, self.indices, count)
        indptr = row_pointers(count)
        indices, data = np.empty(indptr[-1], np.int32), np.empty(indptr[-1], self.data.dtype)
        own = (self.n_nodes, self.indptr, self.indices, self.data)
        rows = self.n_nodes // 32 + 1  # of a slice: few of them, for each looks through all entries
        fill = (indptr[:-1].copy(), indices, data)
        run_chunks(quadratic.fill_corner_rows, self.n_nodes, *own, *fill, min_chunk=rows)
        return indptr, indices, data


@dataclass(frozen=True, eq=False)
class QuadraticElements:
    """Second order, straight-sided: unknowns at nodes and edges, in the hierarchical basis.

    The unknown of an edge is by how much the solution at its midpoint exceeds the mean of its ends; dA/dt
    is sampled at nodes and midpoints. "E of a tetrahedron" is the mean of E over it.

    Attributes
    ----------
    geometry : Geometry
    operators : Operators
        Of the first order: the corner block.
    edges : Edges
    """

    geometry: Geometry = field(repr=False)
    operators: Operators = field(repr=False)
    edges: object = field(repr=False)

    order = 2

    @cached_property
    def nodes(self):
        """(n_nodes + n_edges, 3) where dA/dt is sampled: nodes, then midpoints; m."""
        corners = self.geometry.nodes
        return np.concatenate([corners, self.edges.means(corners)])

    def edge_rows(self, dtype=np.float64):
        """Assemble the :class:`EdgeRows` in some precision."""
        return edge_rows(self.geometry, self.edges, dtype)

    def source_load(self, dadt):
        """Right-hand sides (n, k) of values (n, 3, k) at nodes and midpoints, V/m."""
        geo, out = self.geometry, np.zeros((len(dadt), dadt.shape[2]))
        run_chunks(
            quadratic.source_load,
            out.shape[1],
            geo.nodes,
            geo.tets,
            geo.sigma,
            self.edges.of_tets,
            dadt,
            out,
            min_chunk=1,
        )
        return out

    def functional_load(self, where, weights):
        """``sum_t int_t w_t.grad N_i`` (n,) of weights (m, 3) on tetrahedra `where`."""
        geo, out = self.geometry, np.zeros(len(self.geometry.nodes) + len(self.edges.ends))
        quadratic.functional_load(geo.nodes, geo.tets, self.edges.of_tets, where, weights, out)
        return out

    def current_sources(self, psi, where, weights):
        """Currents (n, k, 3) of ``J = w - sigma grad psi`` at nodes and midpoints, as of first order."""
        geo, out = self.geometry, np.zeros((*psi.shape, 3))
        run_chunks(
            quadratic.current_sources,
            len(weights),
            geo.nodes,
            geo.tets,
            geo.sigma,
            self.edges.of_tets,
            psi,
            where,
            weights,
            out,
            min_chunk=1,
        )
        return out


def edge_rows(geo, edges, dtype=np.float64):
    """The :class:`EdgeRows` of a geometry."""
    n_nodes, n_edges = len(geo.nodes), len(edges.ends)
    count = np.zeros(n_edges, np.int64)
    edge_kernel.count_edge_tets(edges.of_tets, count)
    pointers = np.concatenate([[0], np.cumsum(count)])
    edge_tets = np.empty(pointers[-1], np.int32)
    edge_kernel.fill_edge_tets(edges.of_tets, pointers[:-1].copy(), edge_tets)
    around = (edges.of_tets, pointers, edge_tets)
    run_chunks(quadratic.count_row_entries, n_edges, geo.tets, *around, count)
    indptr = row_pointers(count)
    # zeros: a row ends early where two tetrahedra are the same
    indices, data = np.zeros(indptr[-1], np.int32), np.zeros(indptr[-1], dtype)
    run_chunks(
        quadratic.assemble_edge_rows,
        n_edges,
        geo.nodes,
        geo.tets,
        geo.sigma,
        *around,
        n_nodes,
        indptr,
        indices,
        data,
    )
    return EdgeRows(n_nodes, indptr, indices, data)
