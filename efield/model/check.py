"""What is in a head mesh, and what is wrong with it.

Works on meshes that :func:`efield.load_head` refuses: the broken part is reported and left out
of the rest.
"""

from dataclasses import dataclass

import numpy as np

from efield.errors import MeshError
from efield.io.records import MeshRecord
from efield.model.conductivity import resolve_conductivity, tag_of
from efield.model.head import HeadModel
from efield.model.heads import SCALP_TRIANGLES, HeadFile, read_head_file
from efield.model.mesh import TetMesh
from efield.model.mesh_checks import CHECKS, SEVERITIES, Finding
from efield.model.surface import outer_scalp
from efield.tissues import DEFAULT_CONDUCTIVITY, TISSUE_NAMES


@dataclass(frozen=True, eq=False)
class Inspection:
    """What :func:`inspect_file` found: the facts of :func:`describe_head`, and the findings."""

    description: dict
    findings: tuple


def inspect_file(source, *, unit="mm", conductivity=None, progress=None):
    """Describe and check a head by name or path, even one that cannot be loaded.

    Parameters
    ----------
    source, unit, conductivity
        As in :func:`efield.load_head`.
    progress : callable, optional
        Called with (stage, fraction); may raise to cancel.

    Returns
    -------
    Inspection

    Raises
    ------
    MeshError
        Unknown name, missing file, or conductivities that make no sense.
    FormatError
        A file that cannot be read at all.
    """
    report = progress or (lambda stage, fraction: None)
    report("read", 0.0)
    file = read_head_file(source, unit=unit)
    report("check", 0.0)
    view = _View.of(file, conductivity)
    return Inspection(_describe(view), tuple(_check(view)))


def check_head(head, *, conductivity=None):
    """Look for everything that can be wrong with a head mesh.

    Parameters
    ----------
    head : HeadModel, HeadFile or MeshRecord
        Coordinates in millimetres.
    conductivity : mapping or array, optional
        Counts as known beside the defaults; a HeadModel brings its own.

    Returns
    -------
    list of Finding
        Errors first.
    """
    return _check(_View.of(head, conductivity))


def describe_head(head, *, conductivity=None):
    """Facts about a head, ready for JSON.

    Parameters
    ----------
    head, conductivity
        As in :func:`check_head`.

    Returns
    -------
    dict
        ``name, space, n_nodes, n_tets, bounding_box_mm, volume_mL``; ``tissues``, one dict per tag
        (``tag, name, n_tets, volume_mL, mean_edge_mm, conductivity``, the last in S/m or None);
        ``scalp`` (``source, n_triangles, area_cm2, closed``) or None where there is none.
    """
    return _describe(_View.of(head, conductivity))


class _View:
    """The sound part of a mesh, and the findings about the rest."""

    def __init__(self, file, sigma, head=None):
        self.record, self.name, self.space = file.record, file.name, file.space
        self.scalp_triangles, self.sigma = file.scalp_triangles, sigma
        self.findings = []
        self.mesh = head.mesh if head else self._sound_part()
        self.scalp = self._outer_scalp(head)

    @classmethod
    def of(cls, head, conductivity=None):
        if isinstance(head, HeadModel):
            return cls(_as_file(head), dict(head.tag_conductivity), head)
        if isinstance(head, MeshRecord):
            head = HeadFile(head, "head")
        if not isinstance(head, HeadFile):
            raise MeshError(f"cannot check {type(head).__name__}; give a HeadModel or use inspect_file")
        return cls(head, _known_conductivity(head.record.tet_tags, conductivity))

    def note(self, code, severity, message):
        self.findings.append(Finding(code, severity, message))

    def _sound_part(self):
        nodes, tets, tags = self.record.nodes, self.record.tets, self.record.tet_tags
        known = ((tets >= 0) & (tets < len(nodes))).all(axis=1)
        if not known.all():
            self.note(
                "unknown-nodes",
                "error",
                f"{np.sum(~known)} tetrahedra use nodes that do not exist, the first is {np.argmin(known)}",
            )
        finite = np.isfinite(nodes).all(axis=1)
        if not finite.all():
            self.note(
                "not-finite",
                "error",
                f"{np.sum(~finite)} nodes have coordinates that are not finite, the first is "
                f"{np.argmin(finite)}; export the mesh again",
            )
        if known.all() and finite.all() and len(tets):
            return TetMesh(nodes, tets, tags)
        sound = known.copy()
        sound[known] = finite[tets[known]].all(axis=1)
        if not sound.any():
            self.note("no-tetrahedra", "error", "no usable tetrahedra; a volume mesh is needed")
            return None
        return TetMesh(np.where(finite[:, None], nodes, 0.0), tets[sound], tags[sound])

    def _outer_scalp(self, head):
        if self.mesh is None:
            return None
        try:
            return head.scalp if head else outer_scalp(self.mesh, self.scalp_triangles)
        except MeshError as error:
            self.note("scalp-unusable", "error", str(error))
            return None


def _as_file(head):
    triangles = np.empty((0, 3), np.int32) if head.scalp_triangles is None else head.scalp_triangles
    tags = np.full(len(triangles), SCALP_TRIANGLES, np.int32)
    return HeadFile(MeshRecord(head.nodes_mm, head.tets, head.tags, triangles, tags), head.name, head.space)


def _known_conductivity(tags, conductivity):
    """Conductivity per tag, as numbers; None for a tag without one."""
    given = {} if conductivity is None else conductivity
    present = np.unique(tags)
    if not hasattr(given, "items"):
        values = resolve_conductivity(tags, given)
        return {int(tag): _one_value(values[tags == tag]) for tag in present}
    table = {**DEFAULT_CONDUCTIVITY, **{tag_of(key): value for key, value in given.items()}}
    return {int(tag): np.asarray(table[tag]).tolist() if tag in table else None for tag in present.tolist()}


def _one_value(values):
    return values[0].tolist() if np.all(values == values[0]) else "per element"


def _describe(view):
    facts = {
        "name": view.name,
        "space": view.space,
        "n_nodes": len(view.record.nodes),
        "n_tets": len(view.record.tets),
        "bounding_box_mm": None,
        "volume_mL": 0.0,
        "tissues": [],
        "scalp": None,
    }
    mesh = view.mesh
    if mesh is None:
        return facts
    points = mesh.nodes_mm[mesh.used_nodes]
    facts["bounding_box_mm"] = [points.min(axis=0).tolist(), points.max(axis=0).tolist()]
    facts["volume_mL"] = float(mesh.volumes_mm3.sum() / 1000)
    _, mean_edge = mesh.shapes
    for tag in np.unique(mesh.tags):
        members = mesh.tags == tag
        facts["tissues"].append(
            {
                "tag": int(tag),
                "name": TISSUE_NAMES.get(int(tag)) or view.record.names.get(int(tag)),
                "n_tets": int(members.sum()),
                "volume_mL": float(mesh.volumes_mm3[members].sum() / 1000),
                "mean_edge_mm": float(mean_edge[members].mean()),
                "conductivity": view.sigma.get(int(tag)),
            }
        )
    if view.scalp is not None:
        facts["scalp"] = {
            "source": "outer boundary" if view.scalp_triangles is None else "triangles of the file",
            "n_triangles": len(view.scalp.triangles),
            "area_cm2": float(view.scalp.areas_mm2.sum() / 100),
            "closed": bool(view.scalp.is_closed),
        }
    return facts


def _check(view):
    if view.mesh is not None:
        for check in CHECKS:
            check(view)
    return sorted(view.findings, key=lambda finding: SEVERITIES.index(finding.severity))
