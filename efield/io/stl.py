"""STL surfaces, binary and ASCII.

Read here because meshio takes a cut binary file for a smaller surface and warns of an overflow
on most ASCII files.
"""

from pathlib import Path

import numpy as np

from efield.errors import FormatError
from efield.io.atomic import atomic_path

__all__ = ["read_stl", "write_stl"]

BINARY = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
HEADER_BYTES = 84


def read_stl(path):
    """Read an STL surface.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    (n, 3, 3) array
        Corners of each triangle, in the file's unit (STL does not say which).

    Raises
    ------
    FormatError
        Unreadable, not STL, truncated, no triangles, or a corner that is not finite.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise FormatError(f"{path}: cannot be read: {error.strerror or error}") from error
    count = int(np.frombuffer(data, "<u4", 1, 80)[0]) if len(data) >= HEADER_BYTES else 0
    # The word "solid" decides nothing: exporters also write it into binary files.
    if count and len(data) == HEADER_BYTES + BINARY.itemsize * count:
        corners = np.frombuffer(data, BINARY, count, HEADER_BYTES)["corners"].astype(np.float64)
    elif data.lstrip()[:5].lower() == b"solid" and b"\0" not in data:
        corners = _parse_ascii(path, data)
    else:
        raise FormatError(
            f"{path} has {len(data)} bytes; as binary STL of {count} triangles it should have "
            f"{HEADER_BYTES + BINARY.itemsize * count}: it is truncated or not STL"
        )
    bad = np.argwhere(~np.isfinite(corners))
    if len(bad):
        raise FormatError(f"{path}: a corner of triangle {bad[0][0]} is not finite")
    return corners


def write_stl(path, corners):
    """Write a binary STL surface, atomically.

    Parameters
    ----------
    path : path-like
    corners : (n, 3, 3) array
        Of each triangle; single precision is what the format holds.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    triangles = np.zeros(len(corners), BINARY)
    triangles["corners"] = corners
    a, b, c = np.moveaxis(triangles["corners"].astype(np.float64), 1, 0)
    normals = np.cross(b - a, c - a)
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    triangles["normal"] = np.divide(normals, length, out=np.zeros_like(normals), where=length > 0)
    header = b"casing of a coil, mm".ljust(HEADER_BYTES - 4) + np.uint32(len(corners)).tobytes()
    with atomic_path(path) as temporary:
        temporary.write_bytes(header + triangles.tobytes())


def _parse_ascii(path, data):
    lines = [line.split() for line in data.decode("utf-8", errors="replace").lower().splitlines()]
    if not any(words[:1] == ["endsolid"] for words in lines):
        raise FormatError(f"{path} does not end with 'endsolid': the ASCII STL is truncated")
    corners = []
    for number, words in enumerate(lines, 1):
        if words[:1] != ["vertex"]:
            continue
        try:
            corners.append([float(word) for word in words[1:4]])
        except ValueError:
            raise FormatError(f"{path}, line {number}: {' '.join(words)[:40]!r} is no vertex") from None
        if len(words) != 4:
            raise FormatError(f"{path}, line {number}: a vertex has 3 coordinates, not {len(words) - 1}")
    if not corners or len(corners) % 3:
        raise FormatError(f"{path}: {len(corners)} vertices are not a whole, positive number of triangles")
    return np.array(corners).reshape(-1, 3, 3)
