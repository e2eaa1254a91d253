"""What second order adds to first: the edge functions alone, never assembled.

Blocks ``K_e1``, ``K_1e`` and ``K_ee`` of the second-order system as sums over tetrahedra: less memory than
the assembled rows, and a few products cost less than assembling.
"""

from functools import cached_property

import numpy as np

from efield.fem.assemble import basis_gradients
from efield.kernels import edge_part as kernel
from efield.kernels._jit import run_chunks
from efield.kernels.edges import FIRST_END, SECOND_END

SLICES = 16
"""Slices of the edges, each of one thread at a time; with more of them more tetrahedra are visited twice."""


CHUNKS = 16
"""Chunks of the tetrahedra in which it is found out what each slice visits."""


class EdgePart:
    """The edge functions ``4 l_a l_b`` on a geometry.

    Parameters
    ----------
    geometry : Geometry
    edges : Edges
    """

    def __init__(self, geometry, edges):
        self.geometry, self.edges = geometry, edges
        self._size = -(-len(edges.ends) // SLICES)
        length = -(-len(edges.of_tets) // CHUNKS)
        tets = length, edges.of_tets, self._size
        count = np.empty((CHUNKS, SLICES), np.int64)
        run_chunks(kernel.count_members, CHUNKS, *tets, count, min_chunk=1)
        ends = np.cumsum(count.T.ravel())
        self._pointers = np.concatenate([[0], ends[CHUNKS - 1 :: CHUNKS]])
        self._members = np.empty(ends[-1], np.int32)
        starts = np.ascontiguousarray(ends.reshape(SLICES, CHUNKS).T - count)
        run_chunks(kernel.fill_members, CHUNKS, *tets, starts, self._members, min_chunk=1)

    def __len__(self):
        return len(self.edges.ends)

    @property
    def _mesh(self):
        geo = self.geometry
        return geo.nodes, geo.tets, geo.sigma

    @cached_property
    def _products(self):
        """Products of the gradients of each tetrahedron, from which K_ee follows."""
        out = np.empty((len(self.geometry.tets), 10), np.float32)
        run_chunks(kernel.products_of_gradients, len(out), *self._mesh, out)
        return out

    @cached_property
    def diagonal(self):
        """(n_edges,) float32 of K_ee, S m."""
        out = np.zeros(len(self), np.float32)
        self._over_edges(kernel.diagonal, self.edges.of_tets, self._products, out)
        return out

    def times(self, x, out):
        """``out = K_ee x``, both (n_edges,) float32."""
        self._over_edges(kernel.times, self.edges.of_tets, self._products, x, out)

    def residual_loads(self, potential, dadt):
        """``F_e - K_e1 v`` (n_edges,) of a first-order field, V (n,) and V/m (n, 3) at the nodes."""
        out = np.zeros(len(self))
        self._over_edges(kernel.residual_loads, *self._mesh, self.edges.of_tets, potential, dadt, out)
        return out

    def mean_field(self, potential, dadt, where):
        """Mean of E (m, 3) over tetrahedra of edge unknowns (n_edges,) and dA/dt (n_edges, 3)."""
        grad, _ = basis_gradients(self.geometry.nodes, self.geometry.tets[where])
        numbers, out = self.edges.of_tets[where], np.zeros((len(where), 3))
        for e, (a, b) in enumerate(zip(FIRST_END, SECOND_END, strict=True)):
            out -= 0.2 * dadt[numbers[:, e]] + potential[numbers[:, e], None] * (grad[:, a] + grad[:, b])
        return out

    def corner_loads(self, potential, dadt):
        """``sum_t V sigma E.grad l_i`` (n,) at the nodes, E of every tetrahedron as of :meth:`mean_field`."""
        out = np.zeros(len(self.geometry.nodes))
        kernel.corner_loads(*self._mesh, self.edges.of_tets, potential, dadt, out)
        return out

    def _over_edges(self, function, *arguments):
        own = (self._size, self._pointers, self._members)
        run_chunks(function, SLICES, *own, *arguments, min_chunk=1)
