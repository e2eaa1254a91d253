"""Open a head: built in by name, from a mesh file, or from an m2m folder."""

import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from efield.errors import MeshError
from efield.io.meshfile import read_mesh_file
from efield.io.records import MeshRecord
from efield.model.head import HeadModel
from efield.model.m2m import SubjectFolder, is_subject_folder
from efield.model.mesh import TetMesh
from efield.tissues import SURFACE_TAG_OFFSET, TISSUE_TAGS

BUILTIN_HEADS = ("mni152", "mni152-small")
"""Names of the heads that come with efield; both are their own MNI space."""

UNITS_PER_NAME = {"mm": 1.0, "m": 1000.0}
"""Millimetres per unit a mesh file may be in."""

METRES_BELOW_MM = 2.0
"""A head whose bounding box has a shorter diagonal must be in metres."""

MILLIMETRES_ABOVE_MM = 10_000.0
"""A head whose bounding box has a longer diagonal was not in metres."""

FLAT_BELOW_MM3 = 1e-9
"""Volume under which a tetrahedron counts as flat: a cube of one micrometre."""

SCALP_TRIANGLES = SURFACE_TAG_OFFSET + TISSUE_TAGS["scalp"]


@dataclass(frozen=True, eq=False)
class HeadFile:
    """A mesh as read, with what its source says about it.

    Attributes
    ----------
    record : MeshRecord
        Coordinates in millimetres.
    name : str
    space : {"subject", "mni"}
    builtin : bool
    folder : SubjectFolder or None
        The folder ``m2m_<subject>`` whose mesh this is.
    """

    record: MeshRecord
    name: str
    space: str = "subject"
    builtin: bool = False
    folder: SubjectFolder | None = None

    @property
    def scalp_triangles(self):
        """(k, 3) triangles the file tags as scalp surface (1005), or None."""
        triangles = self.record.triangles[self.record.tri_tags == SCALP_TRIANGLES]
        return triangles if len(triangles) else None


def load_head(source, *, conductivity=None, unit="mm"):
    """Open a head model.

    Parameters
    ----------
    source : str, path-like or HeadModel
        A name in :data:`BUILTIN_HEADS`; a mesh file (Gmsh ``.msh`` or whatever meshio reads); a
        SimNIBS folder ``m2m_<subject>``, or its mesh, which brings MNI transforms, EEG positions, T1
        and surfaces along. A HeadModel is returned as it is, or with the conductivity given here.
    conductivity : mapping or array, optional
        ``{tag or tissue name: S/m or (3, 3) tensor}`` over the defaults, or one value per
        tetrahedron, (n_tets,) or (n_tets, 3, 3).
    unit : {"mm", "m"}
        Unit of the coordinates in the file.

    Returns
    -------
    HeadModel
        Nodes and tetrahedra in the order of the file.

    Raises
    ------
    MeshError
        Unknown name, missing file, flat tetrahedra, coordinates that are not finite, a tag
        without conductivity, a unit that cannot be right.
    FormatError
        A file that cannot be understood.
    """
    if isinstance(source, HeadModel):
        if conductivity is None:
            return source
        return dataclasses.replace(source, conductivity=conductivity, anisotropy=None)
    file = read_head_file(source, unit=unit)
    record = file.record
    mesh = TetMesh(record.nodes, record.tets, record.tet_tags)
    if not file.builtin:  # whoever packs a built-in head checks it
        _check_unit(mesh, source, unit)
        _check_volumes(mesh, source)
    return HeadModel(
        mesh,
        conductivity,
        name=file.name,
        space=file.space,
        scalp_triangles=file.scalp_triangles,
        folder=file.folder,
    )


def read_head_file(source, *, unit="mm"):
    """Find and read a head without judging it.

    Parameters
    ----------
    source, unit
        As in :func:`load_head`, without HeadModel.

    Returns
    -------
    HeadFile

    Raises
    ------
    MeshError
        Unknown name, missing file or unknown unit.
    FormatError
        A file that cannot be understood.
    """
    if unit not in UNITS_PER_NAME:
        raise MeshError(f"unit must be one of {', '.join(map(repr, UNITS_PER_NAME))}, not {unit!r}")
    if isinstance(source, str) and source in BUILTIN_HEADS:
        return HeadFile(read_mesh_file(builtin_path(source)), source, "mni", builtin=True)
    path = _find(source)
    folder = _folder_of(path)
    name = folder.subject if folder else path.name.removesuffix(".gz").rsplit(".", 1)[0]
    record = read_mesh_file(path)
    if unit != "mm":
        record = dataclasses.replace(record, nodes=record.nodes * UNITS_PER_NAME[unit])
    return HeadFile(record, name, folder=folder)


def builtin_path(name):
    """Packed mesh of a built-in head, in the installed package or the checkout.

    Raises
    ------
    MeshError
        The installation lacks it.
    """
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "meshes", package.parent / "meshes"):  # installed; checkout
        path = folder / f"{name}.efmesh"
        if path.is_file():
            return path
    raise MeshError(
        f"the built-in head {name!r} is missing from this installation ({package / 'meshes'}); "
        "install efield again"
    )


def _find(source):
    """Mesh file of a path."""
    try:
        path = Path(os.fspath(source)).expanduser()
    except TypeError:
        raise MeshError(
            f"a head is a name ({', '.join(BUILTIN_HEADS)}), a path or a HeadModel, "
            f"not {type(source).__name__}"
        ) from None
    if path.is_dir():
        return SubjectFolder(path).mesh_path
    if not path.exists():
        raise MeshError(
            f"no head {str(source)!r}: there is no such file, and the built-in heads are "
            f"{', '.join(BUILTIN_HEADS)}"
        )
    return path


def _folder_of(path):
    """The m2m folder whose own mesh a file is, or None."""
    if not is_subject_folder(path.parent):
        return None
    folder = SubjectFolder(path.parent)
    return folder if path.name in (f"{folder.subject}.msh", f"{folder.subject}.msh.gz") else None


def _check_unit(mesh, source, unit):
    diagonal = float(np.linalg.norm(np.ptp(mesh.nodes_mm, axis=0)))
    if diagonal < METRES_BELOW_MM:
        raise MeshError(
            f"{source}: the mesh is {diagonal:.3g} mm across, so its coordinates look like metres; "
            'pass unit="m" (on the command line --unit m)'
        )
    if unit == "m" and diagonal > MILLIMETRES_ABOVE_MM:
        raise MeshError(
            f"{source}: the mesh is {diagonal / 1000:.3g} m across, so its coordinates are hardly metres; "
            'pass unit="mm"'
        )


def _check_volumes(mesh, source):
    flat = np.flatnonzero(mesh.volumes_mm3 <= FLAT_BELOW_MM3)
    if len(flat):
        raise MeshError(
            f"{source}: {len(flat)} tetrahedra have no volume, the first is {flat[0]} "
            f"(nodes {mesh.tets[flat[0]].tolist()}); remove them with a mesh repair tool"
        )
