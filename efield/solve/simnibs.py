"""The same placements solved by SimNIBS, where it is installed: for comparison only.

Head, coil and poses are handed over as files and SimNIBS is called as any script calls it. SimNIBS is
GPL-3.0 and no part of efield.
"""

import tempfile
from pathlib import Path

import numpy as np

from efield.errors import ConvergenceError, EfieldError, MissingExtraError
from efield.io.ccd import CcdRecord, write_ccd
from efield.io.gmsh import read_msh_fields, write_msh
from efield.io.records import MeshRecord
from efield.tissues import SURFACE_TAG_OFFSET, TISSUE_TAGS
from efield.units import to_m

SCALP_TRIANGLES = SURFACE_TAG_OFFSET + TISSUE_TAGS["scalp"]


def simnibs_fields(head, coil, poses, didt):
    """Electric fields of some poses by SimNIBS.

    Parameters
    ----------
    head : HeadModel
        With one scalar conductivity a tissue.
    coil : Coil
    poses : sequence of (4, 4) arrays
        matsimnibs.
    didt : float, A/s

    Returns
    -------
    list of (n_tets, 3) arrays, V/m

    Raises
    ------
    MissingExtraError
        SimNIBS cannot be imported.
    EfieldError
        Conductivities SimNIBS cannot take.
    ConvergenceError
        SimNIBS left other results than one field a pose on this mesh.
    """
    sim_struct, run_simnibs = _import_simnibs()
    conductivity = _scalar_conductivity(head)
    with tempfile.TemporaryDirectory(prefix="efield-simnibs-") as folder:
        mesh, coil_file = Path(folder, "head.msh"), Path(folder, "coil.ccd")
        faces = head.mesh.boundary_faces
        tags = np.full(len(faces), SCALP_TRIANGLES, np.int32)
        write_msh(mesh, MeshRecord(head.nodes_mm, head.tets, head.tags, faces, tags))
        write_ccd(coil_file, CcdRecord(to_m(coil.positions_mm), coil.moments))
        session = sim_struct.SESSION()
        session.fnamehead, session.pathfem = str(mesh), str(Path(folder, "out"))
        session.fields, session.open_in_gmsh, session.map_to_surf = "eE", False, False
        simulations = session.add_tmslist()
        simulations.fnamecoil = str(coil_file)
        for tag, value in conductivity.items():
            simulations.cond[tag - 1].value = value
        for pose in poses:
            position = simulations.add_position()
            position.matsimnibs, position.didt = np.asarray(pose).tolist(), float(didt)
        run_simnibs(session)
        return _read_fields(Path(folder, "out"), head, len(poses))


def _import_simnibs():
    try:
        from simnibs import run_simnibs, sim_struct
    except ImportError as error:
        raise MissingExtraError(
            "solver='simnibs' needs SimNIBS 4 in this Python, which is not on PyPI: install it from "
            "https://simnibs.github.io/simnibs and run efield with its Python; or leave solver at 'efield'"
        ) from error
    return sim_struct, run_simnibs


def _scalar_conductivity(head):
    table = dict(head.tag_conductivity)
    other = [tag for tag, value in table.items() if not isinstance(value, float)]
    if other:
        raise EfieldError(
            f"solver='simnibs' is given one scalar conductivity a tissue, but tag {other[0]} has tensors or "
            "values per element; use scalars for the comparison"
        )
    return table


def _read_fields(folder, head, count):
    """One field a pose, on the head's own tetrahedra."""
    paths = sorted(folder.glob("*.msh"))
    if len(paths) != count:
        raise ConvergenceError(f"SimNIBS left {len(paths)} results for {count} placements; see its log")
    fields = []
    for path in paths:
        found = read_msh_fields(path)
        same = found.record.tets.shape == head.tets.shape and np.allclose(
            found.record.nodes[found.record.tets[:, 0]], head.nodes_mm[head.tets[:, 0]], atol=1e-3
        )
        if not same or "E" not in found.element_data:
            raise ConvergenceError(f"SimNIBS's result {path.name} has no E on the tetrahedra of this head")
        fields.append(found.element_data["E"])
    return fields
