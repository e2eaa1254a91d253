"""Head meshes of any format: Gmsh and packed meshes here, everything else through meshio."""

from pathlib import Path

import numpy as np

from efield.errors import FormatError, MissingExtraError
from efield.io import gmsh, packed
from efield.io.records import MeshRecord

TAG_ARRAYS = (
    *("gmsh:physical", "medit:ref", "tetgen:ref", "nastran:ref", "ugrid:ref", "su2:tag", "netgen:index"),
    *("avsucd:material", "cell_tags", "tags", "tag", "tissue", "region", "regions", "label", "labels"),
    *("material", "MaterialID", "attribute", "subdomain", "gmsh:geometrical"),
)
"""Names under which programs write the region of each cell, most telling first."""


def read_mesh_file(path):
    """Read a tetrahedral mesh with region tags, whatever the format.

    Parameters
    ----------
    path : str or path-like
        A Gmsh ``.msh`` (plain or gzip), a packed mesh, or any format of meshio with one array of region tags.

    Returns
    -------
    MeshRecord

    Raises
    ------
    FormatError
        Unknown format, damaged file, no tetrahedra, or no array of tissue tags.
    MissingExtraError
        The format needs a package that is not installed.
    """
    path = Path(path)
    start = _first_bytes(path)
    if start.startswith(packed.MAGIC):
        return packed.read_packed(path)
    name = path.name.lower()
    if start[:2] == b"\x1f\x8b" or b"$MeshFormat" in start or name.endswith((".msh", ".msh.gz")):
        return gmsh.read_msh(path)
    return _record(path, _through_meshio(path))


def _first_bytes(path):
    try:
        with open(path, "rb") as file:
            return file.read(4096)
    except OSError as error:
        raise FormatError(f"cannot read {path}: {error.strerror or error}") from error


def _through_meshio(path):
    """A meshio mesh; whatever its readers raise becomes a FormatError.

    The readers are called by module: ``meshio.read`` prints and ends the process on failure.
    """
    import meshio

    known = meshio.extension_to_filetypes
    if path.suffix.lower() not in known:
        raise FormatError(
            f"{path}: {path.suffix or 'a name without suffix'!r} is no known mesh format; "
            f"efield reads {' '.join(sorted({'.msh.gz', *known}))}. Convert the mesh to one of these"
        )
    reasons = []
    for filetype in known[path.suffix.lower()]:
        try:
            return getattr(meshio, filetype.split("-")[0]).read(str(path))
        except ImportError as error:
            package = error.name or str(error)
            raise MissingExtraError(
                f"{path}: reading this file needs the package {package}; pip install {package}"
            ) from error
        except (Exception, SystemExit) as error:
            reasons.append(f"{filetype}: {str(error) or type(error).__name__}")
    raise FormatError(f"{path}: damaged, or not what its name says ({'; '.join(reasons)})")


def _record(path, mesh):
    tet_blocks = [i for i, block in enumerate(mesh.cells) if block.type == "tetra"]
    tri_blocks = [i for i, block in enumerate(mesh.cells) if block.type == "triangle"]
    if not tet_blocks:
        found = ", ".join(sorted({block.type for block in mesh.cells})) or "none"
        raise FormatError(
            f"{path}: no 4-node tetrahedra (cell types found: {found}); "
            "a volume mesh of first order is needed"
        )
    name = _tag_array(path, mesh, tet_blocks)
    points = np.asarray(mesh.points)
    if points.ndim != 2 or points.shape[1] != 3 or points.dtype.kind not in "fiu":
        raise FormatError(f"{path}: points have shape {points.shape}; expected (n, 3) numbers")
    tets, tet_tags = _cells(path, mesh, name, tet_blocks, 4)
    triangles, tri_tags = _cells(path, mesh, name, tri_blocks, 3)
    return MeshRecord(np.array(points, np.float64), tets, tet_tags, triangles, tri_tags)


def _tag_array(path, mesh, blocks):
    """Name of the cell array that holds the regions."""
    candidates = [name for name, data in mesh.cell_data.items() if _is_tags(data, mesh, blocks)]
    for name in TAG_ARRAYS:
        for candidate in candidates:
            if candidate.lower() == name.lower():
                return candidate
    if len(candidates) == 1:
        return candidates[0]
    held = ", ".join(map(repr, mesh.cell_data)) or "none"
    why = "several integer cell arrays could be" if candidates else "no integer cell array is"
    raise FormatError(
        f"{path}: {why} the tissue tags (cell arrays: {held}); name the array 'tags' in the file"
    )


def _is_tags(data, mesh, blocks):
    """Whether an array holds one whole number per tetrahedron (readers may make it float)."""
    if len(data) != len(mesh.cells):
        return False
    for i in blocks:
        values = np.asarray(data[i])
        if values.dtype.kind not in "iuf" or values.size != len(mesh.cells[i].data):
            return False
        if not np.all((np.abs(values) < 2**31) & (values == np.rint(values))):  # false for NaN, too
            return False
    return True


def _cells(path, mesh, tag_array, blocks, width):
    nodes, tags = [np.empty((0, width), np.int32)], [np.empty(0, np.int32)]
    for i in blocks:
        data = np.asarray(mesh.cells[i].data)
        if data.ndim != 2 or data.shape[1] != width or data.dtype.kind not in "iu":
            raise FormatError(
                f"{path}: cell block {i} has shape {data.shape}; expected (n, {width}) integers"
            )
        if data.size and not 0 <= data.min() <= data.max() < len(mesh.points):
            raise FormatError(
                f"{path}: cell block {i} uses nodes {data.min()}..{data.max()}, "
                f"but the file has nodes 0..{len(mesh.points) - 1}"
            )
        nodes.append(data.astype(np.int32))
        tags.append(_triangle_tags(mesh.cell_data[tag_array][i], len(data)))
    return np.concatenate(nodes), np.concatenate(tags)


def _triangle_tags(values, count):
    """Tags of a block; 0 (no region) where a file tags its tetrahedra only."""
    values = np.asarray(values, np.float64).ravel()
    known = len(values) == count and np.all(np.isfinite(values)) and np.all(np.abs(values) < 2**31)
    return values.astype(np.int32) if known else np.zeros(count, np.int32)
