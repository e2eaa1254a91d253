"""A tape measure laid over the scalp.

A tape that is held at two points and runs over a third lies in their plane, touches the head where it
is convex and spans its hollows: it is the convex hull of the plane's cut through the scalp, between
the two points and on the third one's side. Jurcak et al. 2007 (10.1016/j.neuroimage.2006.09.024)
lay their virtual tapes in such planes.

Shortest paths are another thing, see :mod:`efield.scalp.geodesic`: from the nasion to the inion
the shortest path runs round the side of the head, not over its top.
"""

import numpy as np
from scipy.spatial import ConvexHull

from efield.errors import LandmarkError
from efield.scalp.curve import Curve
from efield.units import point_words

COINCIDENT_MM = 1e-3
"""Points of a cut nearer than this to the tape's ends stand for them."""


def tape(surface, start_mm, end_mm, over_mm):
    """The tape held at two points and laid over a third.

    Parameters
    ----------
    surface : TriSurface
    start_mm, end_mm : (3,) arrays
        On the surface.
    over_mm : (3,) array
        Chooses the plane and the side of the line through start and end.

    Returns
    -------
    Curve
        From start to end.

    Raises
    ------
    LandmarkError
        The points lie on one line, or the plane meets no scalp on that side.
    """
    start, end, over = (np.asarray(p, dtype=np.float64) for p in (start_mm, end_mm, over_mm))
    along, up = _axes(start, end, over)
    flat = (_cut(surface, start, np.cross(along, up)) - start) @ np.stack([along, up], axis=1)
    span = float((end - start) @ along)
    apart = np.minimum(np.linalg.norm(flat, axis=1), np.linalg.norm(flat - [span, 0.0], axis=1))
    flat = flat[(flat[:, 1] > COINCIDENT_MM) & (apart > COINCIDENT_MM)]
    if len(flat) == 0:
        raise LandmarkError(
            f"no scalp between {point_words(start)} and {point_words(end)} mm on the side of "
            f"{point_words(over)}; check the landmarks"
        )
    held = _over_hull(np.concatenate([[[0.0, 0.0], [span, 0.0]], flat]))
    return Curve(start + held[:, :1] * along + held[:, 1:] * up)


def _axes(start, end, over):
    """Unit directions from start to end, and in the plane towards the third point."""
    chord, towards = end - start, over - start
    size = np.linalg.norm(chord)
    along = chord / max(size, 1e-300)
    up = towards - (towards @ along) * along
    height = np.linalg.norm(up)
    if size < COINCIDENT_MM or height < COINCIDENT_MM:
        raise LandmarkError(
            f"the points {point_words(start)}, {point_words(end)} and {point_words(over)} mm lie on one "
            "line: no plane to lay a tape in"
        )
    return along, up / height


def _cut(surface, point, normal):
    """(n, 3) points where the edges of a surface cross a plane."""
    height = (surface.vertices_mm - point) @ (normal / np.linalg.norm(normal))
    below = height < 0
    ends = surface.triangles[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2)
    a, b = ends[below[ends[:, 0]] != below[ends[:, 1]]].T
    share = (height[a] / (height[a] - height[b]))[:, None]
    return (1 - share) * surface.vertices_mm[a] + share * surface.vertices_mm[b]


def _over_hull(flat):
    """Hull of points (n, 2) from the first round to the second, away from the line between them."""
    ring = ConvexHull(flat).vertices
    ring = np.roll(ring, -int(np.flatnonzero(ring == 0)[0]))
    path = ring if ring[-1] == 1 else np.concatenate([ring[:1], ring[:0:-1]])
    return flat[path]
