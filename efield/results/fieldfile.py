"""A field that a file holds: of efield, or of a simulation or optimization by SimNIBS."""

from pathlib import Path

import numpy as np

from efield.errors import FormatError
from efield.forward import StoredField
from efield.io.gmsh import read_msh_fields
from efield.model.arrays import read_only
from efield.model.head import HeadModel
from efield.model.heads import SCALP_TRIANGLES
from efield.model.mesh import TetMesh


def load_field(path, *, conductivity=None):
    """Read a field from a ``.msh`` that efield or SimNIBS wrote.

    Parameters
    ----------
    path : path-like
        Gmsh 2.2 or 4.1 with element data ``E`` in V/m.
    conductivity : mapping or array, optional
        As in ``load_head``; needed only where the mesh has tissues without a default.

    Returns
    -------
    StoredField
        On the head of the file. ``placement``, ``didt`` and ``residual`` are None: the file does not
        state them.

    Raises
    ------
    FormatError
        Damaged, without ``E``, or with a field that lacks elements.
    MeshError
        A mesh that is no head.
    """
    path = Path(path)
    found = read_msh_fields(path)
    e_field = found.element_data.get("E")
    if e_field is None or e_field.shape[1] != 3:
        names = ", ".join([*found.element_data, *found.node_data]) or "none"
        raise FormatError(
            f"{path}: holds no element data E with three components (fields found: {names}); in SimNIBS ask "
            "for it with fields='eE'"
        )
    record = found.record
    scalp = record.triangles[record.tri_tags == SCALP_TRIANGLES]
    head = HeadModel.from_mesh(
        TetMesh(record.nodes, record.tets, record.tet_tags),
        conductivity=conductivity,
        name=path.name.removesuffix(".gz").removesuffix(".msh"),
        scalp_triangles=scalp if len(scalp) else None,
    )
    e_field = read_only(np.ascontiguousarray(e_field))
    return StoredField(head, e_field, None, None, path.name)
