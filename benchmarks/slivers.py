"""What slivers do to the peaks of |E|: planted around a target, they move its maximum, not its percentiles.

A tetrahedron becomes four by a new node inside it that almost lies on one of its faces, or on one of its
edges: one child is flat then, or two are. Nothing else changes: the mesh conforms, no surface moves, and
volumes and tissues stay.
"""

import numpy as np

from efield.forward import solve_potentials
from efield.metrics import weighted_percentile
from efield.model.coils import load_coil
from efield.model.head import HeadModel
from efield.model.mesh import TetMesh
from efield.solve.prepared import prepare
from efield.tissues import TISSUE_TAGS

DIDT = 1e6
NEAR_MM = 20.0
SHARE = 0.01
"""Of the grey-matter tetrahedra near the target."""

FLATNESS = 1e-3
"""Height of the new node over the face or edge, as a share of the tetrahedron's own."""

PERCENT = np.array([50.0, 95.0, 99.0, 99.9])


def planted(mesh, tets, rng, flatness=FLATNESS):
    """A mesh with slivers in some of its tetrahedra, and the parent of each of its tetrahedra.

    Parameters
    ----------
    mesh : TetMesh
    tets : (n,) int array
        Tetrahedra to cut, each once; every second one towards an edge, the others towards a face.
    rng : numpy.random.Generator
        Chooses the faces and edges.
    flatness : float
        Volume of a flat child, as a share of its parent's.

    Returns
    -------
    TetMesh
        The old tetrahedra in their old places, each cut one replaced by one of its children; then the
        other children.
    parent : (n_tets,) int array
    """
    tets = np.asarray(tets)
    corners, n = mesh.tets[tets], len(mesh.nodes_mm)
    shares = np.full((len(tets), 4), (1 - flatness) / 3)  # above a face
    shares[:, 0] = flatness
    shares[::2] = 0.5 - flatness, 0.5 - flatness, flatness, flatness  # beside an edge
    shares = rng.permuted(shares, axis=1)
    nodes = np.concatenate([mesh.nodes_mm, np.einsum("na,nac->nc", shares, mesh.nodes_mm[corners])])
    children = np.repeat(corners[None], 4, axis=0)
    for corner in range(4):
        children[corner, :, corner] = n + np.arange(len(tets))
    cut = np.array(mesh.tets)
    cut[tets] = children[0]
    parent = np.concatenate([np.arange(len(mesh.tets)), np.tile(tets, 3)])
    return TetMesh(nodes, np.concatenate([cut, *children[1:]]), mesh.tags[parent]), parent


def moved_peaks(head, center_mm, placements, order):
    """Rows, one a statistic of |E| in grey matter near a point: its largest change by slivers.

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
    near &= head.tags == TISSUE_TAGS["grey_matter"]
    rng = np.random.default_rng(0)
    chosen = rng.choice(np.flatnonzero(near), round(SHARE * near.sum()), replace=False)
    cut, parent = planted(mesh, chosen, rng)
    before = _peaks(head, np.flatnonzero(near), placements, order)
    other = HeadModel(cut, head.conductivity[parent], name="planted")
    after = _peaks(other, np.flatnonzero(near[parent]), placements, order)
    change = np.abs(after / before - 1).max(axis=0)
    names = [*(f"p{percent:g}" for percent in PERCENT), "maximum"]
    return [
        {"order": order, "statistic": name, "slivers": len(chosen), "change": float(one)}
        for name, one in zip(names, change, strict=True)
    ]


def _peaks(head, elements, placements, order):
    """(n_placements, n_statistics) percentiles and maximum of |E| over some elements, V/m."""
    solved = solve_potentials(prepare(head, element_order=order), load_coil("figure8-70mm"), placements, DIDT)
    volumes, rows = head.mesh.volumes_mm3[elements], []
    for k in solved.columns:
        magnitude = np.linalg.norm(solved.on_elements(k, elements), axis=1)
        rows.append([*weighted_percentile(magnitude, volumes, PERCENT), magnitude.max()])
    return np.array(rows)
