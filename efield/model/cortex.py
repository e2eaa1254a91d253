"""The cortical surface as the boundary of grey matter and CSF, its normals, and the mid-layer."""

import numpy as np

from efield.errors import TargetError
from efield.model.mesh import outward_faces
from efield.model.surface import TriSurface
from efield.tissues import TISSUE_TAGS

REACH_MM = 15.0
"""Surface triangles farther from all elements than this are left out; the cortex is thinner."""

MID_LAYER = "mid-layer"
"""Name by which files ask for :func:`mid_layer`."""

THICKEST_MM = 6.0
"""Grey matter farther from white matter than twice the thickness of cortex is not cortex."""

SMOOTHING_ROUNDS = 2
"""Times that the normals of neighbouring vertices are averaged, a ring of triangles each."""


def cortical_normals(head, elements):
    """Outward normals of the cortex at some tetrahedra: from grey matter towards CSF.

    Each is the normal at the nearest point of the surface between grey matter and CSF, there
    interpolated between vertices. A vertex has the sum of its triangles' area normals, averaged
    `SMOOTHING_ROUNDS` times with those of its neighbours along the surface: the opposite bank of
    a sulcus is near in space but not along the surface, so it does not enter.

    Parameters
    ----------
    head : HeadModel
    elements : (n,) int array

    Returns
    -------
    (n, 3) array

    Raises
    ------
    TargetError
        No such surface within `REACH_MM` of an element.
    """
    centres = head.mesh.barycentres_mm[elements]
    surface = _cortex_near(head, centres)
    closest, distance, face = surface.closest(centres)
    if distance.max() > REACH_MM:
        raise _no_surface(distance.max())
    normals = _vertex_normals(surface)
    corners = surface.triangles[face]
    shares = _barycentric(closest, surface.corners_mm[face])
    blended = np.einsum("nk,nkc->nc", shares, normals[corners])
    return blended / np.linalg.norm(blended, axis=1, keepdims=True)


def _cortex_near(head, centres):
    low, high = centres.min(axis=0) - 2 * REACH_MM, centres.max(axis=0) + 2 * REACH_MM
    near = np.all((head.mesh.barycentres_mm >= low) & (head.mesh.barycentres_mm <= high), axis=1)
    surface = _grey_border(head, near, "csf")
    if surface is None:
        raise _no_surface(np.inf)
    return surface


def _grey_border(head, some, tissue):
    """Faces between grey matter, of the tetrahedra `some` (bool), and a tissue; None without any."""
    grey = np.flatnonzero(some & (head.tags == TISSUE_TAGS["grey_matter"]))
    neighbours = head.mesh.face_neighbours[grey]
    beyond = (neighbours >= 0) & (head.tags[neighbours] == TISSUE_TAGS[tissue])
    where, opposite = np.nonzero(beyond)
    if len(where) == 0:
        return None
    return TriSurface.of_faces(head.nodes_mm, outward_faces(head.mesh, grey[where], opposite))


def mid_layer(head):
    """The surface half-way through the cortex, from the mesh alone.

    Each vertex of the surface between grey matter and CSF moves half-way to the nearest point of that
    between grey and white matter. Triangles with a vertex more than `THICKEST_MM` from white matter are left
    out. Where CHARM left a central surface in the head's folder, that one is smoother:
    ``head.folder.surface("lh.central")``.

    Parameters
    ----------
    head : HeadModel

    Returns
    -------
    TriSurface

    Raises
    ------
    TargetError
        The head has no grey matter between CSF and white matter.
    """
    everywhere = np.ones(len(head.tags), bool)
    outer, inner = (_grey_border(head, everywhere, tissue) for tissue in ("csf", "white_matter"))
    if outer is None or inner is None:
        raise TargetError("the head has no grey matter between CSF and white matter, so it has no mid-layer")
    closest, distance, _ = inner.closest(outer.vertices_mm)
    cortex = (distance <= THICKEST_MM)[outer.triangles].all(axis=1)
    if not cortex.any():
        raise TargetError(f"no grey matter has CSF and white matter within {THICKEST_MM:g} mm of each other")
    return TriSurface.of_faces(0.5 * (outer.vertices_mm + closest), outer.triangles[cortex])


def named_surface(head, surface):
    """The mid-layer where `surface` names it, else `surface` as it is: a file."""
    return mid_layer(head) if surface == MID_LAYER else surface


def _vertex_normals(surface):
    """(n_vertices, 3) smoothed normals with areas as length."""
    normals = np.zeros_like(surface.vertices_mm)
    np.add.at(normals, surface.triangles, surface.area_normals_mm2[:, None])
    for _ in range(SMOOTHING_ROUNDS):
        sums = normals[surface.triangles].sum(axis=1)
        normals = np.zeros_like(normals)
        np.add.at(normals, surface.triangles, sums[:, None])
    return normals


def _barycentric(points, corners):
    """(n, 3) barycentric coordinates of points on triangles (n, 3, 3)."""
    a, b, c = np.moveaxis(corners, 1, 0)
    across = np.cross(b - a, c - a)
    area2 = np.einsum("nc,nc->n", across, across)
    second = np.einsum("nc,nc->n", np.cross(points - a, c - a), across) / area2
    third = np.einsum("nc,nc->n", np.cross(b - a, points - a), across) / area2
    return np.stack([1.0 - second - third, second, third], axis=1)


def _no_surface(distance):
    return TargetError(
        "objective 'normal' needs the boundary of grey matter (tag 2) and CSF (tag 3) within "
        f"{REACH_MM:g} mm of the whole target; the nearest lies {distance:.1f} mm away. "
        "Choose a target in the cortex, or another objective"
    )
