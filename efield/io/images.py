"""A field in the grid of an image (NIfTI), on a surface (GIFTI), and as a table (CSV).

Each file, and the ``.json`` beside it, says by which rule its values were taken from the field: that of
:mod:`efield.io.sampling`.
"""

import json
from pathlib import Path

import numpy as np

from efield.errors import FormatError
from efield.io.atomic import atomic_path
from efield.io.navigation.image import read_header
from efield.io.sampling import NEAR_MM, tets_at_voxels, tets_of_tissue_at
from efield.tissues import TISSUE_TAGS

QUANTITIES = {"magnE": "|E|", "E": "E, components along x, y, z (RAS)"}

VOXEL_RULE = (
    "value of the tetrahedron that holds the voxel centre (E is constant in each tetrahedron; no smoothing, "
    "no averaging over the voxel); NaN where the centre lies in no tetrahedron"
)
VERTEX_RULE = (
    "value of the grey-matter tetrahedron that holds the vertex; where none does, of the grey-matter "
    f"tetrahedron with the nearest barycentre if within {NEAR_MM:g} mm; else NaN"
)
RECOVERED_RULE = "interpolated in that tetrahedron between values at its corners, of its tissue alone"


def write_nifti(path, head, e_field, *, image, quantity="magnE", recovered=None, facts=None):
    """Write a field in the grid of a reference image, as float32.

    Parameters
    ----------
    path : path-like
        ``.nii`` or ``.nii.gz``; a ``.json`` of the same name is written, too.
    head : object with ``nodes_mm``, ``tets``
    e_field : (n_tets, 3) array, V/m
    image : path-like
        The NIfTI whose grid and frame are taken.
    quantity : {"magnE", "E"}
    recovered : RecoveredField, optional
        Whose interpolated values are written in place of those of `e_field`.
    facts : dict, optional
        More for the ``.json``.

    Raises
    ------
    FormatError
        The reference cannot be used, or does not overlap the head.
    """
    import nibabel

    if quantity not in QUANTITIES:
        raise FormatError(f"unknown quantity {quantity!r}; known: {', '.join(QUANTITIES)}")
    reference = read_header(image)
    shape, affine = reference.shape[:3], np.asarray(reference.affine, dtype=np.float64)
    owner = tets_at_voxels(head.nodes_mm, head.tets, affine, shape)
    held = owner >= 0
    if not held.any():
        raise FormatError(f"{image}: none of its voxels lies in the head; the image is in another space")
    centres = np.argwhere(held) @ affine[:3, :3].T + affine[:3, 3]
    values = _values_at(e_field, recovered, owner[held], centres)
    if quantity == "magnE":
        values = np.linalg.norm(values, axis=1)
    data = np.full((*shape, *values.shape[1:]), np.nan, np.float32)
    data[held] = values
    if quantity == "E":
        data = data[:, :, :, None, :]  # NIfTI keeps vectors in the fifth dimension
    made = nibabel.Nifti1Image(data, affine)
    made.header.set_xyzt_units("mm")
    for form in ("sform", "qform"):
        code = int(reference.header[f"{form}_code"])
        getattr(made, f"set_{form}")(affine, code=code)
    made.header.set_intent("vector" if quantity == "E" else "estimate", name=f"{quantity} V/m")
    made.header["descrip"] = f"{quantity} V/m: tetrahedron at voxel centre; NaN outside".encode()
    with atomic_path(path) as temporary:
        nibabel.save(made, temporary)
    said = {**_rule(VOXEL_RULE, recovered), "reference": str(image), "voxels_in_head": int(held.sum())}
    _write_facts(path, quantity, {**said, **(facts or {})})


def write_gifti(path, head, e_field, *, surface, recovered=None, facts=None):
    """Write |E| and the components of E at the vertices of a surface.

    Parameters
    ----------
    path : path-like
        ``.gii``; a ``.json`` of the same name is written, too.
    head : object with ``nodes_mm``, ``tets``, ``tags``
    e_field : (n_tets, 3) array, V/m
    surface : path-like or object with ``vertices_mm``, ``triangles``
        GIFTI surface in the head's space, such as ``lh.central.gii``; or one that is no file, which
        then is written, too.
    recovered : RecoveredField, optional
        As for :func:`write_nifti`.
    facts : dict, optional
        More for the ``.json``.

    Raises
    ------
    FormatError
        Not a GIFTI surface, a head without grey matter, or a surface that lies elsewhere.
    """
    import nibabel

    if not np.any(head.tags == TISSUE_TAGS["grey_matter"]):
        raise FormatError("the head has no grey matter, so a cortical surface has no field")
    made_here = hasattr(surface, "vertices_mm")
    name = "mid-layer of grey matter" if made_here else str(surface)
    points = surface.vertices_mm if made_here else read_surface_points(surface)
    owner, held = tets_of_tissue_at(head, points, "grey_matter")
    known = owner >= 0
    if np.mean(known) < 0.5:
        raise FormatError(
            f"{name}: only {np.mean(known):.0%} of its vertices lie within {NEAR_MM:g} mm of the head's "
            "grey matter; the surface is in another space"
        )
    values = np.full((len(points), 4), np.nan, np.float32)
    values[known, 1:] = _values_at(e_field, recovered, owner[known], points[known])
    values[known, 0] = np.linalg.norm(values[known, 1:], axis=1)
    arrays = [_gifti_array(values[:, k], part) for k, part in enumerate(("magnE", "E_x", "E_y", "E_z"))]
    if made_here:
        arrays = [*_geometry_arrays(surface), *arrays]
    rule = _rule(VERTEX_RULE, recovered)
    meta = nibabel.gifti.GiftiMetaData({"Rule": "; ".join(rule.values()), "Unit": "V/m"})
    with atomic_path(path) as temporary:
        nibabel.save(nibabel.gifti.GiftiImage(darrays=arrays, meta=meta), temporary)
    counts = {
        "vertices": len(points),
        "in_grey_matter": int(held.sum()),
        "without_value": int((~known).sum()),
    }
    said = {**rule, "surface": name, **counts}
    _write_facts(path, "E", {**said, **(facts or {})})


def _values_at(e_field, recovered, tets, points):
    """E (n, 3) in some tetrahedra at points in them: raw, or interpolated where `recovered` is given."""
    return np.asarray(e_field)[tets] if recovered is None else recovered.within(tets, points)


def _rule(rule, recovered):
    """What files say about their values; a recovered field adds how it was made and interpolated."""
    if recovered is None:
        return {"rule": rule}
    return {"rule": rule, "recovery": f"{recovered.rule}; {RECOVERED_RULE}"}


def _geometry_arrays(surface):
    """Points and triangles of a surface as GIFTI arrays."""
    from nibabel.gifti import GiftiDataArray

    points, triangles = np.float32(surface.vertices_mm), np.int32(surface.triangles)
    return [
        GiftiDataArray(points, intent="NIFTI_INTENT_POINTSET"),
        GiftiDataArray(triangles, intent="NIFTI_INTENT_TRIANGLE"),
    ]


def _gifti_array(values, name):
    import nibabel

    array = np.ascontiguousarray(values)
    return nibabel.gifti.GiftiDataArray(array, intent="NIFTI_INTENT_NONE", meta={"Name": name})


def read_surface_points(path):
    """Vertices (n, 3) of a GIFTI surface, mm.

    Raises
    ------
    FormatError
        Not a GIFTI file, or without vertices.
    """
    import nibabel

    try:
        image = nibabel.load(path)
    except Exception as error:  # nibabel raises many kinds on a damaged file
        raise FormatError(f"{path}: cannot be read as GIFTI: {error}") from error
    arrays = getattr(image, "get_arrays_from_intent", lambda intent: [])("NIFTI_INTENT_POINTSET")
    points = np.asarray(arrays[0].data, dtype=np.float64) if arrays else np.empty(0)
    if points.ndim != 2 or points.shape[1:] != (3,) or not len(points):
        raise FormatError(f"{path}: holds no vertices of a surface (GIFTI with a pointset)")
    if not np.isfinite(points).all():
        raise FormatError(f"{path}: vertex {np.argmin(np.isfinite(points).all(axis=1))} is not finite")
    return points


def write_csv(path, head, e_field):
    """Write one row a tetrahedron: tag, barycentre, volume, E and |E|."""
    corners = head.nodes_mm[head.tets]
    volumes = np.abs(np.linalg.det(corners[:, 1:] - corners[:, :1])) / 6
    magnitude = np.linalg.norm(e_field, axis=1)
    table = np.column_stack([head.tags, corners.mean(axis=1), volumes, e_field, magnitude])
    header = "tag,x_mm,y_mm,z_mm,volume_mm3,E_x_V_per_m,E_y_V_per_m,E_z_V_per_m,magnE_V_per_m"
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8", newline="\n") as file:
        np.savetxt(file, table, fmt=["%d", *["%.9g"] * 8], delimiter=",", header=header, comments="")


def _write_facts(path, quantity, facts):
    name = Path(path).name.removesuffix(".gz")
    beside = Path(path).with_name(name.rpartition(".")[0] + ".json")
    body = {"quantity": QUANTITIES[quantity], "unit": "V/m", **facts}
    with atomic_path(beside) as temporary:
        temporary.write_text(json.dumps(body, indent=1) + "\n", encoding="utf-8")
