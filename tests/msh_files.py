"""Gmsh files written by hand from the format's description, independent of efield's writer."""

import struct

import numpy as np

SMALL = {
    "nodes": [[0, 0, 0], [10, 0, 0], [0, 10, 0], [0, 0, 10], [10, 10, 10]],
    "tets": [([0, 1, 2, 3], 2), ([1, 2, 3, 4], 5)],
    "triangles": [([0, 1, 2], 1002), ([1, 2, 4], 1005), ([2, 3, 4], 1005)],
    "points": [([0], 9)],
}
"""Zero-based node lists with their region."""

TYPES = {"points": 15, "triangles": 2, "tets": 4}


def ids(mesh, sparse):
    """Node numbers of the file: 1, 2, ... or scattered and out of order."""
    n = len(mesh["nodes"])
    return [1000 - 37 * i for i in range(n)] if sparse else list(range(1, n + 1))


def msh22_ascii(mesh=SMALL, *, sparse=False, newline="\n"):
    """Version 2.2, text."""
    number = ids(mesh, sparse)
    rows = ["$MeshFormat", "2.2 0 8", "$EndMeshFormat"]
    rows += ["$PhysicalNames", "2", '3 2 "grey"', '3 5 "the scalp"', "$EndPhysicalNames"]
    rows += ["$Nodes", str(len(number))]
    rows += [f"{i} {x:.16g} {y:.16g} {z:.16g}" for i, (x, y, z) in zip(number, mesh["nodes"], strict=True)]
    rows += ["$EndNodes", "$Elements", str(sum(len(mesh[kind]) for kind in TYPES))]
    count = 0
    for kind, code in TYPES.items():
        for nodes, tag in mesh[kind]:
            count += 1
            listed = " ".join(str(number[k]) for k in nodes)
            rows.append(f"{count} {code} 2 {tag} 77 {listed}")
    rows += ["$EndElements", ""]
    return newline.join(rows).encode()


def msh22_binary(mesh=SMALL, *, sparse=False, order="<", run=None, end=b"\n"):
    """Version 2.2, binary; `run` elements per header (None: all of a type)."""
    number = ids(mesh, sparse)
    out = b"$MeshFormat\n2.2 1 8\n" + struct.pack(order + "i", 1) + b"\n$EndMeshFormat\n"
    out += b"$Nodes\n%d\n" % len(number)
    for i, xyz in zip(number, mesh["nodes"], strict=True):
        out += struct.pack(order + "i3d", i, *xyz)
    out += end + b"$EndNodes\n$Elements\n%d\n" % sum(len(mesh[kind]) for kind in TYPES)
    count = 0
    for kind, code in TYPES.items():
        elements = mesh[kind]
        step = run or max(1, len(elements))
        for begin in range(0, len(elements), step):
            part = elements[begin : begin + step]
            out += struct.pack(order + "3i", code, len(part), 2)
            for nodes, tag in part:
                count += 1
                values = [count, tag, 77, *(number[k] for k in nodes)]
                out += struct.pack(f"{order}{len(values)}i", *values)
    return out + end + b"$EndElements\n"


def _entities(mesh):
    """Entities by (dimension, tag) with physical tags; blocks of nodes and elements."""
    blocks = []
    for kind, dimension in (("points", 0), ("triangles", 2), ("tets", 3)):
        for tag in sorted({tag for _, tag in mesh[kind]}):
            blocks.append((dimension, tag + 20, tag, TYPES[kind], [n for n, t in mesh[kind] if t == tag]))
    return blocks


def msh41(mesh=SMALL, *, binary, sparse=False, order="<", physical=True, size=8, parametric=False):
    """Version 4.1; without `physical` the entity tag is all there is."""
    number = ids(mesh, sparse)
    writer = _Binary(order, size) if binary else _Text()
    blocks = _entities(mesh)
    out = b"$MeshFormat\n4.1 %d %d\n" % (binary, size)
    out += (struct.pack(order + "i", 1) + b"\n" if binary else b"") + b"$EndMeshFormat\n"
    writer.sizes(*(sum(b[0] == d for b in blocks) for d in range(4)))
    for d in range(4):
        for dimension, entity, tag, _, _ in blocks:
            if dimension == d:
                writer.ints(entity)
                writer.doubles(*([0.5] * (3 if d == 0 else 6)))
                writer.sizes(int(physical))
                if physical:
                    writer.ints(-tag if dimension == 3 else tag)  # negative: reversed
                if d:
                    writer.sizes(2)
                    writer.ints(4, -5)
                writer.line()
    out += writer.section("Entities")
    half = len(number) // 2
    writer.sizes(2, len(number), min(number), max(number))
    writer.line()
    for begin, stop in ((0, half), (half, len(number))):
        writer.ints(2, 1, int(parametric))
        writer.sizes(stop - begin)
        writer.line()
        for i in number[begin:stop]:
            writer.sizes(i)
            writer.line()
        for xyz in mesh["nodes"][begin:stop]:
            writer.doubles(*xyz, *([0.25, 0.75] if parametric else []))
            writer.line()
    out += writer.section("Nodes")
    total = sum(len(b[4]) for b in blocks)
    writer.sizes(len(blocks), total, 1, total)
    writer.line()
    count = 0
    for dimension, entity, _, code, elements in blocks:
        writer.ints(dimension, entity, code)
        writer.sizes(len(elements))
        writer.line()
        for nodes in elements:
            count += 1
            writer.sizes(count, *(number[k] for k in nodes))
            writer.line()
    return out + writer.section("Elements")


class _Text:
    def __init__(self):
        self.rows, self.row = [], []

    def ints(self, *values):
        self.row += [f"{v:d}" for v in values]

    sizes = ints

    def doubles(self, *values):
        self.row += [f"{v:.16g}" for v in values]

    def line(self):
        self.rows.append(" ".join(self.row))
        self.row = []

    def section(self, name):
        if self.row:
            self.line()
        text = "\n".join([f"${name}", *self.rows, f"$End{name}", ""])
        self.rows = []
        return text.encode()


class _Binary:
    def __init__(self, order, size):
        self.order, self.size, self.data = order, "Q" if size == 8 else "I", b""

    def ints(self, *values):
        self.data += struct.pack(f"{self.order}{len(values)}i", *values)

    def sizes(self, *values):
        self.data += struct.pack(f"{self.order}{len(values)}{self.size}", *values)

    def doubles(self, *values):
        self.data += struct.pack(f"{self.order}{len(values)}d", *values)

    def line(self):
        pass

    def section(self, name):
        data, self.data = self.data, b""
        return f"${name}\n".encode() + data + f"\n$End{name}\n".encode()


VARIANTS = {
    "2.2 ascii": lambda sparse: msh22_ascii(sparse=sparse),
    "2.2 ascii crlf": lambda sparse: msh22_ascii(sparse=sparse, newline="\r\n"),
    "2.2 binary": lambda sparse: msh22_binary(sparse=sparse),
    "2.2 binary, no line feeds": lambda sparse: msh22_binary(sparse=sparse, end=b""),
    "2.2 binary, one header per element": lambda sparse: msh22_binary(sparse=sparse, run=1),
    "2.2 binary, two per header": lambda sparse: msh22_binary(sparse=sparse, run=2),
    "2.2 binary, big endian": lambda sparse: msh22_binary(sparse=sparse, order=">"),
    "4.1 ascii": lambda sparse: msh41(binary=False, sparse=sparse),
    "4.1 binary": lambda sparse: msh41(binary=True, sparse=sparse),
    "4.1 binary, 32 bit": lambda sparse: msh41(binary=True, sparse=sparse, size=4),
    "4.1 binary, big endian": lambda sparse: msh41(binary=True, sparse=sparse, order=">"),
    "4.1 ascii, parametric": lambda sparse: msh41(binary=False, sparse=sparse, parametric=True),
    "4.1 binary, parametric": lambda sparse: msh41(binary=True, sparse=sparse, parametric=True),
}
"""Every kind of file the reader must take, all of the same mesh."""


def expected(mesh=SMALL):
    """Arrays of the mesh: nodes, tets, tet tags, triangles, triangle tags."""
    arrays = [np.array(mesh["nodes"], float)]
    for kind in ("tets", "triangles"):
        arrays += [np.array([n for n, _ in mesh[kind]]), np.array([t for _, t in mesh[kind]])]
    return arrays
