"""A compact file for a tetrahedral head mesh, read with numpy and zlib alone.

Node, tetrahedron and vertex order survive exactly; coordinates are rounded to 1 micrometre
(at most 0.5 micrometre per coordinate), which is checked to invert no tetrahedron.

Layout: one text line ``efield-mesh 1 <header bytes> <header CRC-32 as 8 hex digits>``, a JSON
header, then zlib streams end to end. A stream is one byte plane (least significant first)
of an array of unsigned integers; the header lists arrays and stream lengths in order.

Meshers number at random, so a file in original order hardly compresses. The mesh is
therefore stored as it would be in a better order, with the permutations back:

1. nodes along a Morton curve, each coordinate as the zigzag of its difference to the node before;
2. tetrahedra by their ascending vertices a < b < c < d in those node numbers, sorted:
   how many start at each a; b relative to the previous b of the same a; c to the previous c
   of the same (a, b); d relative to c;
3. the permutations of nodes, of tetrahedra, and of the vertices within each.
"""

import json
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from efield.errors import FormatError
from efield.io.atomic import atomic_path
from efield.io.records import MeshRecord

MAGIC = b"efield-mesh 1 "
STEPS_PER_MM = 1000
LARGEST_MM = 1000  # 21 bits per coordinate in the Morton code

_ROWS = 2**14

# The place of each ascending vertex, for the 24 orders of four vertices.
_ORDERS = np.array(
    [(a, b, c, 6 - a - b - c) for a in range(4) for b in range(4) for c in range(4) if len({a, b, c}) == 3],
    np.uint8,
)


def write_packed(path, record):
    """Write `record`, whose coordinates are millimetres; triangles are not supported.

    Raises
    ------
    FormatError
        The record has triangles, negative tags, coordinates that are not finite or beyond 1 m,
        or a tetrahedron that is flat, or inverted or flattened by rounding to 1 micrometre.
    """
    if len(record.triangles):
        raise FormatError(f"{path}: packed meshes hold tetrahedra only; drop the triangles first")
    if not np.all(np.abs(record.nodes) < LARGEST_MM):  # false for NaN, too
        raise FormatError(f"{path}: coordinates must be finite and below {LARGEST_MM} mm to be packed")
    if len(record.tet_tags) and record.tet_tags.min() < 0:
        raise FormatError(f"{path}: tag {record.tet_tags.min()} is negative; tags must not be to be packed")
    steps = np.rint(record.nodes * STEPS_PER_MM).astype(np.int64)
    _check_rounding(path, record, steps)
    arrays = _pack(steps, record.tets, record.tet_tags)
    planes = [(name, plane) for name, values in arrays.items() for plane in _planes(values)]
    streams = [zlib.compress(plane, 9) for _, plane in planes]
    counts = {name: sum(name == other for other, _ in planes) for name in arrays}
    header = {
        "n_nodes": len(record.nodes),
        "n_tets": len(record.tets),
        "steps_per_mm": STEPS_PER_MM,
        "arrays": [[name, len(values), counts[name]] for name, values in arrays.items()],
        "stream_bytes": [len(stream) for stream in streams],
        "names": {str(tag): name for tag, name in sorted(record.names.items())},
    }
    header = json.dumps(header, separators=(",", ":")).encode()
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        file.write(MAGIC + b"%d %08x\n" % (len(header), zlib.crc32(header)) + header)
        file.writelines(streams)


def read_packed(path):
    """Read a packed mesh; coordinates are millimetres.

    Returns
    -------
    MeshRecord

    Raises
    ------
    FormatError
        Not a packed mesh, truncated or damaged (header and streams carry checksums).
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise FormatError(f"cannot read {path}: {error.strerror or error}") from error
    try:
        header, offset = _read_header(path, data)
        n_nodes, n_tets = header["n_nodes"], header["n_tets"]
        arrays = _read_arrays(data, offset, header["arrays"], header["stream_bytes"])
        steps, tets, tags = _unpack(arrays, n_nodes, n_tets)
        names = {int(tag): name for tag, name in header["names"].items()}
        return MeshRecord(steps / header["steps_per_mm"], tets, tags, names=names)
    except FormatError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError, zlib.error) as error:
        raise FormatError(
            f"{path}: damaged or truncated packed mesh ({error}); install or copy it again"
        ) from error


def _check_rounding(path, record, steps):
    before = _orientation(record.nodes, record.tets)
    after = _orientation(steps.astype(np.float64), record.tets)
    changed = np.flatnonzero((before != after) | (before == 0))
    if len(changed):
        raise FormatError(
            f"{path}: rounding to 1 micrometre would invert or flatten {len(changed)} tetrahedra, "
            f"the first is {changed[0]}; remove such slivers first"
        )


def _orientation(nodes, tets):
    a, b, c, d = (nodes[tets[:, k]] for k in range(4))
    return np.sign(np.einsum("ij,ij->i", np.cross(b - a, c - a), d - a))


def _pack(steps, tets, tags):
    n_nodes = len(steps)
    order = np.argsort(_morton(steps - steps.min(axis=0)), kind="stable")
    rank = np.empty(n_nodes, np.int64)
    rank[order] = np.arange(n_nodes)
    difference = np.diff(steps[order], axis=0, prepend=0)
    zigzag = (difference << 1) ^ (difference >> 63)

    vertices = rank[tets]
    places = np.argsort(vertices, axis=1)
    rising = np.take_along_axis(vertices, places, axis=1)
    sorting = np.lexsort(rising.T[::-1])
    a, b, c, d = rising[sorting].T
    new_a = np.diff(a, prepend=-1) != 0
    new_b = new_a | (np.diff(b, prepend=-1) != 0)
    weights = np.array([64, 16, 4, 1])
    code = np.searchsorted(_ORDERS @ weights, places @ weights)
    arrays = {
        "node_order": order,
        "x": zigzag[:, 0],
        "y": zigzag[:, 1],
        "z": zigzag[:, 2],
        "starts": np.bincount(a, minlength=n_nodes),
        "b": np.where(new_a, b - a, np.diff(b, prepend=0)),
        "c": np.where(new_b, c - b, np.diff(c, prepend=0)),
        "d": d - c,
        "tags": tags[sorting],
        "tet_order": sorting,
        "vertex_order": code[sorting],
    }
    return {name: np.ascontiguousarray(values, np.int64) for name, values in arrays.items()}


def _unpack(arrays, n_nodes, n_tets):
    lengths = {name: n_nodes for name in ("node_order", "x", "y", "z", "starts")}
    lengths |= {name: n_tets for name in ("b", "c", "d", "tags", "tet_order", "vertex_order")}
    for name, length in lengths.items():
        if len(arrays[name]) != length:
            raise ValueError(f"array {name!r} has {len(arrays[name])} values, not {length}")
    order, sorting = arrays["node_order"], arrays["tet_order"]
    _check_permutation(order, "node_order")
    _check_permutation(sorting, "tet_order")
    zigzag = np.stack([arrays[name] for name in "xyz"], axis=1).astype(np.int32)
    steps = np.empty((n_nodes, 3), np.int32)
    steps[order] = np.cumsum((zigzag >> 1) ^ -(zigzag & 1), axis=0, dtype=np.int32)

    starts = arrays["starts"]
    if starts.sum(dtype=np.int64) != n_tets:
        raise ValueError("the counts of tetrahedra do not add up")
    rising = np.empty((n_tets, 4), np.int32)
    rising[:, 0] = np.repeat(np.arange(n_nodes, dtype=np.int32), starts)
    first = np.zeros(n_tets, bool)  # of each a, then of each (a, b)
    first[(np.cumsum(starts) - starts)[starts > 0]] = True
    rising[:, 1] = rising[:, 0] + _sum_within(arrays["b"], first)
    first |= arrays["b"] > 0
    rising[:, 2] = rising[:, 1] + _sum_within(arrays["c"], first)
    rising[:, 3] = rising[:, 2] + arrays["d"]
    if n_tets and not 0 <= rising.min() <= rising.max() < n_nodes:
        raise ValueError("node numbers out of range")

    tets = np.empty((n_tets, 4), np.int32)
    for begin in range(0, n_tets, _ROWS):  # short blocks stay in the cache: twice as quick
        rows = slice(begin, begin + _ROWS)
        places = 4 * sorting[rows, None] + _ORDERS[arrays["vertex_order"][rows]]
        tets.reshape(-1)[places] = order[rising[rows]]
    tags = np.empty(n_tets, np.int32)
    tags[sorting] = arrays["tags"]
    return steps, tets, tags


def _sum_within(increments, first):
    """Running sum of `increments` that starts anew at each `first`."""
    total = np.cumsum(increments, dtype=np.int64)
    begin = np.flatnonzero(first)
    before = total[begin] - increments[begin]
    lengths = np.diff(begin, append=len(increments))
    return (total - np.repeat(before, lengths)).astype(np.int32)


def _check_permutation(values, name):
    seen = np.zeros(len(values), bool)
    seen[values] = True
    if not seen.all():
        raise ValueError(f"{name} is no permutation")


def _morton(steps):
    """Interleave the bits of three coordinates of at most 21 bits."""
    code = np.zeros(len(steps), np.uint64)
    for axis in range(3):
        bits = steps[:, axis].astype(np.uint64)
        for bit in range(21):
            code |= ((bits >> np.uint64(bit)) & np.uint64(1)) << np.uint64(3 * bit + axis)
    return code


def _planes(values):
    """Bytes of non-negative integers below 2**32, least significant plane first."""
    octets = values.astype("<u4").view(np.uint8).reshape(-1, 4)
    n_planes = max(1, (int(values.max(initial=0)).bit_length() + 7) // 8)
    return [np.ascontiguousarray(octets[:, k]) for k in range(n_planes)]


def _read_header(path, data):
    end = data.find(b"\n", 0, 80)
    words = data[len(MAGIC) : end].split()
    if not data.startswith(MAGIC) or end < 0 or len(words) != 2 or not words[0].isdigit():
        raise FormatError(f"{path}: not a packed efield mesh (version 1)")
    offset = end + 1 + int(words[0])
    text = data[end + 1 : offset]
    if b"%08x" % zlib.crc32(text) != words[1]:
        raise ValueError("wrong checksum of the header")
    return json.loads(text), offset


def _read_arrays(data, offset, arrays, stream_bytes):
    """Decompress the byte planes, in as many threads as there are cores."""
    if offset + sum(stream_bytes) != len(data):
        raise ValueError(f"{len(data)} bytes, expected {offset + sum(stream_bytes)}")
    edges = offset + np.concatenate([[0], np.cumsum(stream_bytes)])
    if not all(1 <= n_planes <= 4 for _, _, n_planes in arrays):
        raise ValueError("an array has no planes, or too many")
    jobs = [(name, length) for name, length, n_planes in arrays for _ in range(n_planes)]
    view = memoryview(data)

    def plane(job, begin, end):
        stream = zlib.decompressobj()
        octets = stream.decompress(view[begin:end], job[1] + 1)
        if len(octets) != job[1] or not stream.eof:
            raise ValueError(f"array {job[0]!r} is not {job[1]} long")
        return np.frombuffer(octets, np.uint8)

    with ThreadPoolExecutor() as pool:
        planes = list(pool.map(plane, jobs, edges[:-1], edges[1:]))
    result = {}
    for name, _, n_planes in arrays:
        values = planes.pop(0).astype(np.int32)
        for k in range(1, n_planes):
            values |= planes.pop(0).astype(np.int32) << (8 * k)
        result[name] = values
    return result
