"""What slivers do to the peaks of |E|: planted around a target, they move its maximum, not its percentiles.

Two tetrahedra with a common face become three around a new edge between their far corners, where that edge
passes close by an edge of the face: one of the three is flat then. No node moves and none is added; the mesh
conforms, and volumes and tissues stay.
"""

import numpy as np

from efield.forward import solve_potentials
from efield.metrics import PEAK_PERCENTILE, weighted_percentile
from efield.model.coils import load_coil
from efield.model.head import HeadModel
from efield.model.mesh import TetMesh
from efield.solve.prepared import prepare
from efield.tissues import TISSUE_TAGS

DIDT = 1e6
NEAR_MM = 20.0
FLATTEST, FLAT = 1e-4, 1e-2
"""Bounds on a sliver's volume, as a share of the two tetrahedra that it comes from."""

FACES = np.array([[1, 2, 3], [0, 3, 2], [0, 1, 3], [0, 2, 1]])
"""Opposite each corner, seen anticlockwise from outside a positive tetrahedron."""

PERCENT = np.array([50.0, 95.0, 99.0, 99.9])


def planted(mesh, among, bounds=(FLATTEST, FLAT)):
    """A mesh with slivers where faces between some tetrahedra allow one.

    Parameters
    ----------
    mesh : TetMesh
        Positive tetrahedra.
    among : (n_tets,) bool array
        Those that may be cut.
    bounds : (float, float)
        Of the slivers' volumes, as shares of the two tetrahedra around the face.

    Returns
    -------
    TetMesh
        Two of each three in the places of the old two, the slivers last.
    parent : (n_tets,) int array
        One of the tetrahedra that each came from.
    """
    first, second, face, apex, beyond = _inner_faces(mesh, np.flatnonzero(among))
    rings = [np.column_stack([face[:, i], face[:, j], apex, beyond]) for i, j in ((0, 1), (1, 2), (2, 0))]
    volumes = np.stack([_volumes(mesh.nodes_mm, ring) for ring in rings], axis=1)
    share = volumes.min(axis=1) / volumes.sum(axis=1)
    used, taken = np.zeros(len(mesh.tets), bool), []
    for k in np.flatnonzero((share > bounds[0]) & (share < bounds[1])):
        if not (used[first[k]] or used[second[k]] or mesh.tags[first[k]] != mesh.tags[second[k]]):
            used[[first[k], second[k]]] = True
            taken.append(k)
    order = np.argsort(-volumes[taken], axis=1)
    three = np.stack(rings, axis=1)[taken][np.arange(len(taken))[:, None], order]
    tets = np.array(mesh.tets)
    tets[first[taken]], tets[second[taken]] = three[:, 0], three[:, 1]
    parent = np.concatenate([np.arange(len(tets)), first[taken]])
    return TetMesh(mesh.nodes_mm, np.concatenate([tets, three[:, 2]]), mesh.tags[parent]), parent


def _inner_faces(mesh, some):
    """Faces between two of some tetrahedra: both of these, the face seen from the second, the far corners."""
    faces = mesh.tets[some][:, FACES].reshape(-1, 3)
    order = np.lexsort(np.sort(faces, axis=1).T)
    ordered = np.sort(faces[order], axis=1)
    pairs = np.flatnonzero(np.all(ordered[1:] == ordered[:-1], axis=1))
    one, other = order[pairs], order[pairs + 1]
    apexes = mesh.tets[some].reshape(-1)
    return some[one // 4], some[other // 4], faces[one], apexes[one], apexes[other]


def _volumes(nodes, tets):
    """Signed volumes (n,)."""
    corners = nodes[tets]
    return np.linalg.det(corners[:, 1:] - corners[:, :1]) / 6


def moved_peaks(head, center_mm, placements, order):
    """Rows, one a statistic of |E| in grey matter near a point: its largest change by slivers.

    ``own`` is the part of it that comes from counting the slivers' own |E|; the rest is what they do to the
    field around them.

    Parameters
    ----------
    head : HeadModel
    center_mm : (3,) array
    placements : sequence of Placement
        Up to 4.
    order : {1, 2}
    """
    mesh = head.mesh
    near = np.linalg.norm(mesh.barycentres_mm - center_mm, axis=1) < NEAR_MM
    grey = head.tags == TISSUE_TAGS["grey_matter"]
    near &= grey
    cut, parent = planted(mesh, near)
    before = _peaks(_magnitudes(head, placements, order), mesh, near, grey)
    magnitudes = _magnitudes(HeadModel(cut, head.conductivity[parent], name="planted"), placements, order)
    after = _peaks(magnitudes, cut, near[parent], grey[parent])
    others = np.arange(len(parent)) < len(mesh.tets)
    without = _peaks(magnitudes, cut, near[parent] & others, grey[parent] & others)
    change, own = (np.abs(after / one - 1).max(axis=0) for one in (before, without))
    names = [*(f"p{percent:g}" for percent in PERCENT), "maximum", "p99.9 of all grey matter"]
    return [
        {
            "order": order,
            "statistic": name,
            "slivers": len(parent) - len(mesh.tets),
            "of": int(near.sum()),
            "change": float(change[i]),
            "own": float(own[i]),
        }
        for i, name in enumerate(names)
    ]


def _magnitudes(head, placements, order):
    """(n_placements, n_tets) of |E|, V/m."""
    solved = solve_potentials(prepare(head, element_order=order), load_coil("figure8-70mm"), placements, DIDT)
    everything = np.arange(len(head.tets))
    return np.stack([np.linalg.norm(solved.on_elements(k, everything), axis=1) for k in solved.columns])


def _peaks(magnitudes, mesh, near, grey):
    """(n_placements, n_statistics) of |E|, V/m: over `near`; of `grey` the peak that results state."""
    volumes, rows = mesh.volumes_mm3, []
    for magnitude in magnitudes:
        here = magnitude[near]
        peak = weighted_percentile(magnitude[grey], volumes[grey], PEAK_PERCENTILE)
        rows.append([*weighted_percentile(here, volumes[near], PERCENT), here.max(), peak])
    return np.array(rows)
