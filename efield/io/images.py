"""A field in the grid of an image (NIfTI), on a surface (GIFTI), and as a table (CSV).

Each file, and the ``.json`` beside it, says by which rule its values were taken from the field.
"""

import json
from pathlib import Path

import numpy as np

from efield.errors import FormatError
from efield.io.atomic import atomic_path
from efield.io.navigation.image import read_header
from efield.io.sampling import tets_at_points, tets_at_voxels
from efield.tissues import TISSUE_TAGS

NEAR_MM = 3.0
"""A surface vertex outside grey matter takes the nearest grey matter up to this distance."""

QUANTITIES = {"magnE": "|E|", "E": "E, components along x, y, z (RAS)"}

VOXEL_RULE = (
    "value of the tetrahedron that holds the voxel centre (E is constant in each tetrahedron; no smoothing, "
    "no averaging over the voxel); NaN where the centre lies in no tetrahedron"
)
VERTEX_RULE = (
    "value of the grey-matter tetrahedron that holds the vertex; where none does, of the grey-matter "
    f"tetrahedron with the nearest barycentre if within {NEAR_MM:g} mm; else NaN"
)


def write_nifti(path, head, e_field, *, image, quantity="magnE", facts=None):
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
    values = np.linalg.norm(e_field, axis=1) if quantity == "magnE" else np.asarray(e_field)
    data = np.full((*shape, *values.shape[1:]), np.nan, np.float32)
    data[held] = values[owner[held]]
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
    said = {"rule": VOXEL_RULE, "reference": str(image), "voxels_in_head": int(held.sum())}
    _write_facts(path, quantity, {**said, **(facts or {})})


def write_gifti(path, head, e_field, *, surface, facts=None):
    """Write |E| and the components of E at the vertices of a surface.

    Parameters
    ----------
    path : path-like
        ``.gii``; a ``.json`` of the same name is written, too.
    head : object with ``nodes_mm``, ``tets``, ``tags``
    e_field : (n_tets, 3) array, V/m
    surface : path-like
        GIFTI surface in the head's space, such as ``lh.central.gii``.
    facts : dict, optional
        More for the ``.json``.

    Raises
    ------
    FormatError
        Not a GIFTI surface, a head without grey matter, or a surface that lies elsewhere.
    """
    import nibabel

    points = read_surface_points(surface)
    owner, held = _grey_at(head, points)
    known = owner >= 0
    if np.mean(known) < 0.5:
        raise FormatError(
            f"{surface}: only {np.mean(known):.0%} of its vertices lie within {NEAR_MM:g} mm of the head's "
            "grey matter; the surface is in another space"
        )
    values = np.full((len(points), 4), np.nan, np.float32)
    values[known, 1:] = e_field[owner[known]]
    values[known, 0] = np.linalg.norm(e_field[owner[known]], axis=1)
    arrays = [_gifti_array(values[:, k], name) for k, name in enumerate(("magnE", "E_x", "E_y", "E_z"))]
    meta = nibabel.gifti.GiftiMetaData({"Rule": VERTEX_RULE, "Unit": "V/m"})
    with atomic_path(path) as temporary:
        nibabel.save(nibabel.gifti.GiftiImage(darrays=arrays, meta=meta), temporary)
    counts = {
        "vertices": len(points),
        "in_grey_matter": int(held.sum()),
        "without_value": int((~known).sum()),
    }
    said = {"rule": VERTEX_RULE, "surface": str(surface), **counts}
    _write_facts(path, "E", {**said, **(facts or {})})


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


def _grey_at(head, points):
    """Tetrahedron of each point by `VERTEX_RULE` (-1: none), and whether that holds it."""
    from scipy.spatial import cKDTree

    grey = np.flatnonzero(head.tags == TISSUE_TAGS["grey_matter"])
    if not len(grey):
        raise FormatError("the head has no grey matter, so a cortical surface has no field")
    tets = head.tets[grey]
    owner = tets_at_points(head.nodes_mm, tets, points)
    held = owner >= 0
    if not held.all():
        centres = head.nodes_mm[tets].mean(axis=1)
        distance, nearest = cKDTree(centres).query(points[~held])
        owner[~held] = np.where(distance <= NEAR_MM, nearest, -1)
    return np.where(owner >= 0, grey[owner], -1), held


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
