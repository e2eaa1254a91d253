"""Surfaces to look at: the cortex with |E| on it, and coarser copies that a browser can hold."""

from dataclasses import dataclass

import numpy as np
from matplotlib.tri import Triangulation

from efield.frames import tangent_axes
from efield.model.mesh import outward_faces
from efield.model.surface import TriSurface
from efield.tissues import TISSUE_TAGS

SHELL_TAGS = {TISSUE_TAGS["white_matter"], TISSUE_TAGS["grey_matter"]}
"""Tissues inside the cortical surface."""

FOCUS_RADIUS_MM, BEYOND_FOCUS = 50.0, 2.0
"""How far about the target a surface stays finer, and by what factor."""


@dataclass(frozen=True, eq=False)
class Shell:
    """A surface with a value at each vertex.

    Attributes
    ----------
    vertices_mm : (n, 3) array
    triangles : (m, 3) int array
    values : (n,) array or None
    """

    vertices_mm: np.ndarray
    triangles: np.ndarray
    values: np.ndarray | None = None


def cortex(head, magnitude):
    """Outer surface of grey matter with |E| in the grey-matter elements that touch it.

    Parameters
    ----------
    head : HeadModel
    magnitude : (n_tets,) array, V/m

    Returns
    -------
    Shell or None
        At a vertex the mean of its faces' elements, weighted by face area; None without grey matter.
    """
    grey = np.flatnonzero(head.tags == TISSUE_TAGS["grey_matter"])
    neighbours = head.mesh.face_neighbours[grey]
    inner = np.isin(head.tags[neighbours], list(SHELL_TAGS)) & (neighbours >= 0)
    where, opposite = np.nonzero(~inner)
    if len(where) == 0:
        return None
    tets = grey[where]
    surface = TriSurface.of_faces(head.nodes_mm, outward_faces(head.mesh, tets, opposite))
    values = _at_vertices(surface, magnitude[tets])
    return Shell(surface.vertices_mm, surface.triangles, values)


def _at_vertices(surface, face_values):
    """Area-weighted mean of the faces at each vertex."""
    corners = surface.triangles.ravel()
    weights = np.repeat(surface.areas_mm2, 3)
    n = len(surface.vertices_mm)
    total = np.bincount(corners, weights=weights * np.repeat(face_values, 3), minlength=n)
    return total / np.maximum(np.bincount(corners, weights=weights, minlength=n), 1e-300)


def coarser(shell, most_triangles, *, focus_mm=None):
    """A copy with no more triangles than asked for.

    Vertices in one cell of a cubic grid become their mean, as do their values; the cell grows
    until few enough triangles keep three different vertices (Rossignac and Borrel 1993).

    Parameters
    ----------
    shell : Shell
    most_triangles : int
    focus_mm : (3,) array, optional
        Cells farther than `FOCUS_RADIUS_MM` from it are `BEYOND_FOCUS` times as long.
    """
    size = np.ones(len(shell.vertices_mm))
    if focus_mm is not None:
        size[np.linalg.norm(shell.vertices_mm - focus_mm, axis=1) > FOCUS_RADIUS_MM] = BEYOND_FOCUS
    edge = np.sqrt(_area(shell) / max(most_triangles, 1)) / size.max()
    while len(shell.triangles) > most_triangles:
        smaller = _clustered(shell, edge * size)
        if len(smaller.triangles) <= most_triangles:
            return smaller
        edge *= 1.08
    return shell


def _area(shell):
    a, b, c = np.moveaxis(shell.vertices_mm[shell.triangles], 1, 0)
    return 0.5 * np.linalg.norm(np.cross(b - a, c - a), axis=1).sum()


def _clustered(shell, edges):
    """Merge the vertices that lie in one cell of the grid whose edge is theirs."""
    cells = np.floor((shell.vertices_mm - shell.vertices_mm.min(axis=0)) / edges[:, None]).astype(np.int64)
    grid = np.unique(edges, return_inverse=True)[1]
    keys = np.ravel_multi_index((grid, *cells.T), (grid.max() + 1, *(cells.max(axis=0) + 1)))
    label = np.unique(keys, return_inverse=True)[1].ravel()
    count = np.bincount(label)

    def mean(x):
        return np.bincount(label, weights=x) / count

    triangles = label[shell.triangles]
    a, b, c = triangles.T
    triangles = triangles[(a != b) & (b != c) & (c != a)]
    first = np.unique(np.sort(triangles, axis=1), axis=0, return_index=True)[1]
    used, triangles = np.unique(triangles[np.sort(first)], return_inverse=True)
    vertices = np.stack([mean(x) for x in shell.vertices_mm.T], axis=1)[used]
    values = None if shell.values is None else mean(shell.values)[used]
    return Shell(vertices, triangles.reshape(-1, 3), values)


def value_map(candidates, lift_mm=0.7):
    """The best value at each position of a search as a patch just above the scalp.

    Parameters
    ----------
    candidates : Candidates
    lift_mm : float
        Above the scalp, so that the two surfaces do not flicker.

    Returns
    -------
    Shell or None
        None where there are too few positions for a surface.
    """
    values = candidates.best_over_yaw()
    known = np.isfinite(values)
    points, normals = candidates.scalp_mm[known], candidates.normals[known]
    values = values[known]
    # One point may stand there at several distances: the best of them is shown.
    order = np.lexsort([-values, *points.T])
    firsts = np.unique(points[order], axis=0, return_index=True)[1]
    keep = order[firsts]
    points, normals, values = points[keep], normals[keep], values[keep]
    if len(points) < 3:
        return None
    outward = normals.mean(axis=0) / np.linalg.norm(normals.mean(axis=0))
    flat = (points - points.mean(axis=0)) @ np.stack(tangent_axes(-outward), axis=1)
    if np.linalg.matrix_rank(flat, tol=1e-3) < 2:
        return None
    triangles = Triangulation(*flat.T).triangles
    corners = points[triangles]
    longest = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2).max(axis=1)
    triangles = triangles[longest <= 4 * np.median(longest)]
    return Shell(points + lift_mm * normals, triangles, values)
