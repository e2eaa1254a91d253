"""Shortest paths on the scalp: a tape pulled taut between two points, free to slide.

The paths are exact geodesics of the triangulated surface, by edge flips from a path along edges (Sharp and
Crane 2020, 10.1145/3414685.3417839; library potpourri3d): no small sideways shift makes them shorter.
"""

import numpy as np

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
        The surface is not a manifold, or no path joins the points.
    """
    import potpourri3d

    points, _, faces = surface.closest(np.stack([start_mm, end_mm]))
    if faces[0] == faces[1]:
        return Curve(points)
    points = _inwards(surface.corners_mm[faces], points)
    n = len(surface.vertices_mm)
    fans = [_fan(surface.triangles[face], n + k) for k, face in enumerate(faces)]
    triangles = np.concatenate([np.delete(surface.triangles, faces, axis=0), *fans])
    try:
        solver = potpourri3d.EdgeFlipGeodesicSolver(np.concatenate([surface.vertices_mm, points]), triangles)
        return Curve(np.asarray(solver.find_geodesic_path(n, n + 1)))
    except RuntimeError as error:
        raise LandmarkError(
            f"no shortest path over the scalp ({error}); look at its surface with `efield head check`"
        ) from error


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
