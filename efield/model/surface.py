"""Triangulated surfaces, above all the outer scalp."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from efield.errors import MeshError
from efield.kernels import geometry as kernel
from efield.kernels._jit import run_chunks
from efield.model.arrays import FieldsOnlyPickle, read_only

NORMAL_RADIUS_MM = 15.0
"""Radius of the patch whose area-weighted normals make up the smoothed normal."""

CELL_MM = 8.0
"""Edge of the cells that neighbour searches look through."""

ON_EDGE = 1e-9
"""Barycentric coordinate under which a point of a triangle lies on its edge."""


@dataclass(frozen=True, eq=False)
class TriSurface(FieldsOnlyPickle):
    """Triangulated surface, outward oriented, millimetres.

    Parameters
    ----------
    vertices_mm : (n_vertices, 3) array
    triangles : (n_triangles, 3) int array
        Counter-clockwise seen from outside.
    """

    vertices_mm: np.ndarray
    triangles: np.ndarray

    def __post_init__(self):
        object.__setattr__(self, "vertices_mm", read_only(self.vertices_mm, np.float64))
        object.__setattr__(self, "triangles", read_only(self.triangles, np.int32))

    @classmethod
    def of_faces(cls, nodes_mm, faces):
        """Surface of some faces of a mesh, with the unused nodes left out."""
        used, compact = np.unique(faces, return_inverse=True)
        return cls(nodes_mm[used], compact.reshape(-1, 3))

    @classmethod
    def joined(cls, surfaces):
        """Several surfaces as one; None of none."""
        if not surfaces:
            return None
        first = np.cumsum([0, *(len(s.vertices_mm) for s in surfaces)])
        triangles = [s.triangles + k for s, k in zip(surfaces, first[:-1], strict=True)]
        return cls(np.vstack([s.vertices_mm for s in surfaces]), np.vstack(triangles))

    @cached_property
    def corners_mm(self):
        """(n_triangles, 3, 3) corner positions."""
        return read_only(self.vertices_mm[self.triangles])

    @cached_property
    def area_normals_mm2(self):
        """(n_triangles, 3) outward normals with the triangles' areas as length."""
        a, b, c = np.moveaxis(self.corners_mm, 1, 0)
        return read_only(0.5 * np.cross(b - a, c - a))

    @cached_property
    def areas_mm2(self):
        """(n_triangles,) areas."""
        return read_only(np.linalg.norm(self.area_normals_mm2, axis=1))

    @cached_property
    def centroids_mm(self):
        """(n_triangles, 3) centroids."""
        return read_only(self.corners_mm.mean(axis=1))

    @cached_property
    def is_closed(self):
        """Whether each edge belongs to exactly two triangles."""
        edges = np.sort(self.triangles[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
        _, count = np.unique(edges, axis=0, return_counts=True)
        return bool(np.all(count == 2))

    @cached_property
    def _tree(self):
        return cKDTree(self.centroids_mm)

    @cached_property
    def _cells(self):
        """Centroids sorted into cubic cells: low corner, cell size, shape, row pointers, order.

        Triangles without area are left out: they have no normal, and lie on the edges of others.
        """
        low = self.centroids_mm.min(axis=0)
        index = np.floor((self.centroids_mm - low) / CELL_MM).astype(np.int64)
        shape = index.max(axis=0) + 1
        sound = np.flatnonzero(self.areas_mm2 > 0)
        starts, order = _sorted_cells(index[sound], shape)
        return low, CELL_MM, shape, starts, sound[order]

    @cached_property
    def _boxes(self):
        """Low and high corners (n_triangles, 3) of the triangles' boxes."""
        return self.corners_mm.min(axis=1), self.corners_mm.max(axis=1)

    @cached_property
    def _touched_cells(self):
        """Cubic cells and the triangles whose boxes touch each: as :attr:`_cells`, for rays."""
        return _cells_touched(*self._boxes)

    @cached_property
    def _columns(self):
        """Square columns along z and the triangles whose boxes touch each: as :attr:`_cells`."""
        flat = np.array([1.0, 1.0, 0.0])
        return _cells_touched(*(corner * flat for corner in self._boxes))

    @cached_property
    def _largest_radius_mm(self):
        return float(np.linalg.norm(self.corners_mm - self.centroids_mm[:, None], axis=2).max())

    def closest(self, points_mm):
        """Closest points on the surface.

        Parameters
        ----------
        points_mm : (n, 3) array

        Returns
        -------
        closest_mm : (n, 3) array
        distance_mm : (n,) array
            Unsigned.
        face : (n,) int array
            A triangle that holds the closest point.
        """
        points = np.ascontiguousarray(np.atleast_2d(points_mm), dtype=np.float64)
        reach = self._tree.query(points)[0] + self._largest_radius_mm
        closest, face = np.empty_like(points), np.empty(len(points), np.int64)
        run_chunks(
            kernel.closest_points,
            len(points),
            points,
            reach * (1 + 1e-9),
            self.corners_mm,
            *self._cells,
            closest,
            face,
            min_chunk=64,
        )
        return closest, np.linalg.norm(closest - points, axis=1), face

    def signed_distance(self, points_mm):
        """(n,) distance to the surface, negative inside."""
        return self.closest_signed(points_mm)[1]

    def closest_signed(self, points_mm):
        """As :meth:`closest`, with distances that are negative inside."""
        points = np.atleast_2d(points_mm)
        closest, distance, face = self.closest(points)
        side = np.einsum("ij,ij->i", points - closest, self._normals_at(closest, face))
        return closest, np.where(side < 0, -distance, distance), face

    def _normals_at(self, points, face):
        """Normals (n, 3) at points on triangles `face` that tell inside from outside.

        At an edge or a vertex that of a single triangle may not, where the surface is sharp;
        the angle-weighted mean does (Baerentzen and Aanaes 2005, 10.1109/TVCG.2005.49).
        """
        corners, normal = self.corners_mm[face], self._unit_normals[face]
        following = np.roll(corners, -1, axis=1) - points[:, None]
        across = np.cross(following, np.roll(corners, -2, axis=1) - points[:, None])
        share = np.einsum("nkc,nc->nk", across, normal) / (2 * self.areas_mm2[face, None])
        beside, row = share < ON_EDGE, np.arange(len(points))
        vertices, edges = self._sharp_normals
        at_edge = edges[face, np.argmin(share, axis=1)]
        at_vertex = vertices[self.triangles[face, np.argmax(share, axis=1)]]
        count = beside.sum(axis=1)
        return np.stack([normal, at_edge, at_vertex], axis=1)[row, np.minimum(count, 2)]

    @cached_property
    def _unit_normals(self):
        return self.area_normals_mm2 / np.maximum(self.areas_mm2, 1e-300)[:, None]

    @cached_property
    def _sharp_normals(self):
        """Mean normals at the vertices (n_vertices, 3) and at the edges (n_triangles, 3, 3).

        Edge k of a triangle lies opposite its corner k.
        """
        unit = self._unit_normals
        ahead = np.roll(self.corners_mm, -1, axis=1) - self.corners_mm
        back = np.roll(self.corners_mm, 1, axis=1) - self.corners_mm
        angle = np.arctan2(np.linalg.norm(np.cross(ahead, back), axis=2), np.sum(ahead * back, axis=2))
        vertices = np.zeros_like(self.vertices_mm)
        np.add.at(vertices, self.triangles, angle[:, :, None] * unit[:, None])
        ends = np.sort(self.triangles[:, [[1, 2], [2, 0], [0, 1]]], axis=2).reshape(-1, 2)
        label = np.unique(ends, axis=0, return_inverse=True)[1].reshape(-1, 3)
        edges = np.zeros((label.max() + 1, 3))
        np.add.at(edges, label, np.broadcast_to(unit[:, None], (*label.shape, 3)))
        return vertices, edges[label]

    def signed_bounds(self, points_mm):
        """Bounds (low, high) of the signed distances of points (n, 3), quick: from the nearest centroid.

        They lie at most the largest distance of a corner from its triangle's centroid apart.
        """
        reach = self._tree.query(points_mm)[0]
        least = np.maximum(reach - self._largest_radius_mm, 0.0)
        inside = self.contains(points_mm)
        return np.where(inside, -reach, least), np.where(inside, -least, reach)

    def sample(self, spacing_mm, centre_mm=(0.0, 0.0, 0.0), radius_mm=np.inf):
        """Points on the surface, at most `spacing_mm` apart, on a regular pattern per triangle.

        Those less than `radius_mm` from `centre_mm`.
        """
        reach = np.linalg.norm(self.centroids_mm - centre_mm, axis=1) - self._largest_radius_mm
        corners = self.corners_mm[reach < radius_mm]
        edges = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2)
        count = np.maximum(np.ceil(edges.max(axis=1) / spacing_mm).astype(int), 1)
        parts = [np.empty((0, 3))]
        for n in np.unique(count):
            i, j = np.meshgrid(np.arange(n), np.arange(n), indexing="ij")
            keep = i + j < n
            u, v = (i[keep] + 1 / 3) / n, (j[keep] + 1 / 3) / n
            shape = np.stack([1 - u - v, u, v], axis=1)
            parts.append(np.einsum("pk,fkc->fpc", shape, corners[count == n]).reshape(-1, 3))
        points = np.concatenate(parts)
        return points[np.linalg.norm(points - centre_mm, axis=1) < radius_mm]

    def ray_hits(self, origins_mm, directions):
        """First crossing of rays.

        Returns
        -------
        distance_mm : (n,) array
            Along the unit direction; inf where a ray misses.
        face : (n,) int array
            Triangle crossed; -1 where a ray misses.
        """
        origins = np.ascontiguousarray(np.atleast_2d(origins_mm), dtype=np.float64)
        directions = np.ascontiguousarray(
            np.broadcast_to(np.asarray(directions, dtype=np.float64), origins.shape)
        )
        distance, face = np.empty(len(origins)), np.empty(len(origins), np.int64)
        run_chunks(
            kernel.ray_hits,
            len(origins),
            origins,
            directions,
            self.corners_mm,
            *self._touched_cells,
            distance,
            face,
            min_chunk=64,
        )
        return distance, face

    def contains(self, points_mm):
        """(n,) bool: which points lie inside the (closed) surface."""
        points = np.ascontiguousarray(np.atleast_2d(points_mm), dtype=np.float64)
        inside = np.zeros(len(points), bool)
        low, high = self.vertices_mm.min(axis=0), self.vertices_mm.max(axis=0)
        near = np.flatnonzero(np.all((points >= low) & (points <= high), axis=1))
        if len(near) == 0:
            return inside
        result = np.zeros(len(near), bool)
        args = points[near], self.corners_mm, *self._columns
        run_chunks(kernel.crossings, len(near), *args, result, min_chunk=64)
        inside[near] = result
        return inside

    def smooth_normal(self, points_mm):
        """Outward area-smoothed unit normals at points on or near the surface.

        The mean of the triangles' area normals, weighted with the Wendland function
        ``(1 - s)^4 (4 s + 1)``, ``s = distance to the centroid / NORMAL_RADIUS_MM``.

        Parameters
        ----------
        points_mm : (n, 3) array

        Returns
        -------
        (n, 3) array
        """
        return self.smooth_normal_jacobian(points_mm)[0]

    def smooth_normal_jacobian(self, points_mm):
        """Smoothed normals (n, 3) and their derivative (n, 3, 3), ``dn_i / dp_j`` per mm.

        Raises
        ------
        MeshError
            No triangle lies within the smoothing radius of a point.
        """
        points = np.ascontiguousarray(np.atleast_2d(points_mm), dtype=np.float64)
        normals, jacobians = np.empty((len(points), 3)), np.empty((len(points), 3, 3))
        run_chunks(
            kernel.smooth_normals,
            len(points),
            points,
            self.centroids_mm,
            self.area_normals_mm2,
            NORMAL_RADIUS_MM,
            *self._cells,
            normals,
            jacobians,
            min_chunk=256,
        )
        lost = np.isnan(normals[:, 0])
        if lost.any():
            raise MeshError(
                f"no surface within {NORMAL_RADIUS_MM} mm of {np.round(points[np.argmax(lost)], 2).tolist()} "
                "mm: the point is not on the scalp"
            )
        return normals, jacobians


def _cells_touched(box_low, box_high):
    """Cells that boxes touch: low corner, cell size, shape, row pointers, boxes in order."""
    pad = 1e-6 * CELL_MM  # rounding must not lose a box that ends on a cell's wall
    reach = box_low - pad, box_high + pad
    low = reach[0].min(axis=0)
    first, last = (np.floor((x - low) / CELL_MM).astype(np.int64) for x in reach)
    shape = last.max(axis=0) + 1
    span = last - first + 1
    count = span.prod(axis=1)
    face = np.repeat(np.arange(len(count)), count)
    k = np.arange(len(face)) - np.repeat(np.cumsum(count) - count, count)
    ny, nz = span[face, 1], span[face, 2]
    cell = first[face] + np.stack([k // (ny * nz), k // nz % ny, k % nz], axis=1)
    starts, order = _sorted_cells(cell, shape)
    return low, CELL_MM, shape, starts, face[order]


def _sorted_cells(index, shape):
    """Items sorted by their cells (n, 3): row pointers of the cells, and the items' order."""
    flat = np.ravel_multi_index(tuple(index.T), tuple(shape))
    starts = np.zeros(int(np.prod(shape)) + 1, np.int64)
    np.cumsum(np.bincount(flat, minlength=len(starts) - 1), out=starts[1:])
    return starts, np.argsort(flat, kind="stable")


WHOLE_SCALP = 0.9
"""Share of the outermost closed surface that a file's scalp triangles must name to stand for it."""


def outer_scalp(mesh, scalp_triangles=None):
    """Outermost closed surface of a mesh: the largest connected part of its boundary.

    Where the file names scalp triangles and they cover only a part of that surface, as in a
    mesh cut out of a head, the scalp is that part.

    Raises
    ------
    MeshError
        None of the file's scalp triangles lies on the boundary of the tetrahedra.
    """
    faces = mesh.boundary_faces
    outermost = TriSurface.of_faces(mesh.nodes_mm, faces[_largest_part(mesh.nodes_mm, faces)])
    if scalp_triangles is None:
        return outermost
    named = faces[_among(faces, scalp_triangles)]
    if len(named) == 0:
        raise MeshError("no scalp triangle (tag 1005) of the file lies on the mesh's outer boundary")
    scalp = TriSurface.of_faces(mesh.nodes_mm, named[_largest_part(mesh.nodes_mm, named)])
    whole = scalp.areas_mm2.sum() >= WHOLE_SCALP * outermost.areas_mm2.sum()
    return outermost if whole else scalp


def _among(faces, triangles):
    """Mask of the faces that are among `triangles`, in any order of their nodes."""
    rows = np.concatenate([np.sort(faces, axis=1), np.sort(triangles, axis=1)]).astype(np.int32)
    label = np.unique(rows, axis=0, return_inverse=True)[1].ravel()
    return np.isin(label[: len(faces)], label[len(faces) :])


def _largest_part(nodes_mm, faces):
    """Mask of the faces in the connected part with the largest area."""
    pairs = faces[:, [0, 1, 1, 2]].reshape(-1, 2)
    n = len(nodes_mm)
    graph = coo_array((np.ones(len(pairs), bool), pairs.T), shape=(n, n))
    part = connected_components(graph, directed=False)[1][faces[:, 0]]
    a, b, c = (nodes_mm[faces[:, i]] for i in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    totals = np.bincount(part, weights=area)
    return part == np.argmax(totals)
