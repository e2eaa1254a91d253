"""Values at the nodes from values per tetrahedron: superconvergent patch recovery, tissue by tissue.

Zienkiewicz and Zhu 1992 (10.1002/nme.1620330702): the gradient of a first-order solution is more accurate
at the barycentres than elsewhere, so a linear function fitted to it there, about a node, gives that node
a better value than any tetrahedron holds. E jumps where the conductivity does; so each tissue has a value of
its own at the nodes that it shares, and no fit takes values from two tissues.

1. A node all of whose tetrahedra are of one tissue, and that is not on the head's boundary, takes the linear
   function fitted to its tetrahedra by least squares, weighted by volume.
2. Another node takes the mean of what the fits of its neighbours of kind 1 give at its place: a fit to
   the tetrahedra on one side alone would be worse than none.
3. A node without such a neighbour, in a layer one tetrahedron thick, takes the volume mean.
"""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from efield.fem.assemble import tets_of_nodes
from efield.io.sampling import corner_weights, locate, spread
from efield.kernels import recover as kernel
from efield.kernels._jit import run_chunks
from efield.kernels.topology import barycentres, signed_volumes
from efield.model.arrays import FieldsOnlyPickle, read_only
from efield.model.conductivity import tag_of

RECOVERY_RULE = "superconvergent patch recovery within each tissue (Zienkiewicz and Zhu 1992)"
"""What a recovered value is, for files that hold some."""


@dataclass(frozen=True, eq=False)
class RecoveredField(FieldsOnlyPickle):
    """Electric field with one value per node and tissue, linear in each tetrahedron.

    Attributes
    ----------
    head : HeadModel
    nodes : (n,) int array
        Node of the mesh that each value belongs to; a node of several tissues occurs once for each.
    tags : (n,) int array
        Tissue of each value.
    E : (n, 3) array, V/m
    corners : (n_tets, 4) int array
        The values at the four corners of each tetrahedron, as rows of `E`.
    """

    head: object = field(repr=False)
    nodes: np.ndarray = field(repr=False)
    tags: np.ndarray = field(repr=False)
    E: np.ndarray = field(repr=False)
    corners: np.ndarray = field(repr=False)

    rule = RECOVERY_RULE

    @cached_property
    def magnitude(self):
        """(n,) |E|, V/m."""
        return read_only(np.linalg.norm(self.E, axis=1))

    @cached_property
    def element_means(self):
        """(n_tets, 3) mean of E over each tetrahedron, V/m."""
        return read_only(self.E[self.corners].mean(axis=1))

    def tissue(self, tissue):
        """Nodes (k,) of a tissue, by name or tag, and E (k, 3) there."""
        rows = np.flatnonzero(self.tags == tag_of(tissue))
        return self.nodes[rows], self.E[rows]

    def at(self, points_mm, *, tissue=None, outside="raise"):
        """E at points (n, 3) in V/m: interpolated in the tetrahedron that holds each, in its tissue.

        Parameters and errors as of :meth:`efield.Field.at`. A point beside `tissue` has the value at the
        place of the nearest tetrahedron that its barycentric coordinates, cut at 0, give.
        """
        points = np.asarray(points_mm, dtype=np.float64)
        tets, held = locate(self.head, points, tissue=tissue, outside=outside)
        return spread(self.within(tets, points[held]), held)

    def within(self, tets, points_mm):
        """E (n, 3) in some tetrahedra (n,) at points (n, 3) in them, V/m."""
        weights = corner_weights(self.head.nodes_mm, self.head.tets[tets], points_mm)
        return np.einsum("nk,nkc->nc", weights, self.E[self.corners[tets]])


def recover(head, values, node_values=None):
    """Recover a field at the nodes of each tissue.

    Parameters
    ----------
    head : HeadModel
    values : (n_tets, 3) array, V/m
        At the barycentres of ``head.mesh.ordered``, in its order.
    node_values : (n_nodes, 3) array, V/m, optional
        A part of the field that is known at the nodes of ``head.mesh.ordered``, to add to the recovered one.

    Returns
    -------
    RecoveredField
    """
    mesh = head.mesh.ordered
    node, tag, corners = _values_of_tissues(mesh.tets, head.tags[mesh.tet_order], len(mesh.nodes))
    pointers, patch = tets_of_nodes(corners, len(node))
    inner = _inner(head.mesh, node)
    points, n_tets = mesh.nodes[node], len(mesh.tets)
    centres, volumes = np.empty((n_tets, 3)), np.empty(n_tets)
    run_chunks(barycentres, n_tets, mesh.nodes, mesh.tets, centres)
    run_chunks(signed_volumes, n_tets, mesh.nodes, mesh.tets, volumes)
    poly, recovered = np.empty((len(node), 4, 3)), np.empty((len(node), 3))
    fits = (pointers, patch, inner, poly)
    values = np.ascontiguousarray(values, dtype=np.float64)
    run_chunks(kernel.fit_patches, len(node), points, centres, np.abs(volumes), values, *fits)
    run_chunks(kernel.extend_fits, len(node), points, corners, *fits, recovered)
    if node_values is not None:
        recovered += node_values[node]
    original = np.empty_like(corners)
    original[mesh.tet_order] = corners
    return RecoveredField(head, *map(read_only, (mesh.node_order[node], tag, recovered, original)))


def _values_of_tissues(tets, tags, n_nodes):
    """One value per node and tissue that meet: its node, its tag, and the four of each tetrahedron."""
    present, tissue = np.unique(tags, return_inverse=True)
    key = tets.astype(np.int64) * len(present) + tissue[:, None]
    meet = np.zeros(n_nodes * len(present), bool)
    meet[key] = True
    corners = (np.cumsum(meet, dtype=np.int32) - 1)[key]
    node, which = np.divmod(np.flatnonzero(meet), len(present))
    return node, present[which], corners


def _inner(mesh, node):
    """Whether each value's node has tetrahedra of one tissue only, and all around it."""
    ordered = mesh.ordered
    outer = np.zeros(len(mesh.nodes_mm), bool)
    outer[mesh.boundary_faces] = True
    alone = np.bincount(node, minlength=len(ordered.nodes)) == 1
    return (alone & ~outer[ordered.node_order])[node]
