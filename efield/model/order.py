"""A mesh in an order in which neighbours in space are neighbours in memory.

Everything that runs over nodes or tetrahedra does so in this order: it halves the time and more.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from efield.kernels import edges as edge_kernel
from efield.kernels import topology
from efield.kernels._jit import run_chunks
from efield.model.arrays import read_only


@dataclass(frozen=True, eq=False)
class OrderedMesh:
    """Compact copy of a mesh, SI.

    Attributes
    ----------
    nodes : (n, 3) array, m
        Only the nodes that tetrahedra use, along a Morton curve.
    tets : (n_tets, 4) int32 array
        Indices into `nodes`; ordered by their smallest node.
    node_order, tet_order : int arrays
        ``nodes == mesh.nodes[node_order]``, tetrahedra likewise.
    """

    nodes: np.ndarray
    tets: np.ndarray
    node_order: np.ndarray
    tet_order: np.ndarray

    @classmethod
    def of(cls, mesh):
        """The ordered copy of a :class:`TetMesh`."""
        used = np.flatnonzero(mesh.used_nodes)
        node_order = used[np.argsort(_morton(mesh.nodes_mm[used]), kind="stable")]
        position = np.full(len(mesh.nodes_mm), -1, np.int32)
        position[node_order] = np.arange(len(node_order), dtype=np.int32)
        tets, tet_order = _in_order(mesh.tets, position, len(node_order))
        return cls(*map(read_only, (mesh.nodes[node_order], tets, node_order, tet_order)))

    @cached_property
    def edges(self):
        """The :class:`Edges` of the mesh."""
        return Edges.of(self.tets, len(self.nodes))


@dataclass(frozen=True, eq=False)
class Edges:
    """Edges of an ordered mesh, by their smaller node and then their larger one.

    Attributes
    ----------
    ends : (n, 2) int32 array
        Nodes, the smaller first.
    of_tets : (n_tets, 6) int32 array
        Edges of each tetrahedron: local nodes 01, 02, 03, 12, 13, 23.
    """

    ends: np.ndarray
    of_tets: np.ndarray

    @classmethod
    def of(cls, tets, n_nodes):
        """Number the edges of tetrahedra (n_tets, 4)."""
        count = np.zeros(n_nodes, np.int64)
        edge_kernel.count_edge_ends(tets, count)
        pointers = np.concatenate([[0], np.cumsum(count)])
        larger = np.empty(pointers[-1], np.int32)
        edge_kernel.fill_edge_ends(tets, pointers[:-1].copy(), larger)
        run_chunks(edge_kernel.sort_unique, n_nodes, pointers, larger, count)
        indptr = np.concatenate([[0], np.cumsum(count)])
        ends, of_tets = np.empty((indptr[-1], 2), np.int32), np.empty((len(tets), 6), np.int32)
        run_chunks(edge_kernel.pack_edges, n_nodes, pointers, larger, indptr, ends)
        run_chunks(edge_kernel.edges_of_tets, len(tets), tets, indptr, ends, of_tets)
        return cls(read_only(ends), read_only(of_tets))

    def means(self, values):
        """(n_edges, k) mean of values (n, k) at the ends of each edge."""
        out = np.empty((len(self.ends), values.shape[1]), values.dtype)
        run_chunks(edge_kernel.means_of_ends, len(out), self.ends, values, out)
        return out


def _in_order(tets, position, n_nodes):
    """Tetrahedra of nodes `position`, by their smallest node, and which each was."""
    n = len(tets)
    relabelled, smallest = np.empty((n, 4), np.int32), np.empty(n, np.int32)
    run_chunks(topology.relabel, n, tets, position, relabelled, smallest)
    count = np.bincount(smallest, minlength=n_nodes)
    order = np.empty(n, np.int64)
    topology.sort_by_count(smallest, np.cumsum(count) - count, order)
    ordered = np.empty((n, 4), np.int32)
    run_chunks(topology.take_tets, n, relabelled, order, ordered)
    return ordered, order


def _morton(points):
    """Morton code of points on a 2^20 lattice (interleaved bits)."""
    low = points.min(axis=0)
    size = max(float(np.ptp(points, axis=0).max()), 1e-30)
    lattice = ((points - low) * ((2**20 - 1) / size)).astype(np.uint64)
    code = np.zeros(len(points), np.uint64)
    for axis in range(3):
        code |= _spread_bits(lattice[:, axis]) << np.uint64(axis)
    return code


def _spread_bits(v):
    """Put two zero bits between the lowest 21 bits of each value."""
    v = v & np.uint64(0x1FFFFF)
    for shift, mask in (
        (32, 0x1F00000000FFFF),
        (16, 0x1F0000FF0000FF),
        (8, 0x100F00F00F00F00F),
        (4, 0x10C30C30C30C30C3),
        (2, 0x1249249249249249),
    ):
        v = (v | (v << np.uint64(shift))) & np.uint64(mask)
    return v
