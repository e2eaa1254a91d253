"""A field per tetrahedron as a file that ParaView, Gmsh or SimNIBS opens."""

from pathlib import Path

import numpy as np

from efield.errors import FormatError
from efield.io.atomic import atomic_path
from efield.io.gmsh import write_msh
from efield.io.records import MeshRecord
from efield.io.vtu import write_vtu
from efield.tissues import TISSUE_NAMES

FIELD_FORMATS = ("vtu", "msh")


def write_field(path, head, e_field, *, format=None):
    """Write ``E`` (n_tets, 3) and ``magnE`` (n_tets,) in V/m with the head's mesh, in mm.

    Parameters
    ----------
    path : path
    head : object with ``nodes_mm``, ``tets``, ``tags``
    e_field : (n_tets, 3) array, V/m
    format : {"vtu", "msh"} or None
        None takes the suffix.

    Raises
    ------
    FormatError
        Unknown format.
    """
    name = (format or Path(path).suffix.lstrip(".")).lower()
    if name not in FIELD_FORMATS:
        raise FormatError(f"unknown field format {name!r} for {path}; known: {', '.join(FIELD_FORMATS)}")
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
