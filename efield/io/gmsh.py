"""Gmsh meshes and fields: read 2.2 and 4.1, text and binary, plain or gzip; write 2.2 binary.

Tetrahedra (type 4) and triangles (type 2) are kept, other elements skipped. The format is
that of the Gmsh reference manual, section "MSH file format"; SimNIBS writes 2.2 binary with
the tissue as first tag.
"""

import gzip
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from efield.errors import FormatError
from efield.io.atomic import atomic_path
from efield.io.gmsh_blocks import NodeIndex, elements_22, elements_41, entities_41, nodes_22, nodes_41
from efield.io.gmsh_values import BinaryValues, TextValues
from efield.io.gmsh_views import read_view
from efield.io.records import MeshRecord

TRIANGLE, TETRAHEDRON = 2, 4


def read_msh(path):
    """Read the tetrahedra and triangles of a Gmsh file.

    Parameters
    ----------
    path : str or path-like
        Version 2.2 or 4.1, ASCII or binary of either byte order, optionally gzip (found by
        content, whatever the name).

    Returns
    -------
    MeshRecord
        Coordinates in the unit of the file. The tag of an element is its physical group; where
        it has none, its geometrical entity.

    Raises
    ------
    FormatError
        Not a Gmsh file, another version, damaged, truncated, or without tetrahedra.
    """
    path = Path(path)
    data = read_bytes(path)
    header, offset = _header(path, data)
    return _Parser(path, data, header).run(offset)


@dataclass(frozen=True, eq=False)
class MeshFields:
    """A mesh and the fields stored with it.

    Attributes
    ----------
    record : MeshRecord
    node_data : dict of str to (n_nodes, k) array
    element_data : dict of str to (n_tets, k) array
        One row per tetrahedron, in the order of the record.
    """

    record: MeshRecord
    node_data: dict
    element_data: dict


def read_msh_fields(path):
    """Read a Gmsh file with its ``$NodeData`` and ``$ElementData``, as a simulation of SimNIBS leaves it.

    Parameters
    ----------
    path : path-like
        As in :func:`read_msh`.

    Returns
    -------
    MeshFields

    Raises
    ------
    FormatError
        As in :func:`read_msh`; or a field that lacks nodes or tetrahedra, or is not finite on them.
    """
    path = Path(path)
    data = read_bytes(path)
    header, offset = _header(path, data)
    parser = _Parser(path, data, header)
    record = parser.run(offset)
    found = {"NodeData": {}, "ElementData": {}}
    wanted = {"NodeData": parser.node_numbers, "ElementData": parser.tet_numbers}
    offset = parser.after
    while (section := parser.next_section(offset)) is not None:
        name, offset = section
        if name not in found:
            offset = parser.skip(offset, name)
            continue
        view = read_view(path, data, offset, name, header)
        found[name][view.name] = view.values_of(path, wanted[name])
        offset = view.after
    return MeshFields(record, found["NodeData"], found["ElementData"])


def read_bytes(path):
    """The bytes of a file, unpacked where it is gzip.

    Raises
    ------
    FormatError
        The file cannot be read, or its gzip stream is damaged.
    """
    try:
        data = Path(path).read_bytes()
        return gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise FormatError(f"{path}: the gzip stream is damaged or truncated ({error})") from error
    except OSError as error:
        raise FormatError(f"cannot read {path}: {error.strerror or error}") from error


def _line(data, offset):
    """The stripped line that starts at `offset`, at most 200 characters, and where the next starts."""
    end = data.find(b"\n", offset)
    end = len(data) if end < 0 else end
    return data[offset : min(end, offset + 200)].strip().decode("latin-1"), min(end + 1, len(data))


class _Header:
    def __init__(self, version, is_ascii, order, size_bytes):
        self.version, self.ascii, self.order, self.size_bytes = version, is_ascii, order, size_bytes


def _header(path, data):
    """Version, kind and byte order, and the offset behind the header."""
    offset = data.find(b"$MeshFormat", 0, 4096)  # comments may come before
    if offset < 0:
        raise FormatError(f"{path}: no $MeshFormat at the start; this is not a Gmsh .msh file")
    _, offset = _line(data, offset)
    line, offset = _line(data, offset)
    words = line.split()
    try:
        version, kind, size_bytes = float(words[0]), int(words[1]), int(words[2])
    except (ValueError, IndexError):
        raise FormatError(f"{path}: $MeshFormat: expected version, type and size, found {line!r}") from None
    if not (2.0 <= version < 3.0 or words[0] in ("4", "4.1")):
        raise FormatError(f"{path}: Gmsh format version {words[0]} is not supported; save it as 2.2 or 4.1")
    if kind not in (0, 1) or size_bytes not in (4, 8):
        raise FormatError(f"{path}: $MeshFormat: type {kind} and size {size_bytes} are not valid")
    order = "<"
    if kind == 1:
        one = data[offset : offset + 4]
        orders = {b"\x01\0\0\0": "<", b"\0\0\0\x01": ">"}
        if one not in orders:
            raise FormatError(f"{path}: $MeshFormat, byte {offset}: the integer 1 is missing; found {one!r}")
        order, offset = orders[one], offset + 4
    end = data.find(b"$EndMeshFormat", offset)
    if end < 0:
        raise FormatError(f"{path}: $MeshFormat has no $EndMeshFormat; the file is truncated")
    return _Header(version, kind == 0, order, size_bytes), end + len(b"$EndMeshFormat")


class _Parser:
    """One pass over the sections of one file."""

    def __init__(self, path, data, header):
        self.path, self.data, self.header = path, data, header
        self.names, self.regions = {}, {}
        self.points = self.index = self.node_numbers = None
        self.tet_numbers, self.after = np.empty(0, np.int64), 0

    def run(self, offset):
        sections = {"PhysicalNames": self._names, "Entities": self._entities, "Nodes": self._nodes}
        while True:
            section = self.next_section(offset)
            if section is None:
                raise FormatError(
                    f"{self.path}: the file ends without $Elements; it is truncated or holds no mesh"
                )
            name, offset = section
            if name == "Elements":
                return self._elements(offset)
            offset = sections[name](offset) if name in sections else self.skip(offset, name)

    def next_section(self, offset):
        """Name of the next section and where its body begins; None at the end of the file."""
        while offset < len(self.data):
            line, offset = _line(self.data, offset)
            if line.startswith("$") and len(line) > 1:
                return line[1:], offset
            if line:
                raise FormatError(f"{self.path}: byte {offset}: expected a $Section, found {line[:40]!r}")
        return None

    def skip(self, offset, name):
        """Where the section `name` whose body begins at `offset` ends."""
        return self._end(offset, name)[1]

    def _end(self, offset, name):
        mark = f"$End{name}".encode()
        end = self.data.find(mark, offset)
        if end < 0:
            raise FormatError(f"{self.path}: ${name} has no {mark.decode()}; the file is truncated")
        return end, end + len(mark)

    def _values(self, offset, section, dtype=np.float64):
        if self.header.ascii:
            return TextValues(self.path, self.data, offset, section, dtype)
        header = self.header
        return BinaryValues(self.path, self.data, offset, section, header.order, header.size_bytes)

    def _count(self, offset, section):
        """The count on the line at `offset` (text in both kinds of 2.2), and the offset behind it."""
        line, after = _line(self.data, offset)
        if not line.isdecimal():
            raise FormatError(f"{self.path}: ${section}: expected a count, found {line[:40]!r}")
        return int(line), after

    def _names(self, offset):
        end, after = self._end(offset, "PhysicalNames")
        for line in self.data[offset:end].decode("utf-8", "replace").splitlines():
            words = line.split(maxsplit=2)
            if len(words) == 3 and words[1].lstrip("-").isdecimal():
                self.names[int(words[1])] = words[2].strip().strip('"')
        return after

    def _entities(self, offset):
        values = self._values(offset, "Entities")
        self.regions = entities_41(values)
        return values.close()

    def _nodes(self, offset):
        if self.header.version < 3:
            count, offset = self._count(offset, "Nodes")
            values = self._values(offset, "Nodes")
            tags, points = nodes_22(values, count)
        else:
            values = self._values(offset, "Nodes")
            tags, points = nodes_41(values)
        self.points, self.node_numbers = np.ascontiguousarray(points, np.float64), tags
        self.index = NodeIndex(self.path, tags)
        return values.close()

    def _elements(self, offset):
        if self.index is None:
            raise FormatError(f"{self.path}: $Elements comes without $Nodes before it")
        if self.header.version < 3:
            count, offset = self._count(offset, "Elements")
            values = self._values(offset, "Elements", np.int64)
            blocks = elements_22(values, count)
        else:
            values = self._values(offset, "Elements", np.int64)
            blocks = elements_41(values, self.regions)
        found = {TRIANGLE: [], TETRAHEDRON: []}
        others, numbered = set(), [self.tet_numbers]
        for kind, numbers, regions, nodes in blocks:
            if kind in found:
                what = "tetrahedron" if kind == TETRAHEDRON else "triangle"
                found[kind].append((self.index(nodes, what), regions))
            else:
                others.add(kind)
            if kind == TETRAHEDRON:
                numbered.append(numbers.astype(np.int64))
        self.tet_numbers = np.concatenate(numbered)
        self.after = values.close()
        if not found[TETRAHEDRON]:
            held = ", ".join(map(str, sorted(others | ({TRIANGLE} if found[TRIANGLE] else set())))) or "none"
            raise FormatError(
                f"{self.path}: $Elements has no 4-node tetrahedra (element types found: {held}); "
                "a volume mesh of first order is needed"
            )
        tets, tet_tags = _joined(found[TETRAHEDRON], 4)
        triangles, tri_tags = _joined(found[TRIANGLE], 3)
        return MeshRecord(self.points, tets, tet_tags, triangles, tri_tags, self.names)


def _joined(blocks, width):
    if not blocks:
        return np.empty((0, width), np.int32), np.empty(0, np.int32)
    nodes, tags = zip(*blocks, strict=True)
    if len(nodes) == 1:
        return nodes[0], tags[0].astype(np.int32)
    return np.concatenate(nodes), np.concatenate(tags).astype(np.int32)


def write_msh(path, record, *, node_data=None, element_data=None):
    """Write a Gmsh 2.2 binary file as SimNIBS reads it, completely or not at all.

    Triangles come first, then tetrahedra, numbered 1, 2, ... in that order. SimNIBS wants one
    value per element and no section before ``$Nodes``: so region names are not written, and a
    triangle gets the value of a tetrahedron it is a face of (NaN where there is none).

    Parameters
    ----------
    path : str or path-like
    record : MeshRecord
    node_data : dict of str to (n_nodes,) or (n_nodes, k) array, optional
    element_data : dict of str to (n_tets,) or (n_tets, k) array, optional
        Fields by name; k is 1, 3 or 9.

    Raises
    ------
    FormatError
        A field whose length or number of components does not fit.
    OutputError
        The file cannot be written.
    """
    n_triangles, n_tets = len(record.triangles), len(record.tets)
    node_fields = {n: _field(n, v, len(record.nodes)) for n, v in (node_data or {}).items()}
    tet_fields = {n: _field(n, v, n_tets) for n, v in (element_data or {}).items()}
    if n_triangles and tet_fields:
        owner = _tetrahedron_of_triangles(record)
        tet_fields = {n: np.concatenate([_on_triangles(v, owner), v]) for n, v in tet_fields.items()}
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        file.write(b"$MeshFormat\n2.2 1 8\n" + np.array(1, "<i4").tobytes() + b"\n$EndMeshFormat\n")
        nodes = np.empty(len(record.nodes), [("tag", "<i4"), ("xyz", "<f8", 3)])
        nodes["tag"] = np.arange(1, len(nodes) + 1)
        nodes["xyz"] = record.nodes
        file.write(b"$Nodes\n%d\n" % len(nodes) + nodes.tobytes() + b"$EndNodes\n")
        file.write(b"$Elements\n%d\n" % (n_triangles + n_tets))
        _write_run(file, TRIANGLE, 1, record.tri_tags, record.triangles)
        _write_run(file, TETRAHEDRON, 1 + n_triangles, record.tet_tags, record.tets)
        file.write(b"$EndElements\n")
        for section, fields in (("NodeData", node_fields), ("ElementData", tet_fields)):
            for name, values in fields.items():
                _write_data(file, section, name, values)


def _field(name, values, n):
    values = np.asarray(values, np.float64)
    values = values[:, None] if values.ndim == 1 else values
    if values.ndim != 2 or len(values) != n or values.shape[1] not in (1, 3, 9):
        raise FormatError(f"field {name!r} has shape {values.shape}; Gmsh needs ({n},), ({n}, 3) or ({n}, 9)")
    return values


def _write_run(file, kind, first, tags, nodes):
    if not len(nodes):
        return
    numbers = np.arange(first, first + len(nodes))
    rows = np.column_stack([numbers, tags, tags, nodes + 1]).astype("<i4")
    file.write(np.array([kind, len(nodes), 2], "<i4").tobytes() + rows.tobytes())


def _write_data(file, section, name, values):
    n, components = values.shape
    head = f'${section}\n1\n"{name}"\n1\n0\n3\n0\n{components}\n{n}\n'
    rows = np.empty(n, [("tag", "<i4"), ("value", "<f8", components)])
    rows["tag"] = np.arange(1, n + 1)
    rows["value"] = values
    file.write(head.encode() + rows.tobytes() + f"$End{section}\n".encode())


def _tetrahedron_of_triangles(record):
    """A tetrahedron that each triangle is a face of, -1 where there is none."""
    touched = np.zeros(len(record.nodes), bool)
    touched[record.triangles] = True
    near = np.flatnonzero(touched[record.tets].sum(axis=1) >= 3)
    faces = np.sort(record.tets[near][:, [[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]]].reshape(-1, 3), axis=1)
    wanted = np.sort(record.triangles, axis=1)
    _, group = np.unique(np.concatenate([wanted, faces]), axis=0, return_inverse=True)
    group = group.ravel()
    owner = np.full(group.max() + 1, -1)
    owner[group[len(wanted) :]] = np.repeat(near, 4)
    return owner[group[: len(wanted)]]


def _on_triangles(values, owner):
    return np.where(owner[:, None] >= 0, values[owner], np.nan)
