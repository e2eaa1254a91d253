"""A field per tetrahedron as a file that ParaView, Gmsh, SimNIBS or an image viewer opens."""

from pathlib import Path

import numpy as np

from efield.errors import FormatError
from efield.io.atomic import atomic_path
from efield.io.gmsh import write_msh
from efield.io.images import write_csv, write_gifti, write_nifti
from efield.io.records import MeshRecord
from efield.io.vtu import write_vtu
from efield.tissues import TISSUE_NAMES

FIELD_FORMATS = ("vtu", "msh", "nii", "nii.gz", "gii", "csv")


def write_field(
    path,
    head,
    e_field,
    *,
    format=None,
    image=None,
    surface=None,
    quantity="magnE",
    recovered=None,
    facts=None,
):
    """Write ``E`` (n_tets, 3) and ``magnE`` (n_tets,) in V/m, positions in mm.

    Parameters
    ----------
    path : path
    head : object with ``nodes_mm``, ``tets``, ``tags``
    e_field : (n_tets, 3) array, V/m
    format : {"vtu", "msh", "nii", "nii.gz", "gii", "csv"} or None
        None takes the suffix.
    image : path, for NIfTI
        Whose grid to use.
    surface : path or surface, for GIFTI
        On whose vertices.
    quantity : {"magnE", "E"}, for NIfTI
    recovered : RecoveredField, optional
        Whose values are written in place of those of `e_field`: interpolated in images and on surfaces,
        means per tetrahedron elsewhere.
    facts : dict, optional
        What the ``.json`` beside a NIfTI or GIFTI file says, too.

    Raises
    ------
    FormatError
        Unknown format, or a format without what it needs.
    """
    name = field_format(path, format)
    if name not in FIELD_FORMATS:
        raise FormatError(f"unknown field format {name!r} for {path}; known: {', '.join(FIELD_FORMATS)}")
    if name in ("nii", "nii.gz"):
        if image is None:
            raise FormatError(
                f"{path}: NIfTI needs a reference image: give image= (--image), such as T1.nii.gz"
            )
        write_nifti(path, head, e_field, image=image, quantity=quantity, recovered=recovered, facts=facts)
    elif name == "gii":
        if surface is None:
            raise FormatError(
                f"{path}: GIFTI needs a surface: give surface= (--surface), lh.central.gii or mid-layer"
            )
        write_gifti(path, head, e_field, surface=surface, recovered=recovered, facts=facts)
    else:
        values = e_field if recovered is None else recovered.element_means
        if name == "csv":
            write_csv(path, head, values)
        else:
            _write_mesh(path, name, head, values)


def field_format(path, format=None):
    """Name of the format of a field file: as given, or by its suffix."""
    if format is not None:
        return format.lower()
    name = Path(path).name.lower()
    return "nii.gz" if name.endswith(".nii.gz") else name.rpartition(".")[2]


def _write_mesh(path, name, head, e_field):
    record = _record(head)
    data = {"E": e_field, "magnE": np.linalg.norm(e_field, axis=1)}
    with atomic_path(path) as temporary:
        if name == "vtu":
            write_vtu(temporary, record, element_data=data)
        else:
            write_msh(temporary, record, element_data=data)


def _record(head):
    present = np.unique(head.tags).tolist()
    return MeshRecord(
        nodes=head.nodes_mm,
        tets=head.tets,
        tet_tags=head.tags,
        names={tag: TISSUE_NAMES[tag] for tag in present if tag in TISSUE_NAMES},
    )
