"""Shortest paths on the scalp: a tape pulled taut between two points, free to slide.

The paths are exact geodesics of the triangulated surface, by edge flips from a path along edges (Sharp and
Crane 2020, 10.1145/3414685.3417839; library potpourri3d): no small sideways shift makes them shorter.
"""

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from efield.errors import LandmarkError
from efield.scalp.curve import Curve

OFF_EDGE = 1e-3
"""Least barycentric coordinate of an end: one on an edge or a vertex is moved inwards, by micrometres."""


def geodesic(surface, start_mm, end_mm):
    """Shortest path between two points of a surface.

    Parameters
    ----------
    surface : TriSurface
    start_mm, end_mm : (3,) arrays
        Projected to the surface.

    Returns
    -------
    Curve
        From start to end.

    Raises
    ------
    LandmarkError
        No path joins the points.
    """
    import potpourri3d

    points, _, faces = surface.closest(np.stack([start_mm, end_mm]))
    if faces[0] == faces[1]:
        return Curve(points)
    points = _inwards(surface.corners_mm[faces], points)
    vertices, triangles = _manifold(surface)
    n = len(vertices)
    fans = [_fan(triangles[face], n + k) for k, face in enumerate(faces)]
    triangles = np.concatenate([np.delete(triangles, faces, axis=0), *fans])
    try:
        solver = potpourri3d.EdgeFlipGeodesicSolver(np.concatenate([vertices, points]), triangles)
        return Curve(np.asarray(solver.find_geodesic_path(n, n + 1)))
    except RuntimeError as error:
        raise LandmarkError(
            f"no shortest path over the scalp ({error}); look at its surface with `efield head check`"
        ) from error


def _manifold(surface):
    """Vertices and triangles of a surface, cut open where more than two triangles share an edge.

    The boundary of a tetrahedral mesh can touch itself along an edge or at a vertex. Corners of triangles
    are one vertex here only where triangles that have them meet at edges of two.
    """
    n = len(surface.triangles)
    ends = surface.triangles[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2)
    corners = np.arange(3 * n).reshape(n, 3)[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2)
    turned = ends[:, 0] > ends[:, 1]
    ends[turned], corners[turned] = ends[turned][:, ::-1], corners[turned][:, ::-1]
    _, edge, count = np.unique(ends, axis=0, return_inverse=True, return_counts=True)
    order = np.argsort(edge.ravel(), kind="stable")
    pairs = order[count[edge.ravel()[order]] == 2].reshape(-1, 2)
    joined = corners[pairs].transpose(0, 2, 1).reshape(-1, 2)
    graph = coo_array((np.ones(len(joined), bool), joined.T), shape=(3 * n, 3 * n))
    count, label = connected_components(graph, directed=False)
    vertices = np.empty((count, 3))
    vertices[label] = surface.vertices_mm[surface.triangles.ravel()]
    return vertices, label.reshape(n, 3).astype(surface.triangles.dtype)


def _inwards(corners, points):
    """Points (n, 3) of triangles (n, 3, 3), kept off their edges."""
    a, b, c = np.moveaxis(corners, 1, 0)
    normal = np.cross(b - a, c - a)
    size = np.sum(normal**2, axis=1)
    v = np.sum(np.cross(points - a, c - a) * normal, axis=1) / size
    w = np.sum(np.cross(b - a, points - a) * normal, axis=1) / size
    share = np.maximum(np.stack([1 - v - w, v, w], axis=1), OFF_EDGE)
    return np.einsum("nk,nkc->nc", share / share.sum(axis=1, keepdims=True), corners)


def _fan(triangle, centre):
    """The three triangles that a new vertex makes of one."""
    a, b, c = triangle
    return np.array([[a, b, centre], [b, c, centre], [c, a, centre]], dtype=triangle.dtype)
