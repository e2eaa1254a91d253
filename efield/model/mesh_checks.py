"""The single checks on a head mesh; :mod:`efield.model.check` puts them together."""

from dataclasses import dataclass

import numpy as np

from efield.model.heads import FLAT_BELOW_MM3, METRES_BELOW_MM
from efield.tissues import TISSUE_NAMES, TISSUE_TAGS

SEVERITIES = ("error", "warning", "info")
"""error: the head cannot be used as it is; warning: results may suffer; info: worth knowing."""

SLIVER_QUALITY = 1e-3
"""Radius ratio 3 r_in / R under which a tetrahedron is a sliver.

1 is a regular tetrahedron. Head meshers reach 0.02 to 0.1 in their worst element; at 1e-3 basis
gradients are about a thousand times what the edge length suggests.
"""

HUGE_MM = 1000.0
"""Diagonal of the bounding box above which a mesh is no head in millimetres."""

MINOR_SHARE = 0.01
"""Share of a tissue's volume in minor pieces above which they are a warning."""

CUT_SHARE = 0.02
"""Share of the outer surface that may be another tissue than scalp, as where the neck is cut."""


COARSE_MM = 3.0
"""Mean edge of the grey matter above which values of a target are off by percents, see docs/validation.md."""

BONE = {TISSUE_TAGS[name] for name in ("bone", "compact_bone", "spongy_bone")}

NATURAL_PIECES = {TISSUE_TAGS["eyes"]: 2}
"""Pieces a tissue is in when all is well, where that is not one."""


@dataclass(frozen=True)
class Finding:
    """One thing found in a mesh.

    Attributes
    ----------
    code : str
        Stable name of the kind of finding.
    severity : {"error", "warning", "info"}
    message : str
        What, how much and where.
    """

    code: str
    severity: str
    message: str


def tissue_name(tag):
    """A tag with its tissue, for people."""
    return f"tag {int(tag)} ({TISSUE_NAMES.get(int(tag), 'unknown tissue')})"


def check_unit(view):
    """Coordinates that cannot be millimetres."""
    diagonal = float(np.linalg.norm(np.ptp(view.mesh.nodes_mm[view.mesh.used_nodes], axis=0)))
    if diagonal < METRES_BELOW_MM:
        view.note(
            "unit",
            "error",
            f'{diagonal:.3g} mm across: the coordinates look like metres; pass unit="m" (--unit m)',
        )
    elif diagonal > HUGE_MM:
        view.note("unit", "warning", f"{diagonal:.4g} mm across: this is no head in millimetres")


def check_shape(view):
    """Inverted, flat and sliver tetrahedra."""
    signed, volumes = view.mesh.signed_volumes_mm3, view.mesh.volumes_mm3
    flat = volumes <= FLAT_BELOW_MM3
    if flat.any():
        first = int(np.argmax(flat))
        view.note(
            "flat",
            "error",
            f"{np.sum(flat)} tetrahedra have no volume, the first has nodes {view.mesh.tets[first].tolist()}",
        )
    sliver = (view.mesh.shapes[0] < SLIVER_QUALITY) & ~flat
    if sliver.any():
        x, y, z = np.round(view.mesh.barycentres_mm[np.argmax(sliver)], 1).tolist()
        view.note(
            "sliver",
            "warning",
            f"{np.sum(sliver)} tetrahedra have a radius ratio below {SLIVER_QUALITY:g}, the first at "
            f"({x}, {y}, {z}) mm; the field there is unreliable",
        )
    inverted = int(np.sum((signed < 0) & ~flat))
    if inverted == np.sum(~flat) and inverted:
        view.note("inverted", "info", "all tetrahedra are left-handed; efield accepts either orientation")
    elif inverted:
        first = int(np.argmax((signed < 0) & ~flat))
        view.note(
            "inverted",
            "warning",
            f"{inverted} tetrahedra are inverted, the first has nodes {view.mesh.tets[first].tolist()}; "
            "efield accepts them, but neighbours may overlap there",
        )


def check_nodes(view):
    """Nodes without tetrahedra, and nodes at the same place."""
    nodes, tets = view.record.nodes, view.record.tets
    used = np.zeros(len(nodes), bool)
    used[tets[((tets >= 0) & (tets < len(nodes))).all(axis=1)]] = True
    if not used.all():
        view.note(
            "unused-nodes",
            "warning",
            f"{np.sum(~used)} nodes belong to no tetrahedron, the first is {np.argmin(used)}; "
            "they are ignored",
        )
    points = view.mesh.nodes_mm[view.mesh.used_nodes]
    ordered = points[np.lexsort(points.T)]
    double = np.flatnonzero((ordered[1:] == ordered[:-1]).all(axis=1))
    if len(double):
        view.note(
            "double-nodes",
            "warning",
            f"{len(double)} nodes lie exactly on another, the first at {ordered[double[0]].tolist()} mm; no "
            "current crosses such a seam: merge them",
        )


def check_faces(view):
    """Faces that more than two tetrahedra share."""
    broken = (view.mesh.face_neighbours == -2).any(axis=1)
    if broken.any():
        view.note(
            "overlap",
            "error",
            f"{np.sum(broken)} tetrahedra share a face with more than one other, the first has nodes "
            f"{view.mesh.tets[np.argmax(broken)].tolist()}; the mesh overlaps itself",
        )


def check_tags(view):
    """Tags without conductivity or without a name, and the tissue targets lie in."""
    for tag, value in view.sigma.items():
        count = int(np.sum(view.mesh.tags == tag))
        if value is None:
            view.note(
                "no-conductivity",
                "error",
                f"{count} tetrahedra have {tissue_name(tag)}, which has no default conductivity; "
                f"pass conductivity={{{tag}: value in S/m}}",
            )
        elif tag not in TISSUE_NAMES:
            view.note(
                "unknown-tag", "info", f"{count} tetrahedra have {tissue_name(tag)}; conductivity {value}"
            )
    grey = TISSUE_TAGS["grey_matter"]
    if not np.any(view.mesh.tags == grey):
        present = ", ".join(tissue_name(tag) for tag in np.unique(view.mesh.tags))
        view.note(
            "no-grey-matter",
            "warning",
            f"no tetrahedron has {tissue_name(grey)}, where targets lie by default (found: {present}); "
            "choose the target's tissue, or correct the tags",
        )
    elif BONE.isdisjoint(view.sigma) and TISSUE_NAMES.keys() >= view.sigma.keys():
        view.note(
            "no-bone",
            "warning",
            "no tetrahedron is bone (tags 4, 7, 8): where skull and scalp are one tissue its conductivity "
            "is a guess; correct the tags, or state it (--conductivity scalp=...)",
        )


def check_coarse(view):
    """Elements of the cortex too large for numbers."""
    grey = view.mesh.tags == TISSUE_TAGS["grey_matter"]
    edge = view.mesh.shapes[1][grey].mean() if grey.any() else 0.0
    if edge > COARSE_MM:
        view.note(
            "coarse",
            "warning",
            f"edges in the grey matter are {edge:.1f} mm long on average, above {COARSE_MM:g} mm: see "
            "`discretization` in results, or use a finer mesh",
        )


def check_pieces(view):
    """Tissues, and the whole mesh, in several pieces that share no face."""
    mesh = view.mesh
    whole = _pieces(mesh, np.zeros_like(mesh.tags))
    if len(whole) > 1:
        view.note(
            "separate-parts",
            "warning",
            f"the mesh is in {len(whole)} parts that share no face; all but the largest hold "
            f"{(whole.sum() - whole[0]) / 1000:.3g} mL. Hardly any current flows between them",
        )
    for tag, volumes in _pieces_by_tag(mesh).items():
        natural = NATURAL_PIECES.get(tag, 1)
        if len(volumes) > natural:
            minor = volumes[natural:].sum()
            share = minor / volumes.sum() if volumes.sum() else 0.0
            view.note(
                "disconnected",
                "warning" if share > MINOR_SHARE else "info",
                f"{tissue_name(tag)} is in {len(volumes)} pieces that share no face; all but the "
                f"{'largest' if natural == 1 else f'{natural} largest'} hold {minor / 1000:.3g} mL "
                f"({100 * share:.2g} %)",
            )


def _pieces(mesh, tags):
    """Volumes (mm^3) of the pieces of equal tag, largest first."""
    return np.sort(np.bincount(_piece_numbers(mesh, tags), weights=mesh.volumes_mm3))[::-1]


def _pieces_by_tag(mesh):
    number = _piece_numbers(mesh, mesh.tags)
    volumes = np.bincount(number, weights=mesh.volumes_mm3)
    tag_of_piece = np.zeros(len(volumes), mesh.tags.dtype)
    tag_of_piece[number] = mesh.tags
    return {int(tag): np.sort(volumes[tag_of_piece == tag])[::-1] for tag in np.unique(tag_of_piece)}


def _piece_numbers(mesh, tags):
    from efield.kernels.topology import flood

    number = np.full(len(tags), -1, np.int32)
    flood(mesh.face_neighbours, tags, number)
    return number


def check_scalp(view):
    """An outer surface that is open, or is not scalp."""
    triangles = view.scalp_triangles
    if triangles is None and view.scalp is not None:
        triangles = view.scalp.triangles
    if triangles is not None and view.scalp is not None:
        edges = np.sort(triangles[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
        _, count = np.unique(edges, axis=0, return_counts=True)
        if np.any(count != 2):
            view.note(
                "open-scalp",
                "warning",
                f"the scalp surface is not closed: {np.sum(count != 2)} of its {len(count)} edges do not "
                "belong to exactly two triangles; where they name nearly all of it, the closed outer "
                "boundary of the tetrahedra is used instead",
            )
    mesh = view.mesh
    tet, opposite = np.nonzero(mesh.face_neighbours == -1)
    others = np.array([[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]])
    a, b, c = np.moveaxis(mesh.nodes_mm[mesh.tets[tet[:, None], others[opposite]]], 1, 0)
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    foreign = mesh.tags[tet] != TISSUE_TAGS["scalp"]
    share = area[foreign].sum() / area.sum() if len(area) else 0.0
    if share > CUT_SHARE:
        tags = ", ".join(tissue_name(tag) for tag in np.unique(mesh.tags[tet][foreign]))
        view.note(
            "cut-open",
            "warning",
            f"{100 * share:.3g} % of the outer surface is not scalp but {tags}: the head is cut open "
            "or lacks scalp, and fields near there are wrong",
        )


CHECKS = (
    check_unit,
    check_shape,
    check_nodes,
    check_faces,
    check_tags,
    check_coarse,
    check_pieces,
    check_scalp,
)
"""Each takes the view of :mod:`efield.model.check` and notes what it finds."""
