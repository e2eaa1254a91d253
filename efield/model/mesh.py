"""The tetrahedral mesh of a head: geometry only."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from efield.errors import MeshError
from efield.model.arrays import FieldsOnlyPickle, read_only
from efield.model.order import OrderedMesh
from efield.units import to_m


@dataclass(frozen=True, eq=False)
class TetMesh(FieldsOnlyPickle):
    """First-order tetrahedral mesh with one tissue tag per tetrahedron.

    Parameters
    ----------
    nodes_mm : (n_nodes, 3) array
        Node positions, RAS, millimetres.
    tets : (n_tets, 4) int array
        Zero-based node indices; either orientation is accepted.
    tags : (n_tets,) int array
        Tissue tag of each tetrahedron.

    Raises
    ------
    MeshError
        Wrong shapes, indices out of range, coordinates that are not finite.
    """

    nodes_mm: np.ndarray
    tets: np.ndarray
    tags: np.ndarray

    def __post_init__(self):
        nodes = read_only(self.nodes_mm, np.float64)
        tets = read_only(self.tets, np.int32)
        tags = read_only(self.tags, np.int32)
        if nodes.ndim != 2 or nodes.shape[1] != 3:
            raise MeshError(f"nodes_mm must have shape (n_nodes, 3), not {nodes.shape}")
        if tets.ndim != 2 or tets.shape[1] != 4:
            raise MeshError(f"tets must have shape (n_tets, 4), not {tets.shape}")
        if len(tets) == 0:
            raise MeshError("the mesh has no tetrahedra; a volume mesh is needed")
        if tags.shape != (len(tets),):
            raise MeshError(f"tags must have shape ({len(tets)},), not {tags.shape}")
        finite = np.isfinite(nodes).all(axis=1)
        if not finite.all():
            bad = int(np.argmin(finite))
            raise MeshError(
                f"{np.count_nonzero(~finite)} node(s) have coordinates that are not finite, "
                f"the first is node {bad}: {nodes[bad]}; repair the mesh file"
            )
        low, high = int(tets.min()), int(tets.max())
        if low < 0 or high >= len(nodes):
            raise MeshError(
                f"tetrahedra refer to nodes {low}..{high}, but the mesh has nodes 0..{len(nodes) - 1}"
            )
        for name, value in (("nodes_mm", nodes), ("tets", tets), ("tags", tags)):
            object.__setattr__(self, name, value)

    @cached_property
    def nodes(self):
        """(n_nodes, 3) node positions in metres."""
        return read_only(to_m(self.nodes_mm))

    @cached_property
    def used_nodes(self):
        """(n_nodes,) bool: nodes that belong to a tetrahedron."""
        used = np.zeros(len(self.nodes_mm), bool)
        used[self.tets] = True
        return read_only(used)

    @cached_property
    def ordered(self):
        """The mesh in an order that suits the caches, see :class:`OrderedMesh`."""
        return OrderedMesh.of(self)

    @cached_property
    def signed_volumes_mm3(self):
        """(n_tets,) volumes in mm^3, negative where a tetrahedron is inverted."""
        from efield.kernels.topology import signed_volumes

        return self._per_tet(signed_volumes, ())

    @cached_property
    def volumes_mm3(self):
        """(n_tets,) volumes in mm^3."""
        return read_only(np.abs(self.signed_volumes_mm3))

    @cached_property
    def barycentres_mm(self):
        """(n_tets, 3) barycentres in mm."""
        from efield.kernels.topology import barycentres

        return self._per_tet(barycentres, (3,))

    @cached_property
    def shapes(self):
        """Radius ratio 3 r_in / R (1 regular, 0 flat) and mean edge in mm, (n_tets,) each."""
        from efield.kernels._jit import run_chunks
        from efield.kernels.topology import shapes

        quality, edge = np.empty(len(self.tets)), np.empty(len(self.tets))
        run_chunks(shapes, len(self.tets), self.nodes_mm, self.tets, quality, edge)
        return read_only(quality), read_only(edge)

    @cached_property
    def face_neighbours(self):
        """(n_tets, 4) tetrahedron beyond the face opposite each vertex.

        -1 on the boundary, -2 where more than two tetrahedra share the face (a broken mesh).
        """
        return read_only(_face_neighbours(self.tets))

    @cached_property
    def boundary_faces(self):
        """(n_faces, 3) node indices of faces that belong to one tetrahedron, outward oriented.

        In the order of their tetrahedra.
        """
        tet, opposite = np.nonzero(self.face_neighbours == -1)
        return read_only(outward_faces(self, tet, opposite))

    def _per_tet(self, kernel, shape):
        """Values of a kernel, one row per tetrahedron."""
        from efield.kernels._jit import run_chunks

        out = np.empty((len(self.tets), *shape))
        run_chunks(kernel, len(out), self.nodes_mm, self.tets, out)
        return read_only(out)


# Opposite each node of a positively oriented tetrahedron, counter-clockwise seen from outside.
_OUTWARD_FACES = np.array([[1, 2, 3], [0, 3, 2], [0, 1, 3], [0, 2, 1]])


def outward_faces(mesh, tets, opposite):
    """Faces (n, 3) of some tetrahedra, counter-clockwise seen from outside the tetrahedron.

    Parameters
    ----------
    mesh : TetMesh
    tets, opposite : (n,) int arrays
        Tetrahedra, and for each the node (0 to 3) opposite the face.
    """
    faces = mesh.tets[tets[:, None], _OUTWARD_FACES[opposite]]
    inverted = mesh.signed_volumes_mm3[tets] < 0
    faces[inverted] = faces[inverted][:, ::-1]
    return faces


_FACES_PER_PART = 2**14  # the faces of a part and its table stay in the second-level cache
_CHUNKS = 64


def _face_neighbours(tets):
    """Match faces by hashing: split into parts by the top bits, then a small table for each part."""
    from efield.kernels import topology
    from efield.kernels._jit import run_chunks

    n_parts = 2 ** min(12, 1 + (4 * len(tets) // _FACES_PER_PART).bit_length())
    shift = np.uint64(64 - n_parts.bit_length() + 1)
    edges = len(tets) * np.arange(_CHUNKS + 1) // _CHUNKS
    count = np.zeros((_CHUNKS, n_parts), np.int64)
    run_chunks(topology.count_parts, _CHUNKS, edges, tets, shift, count, min_chunk=1)
    start = np.concatenate([[0], np.cumsum(count.sum(axis=0))])
    place = start[:-1] + np.cumsum(count, axis=0) - count
    faces = np.empty((4 * len(tets), 4), np.int32)
    run_chunks(topology.fill_parts, _CHUNKS, edges, tets, shift, place, faces, min_chunk=1)
    slots = 2 ** int(2 * np.diff(start).max()).bit_length()
    neighbours = np.full((len(tets), 4), -1, np.int32)
    run_chunks(topology.match_parts, n_parts, start, faces, slots, neighbours.reshape(-1), min_chunk=1)
    return neighbours
