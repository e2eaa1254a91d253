"""SimNIBS ``.tcd`` coil files: JSON with dipole, line and sampled-grid elements.

A coil is a list of elements, each driven by one of several stimulators and moved by deformations
in the order they are listed. Points are millimetres, dipole moments A m^2 per ampere of coil
current, line elements the vector (mm) along which one ampere flows, sampled grids A in T m per
ampere. Arrays are nested lists, or text: base64 of the raw little-endian bytes (float64; int64 for
faces), compressed with zlib or not; all three occur.

A packed sampled grid is a Python pickle in files in the wild. Loading a pickle runs whatever code
its author put there, so it is refused. Decompression stops at `MAX_BYTES`.
"""

import base64
import json
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from efield.errors import FormatError
from efield.io.atomic import atomic_path
from efield.io.checked_json import Budget, Node, load_json, shown
from efield.io.stimulator import DIDT_RANGE, Stimulator, Waveform

__all__ = [
    "DeformRange",
    "Deformation",
    "Element",
    "Surface",
    "TcdRecord",
    "read_tcd",
    "write_tcd",
]

MAX_BYTES = 1 << 28
"""All packed arrays of a file together, unpacked: 256 MiB hold eleven million points."""

MAX_COORDINATE_MM = 2000.0
"""No TMS coil reaches two metres: points that seem to are not in millimetres."""

DIPOLES, LINES, GRID = 1, 2, 3

DEFORMATIONS = ("x", "y", "z", "rot2p")


@dataclass(frozen=True, eq=False)
class DeformRange:
    """Values a deformation may take: mm for a translation, degrees for a rotation."""

    initial: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class Deformation:
    """A translation (``x``, ``y``, ``z``) or a rotation (``rot2p``) about the axis from one point to another.

    Several deformations may share a range, and then a value.
    """

    kind: str
    range: int
    point1_mm: np.ndarray | None = None
    point2_mm: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Surface:
    """A casing: points (n, 3) mm, faces (m, 3), and points meant to lie close to the head."""

    points_mm: np.ndarray
    faces: np.ndarray
    min_distance_points_mm: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Element:
    """One stimulating element.

    Parameters
    ----------
    kind : {1, 2, 3}
        `DIPOLES`, `LINES` or `GRID`.
    stimulator : int
    points_mm, values : (n, 3) arrays or None
        Dipoles: moments, A m^2 per A. Lines: the current's path, mm.
    data : (nx, ny, nz, 3) array or None
        Grid: A, T m per A.
    affine : (4, 4) array or None
        Grid: voxel indices to mm.
    name : str or None
    casing : int or None
        Into `TcdRecord.surfaces`.
    deformations : tuple of int
        Applied in this order.
    """

    kind: int
    stimulator: int
    points_mm: np.ndarray | None = None
    values: np.ndarray | None = None
    data: np.ndarray | None = None
    affine: np.ndarray | None = None
    name: str | None = None
    casing: int | None = None
    deformations: tuple = ()


@dataclass(frozen=True, eq=False)
class TcdRecord:
    """What a ``.tcd`` file says, in the file's units.

    Attributes
    ----------
    elements : tuple of Element
    stimulators : tuple of Stimulator
    name, brand, version : str or None
    limits_mm : (3, 2) array or None
    resolution_mm : (3,) array or None
    casing : int or None
        The whole coil's casing, into `surfaces`.
    deformations : tuple of Deformation
    ranges : tuple of DeformRange
    surfaces : tuple of Surface
    self_intersection : tuple of tuple of int
        Groups of parts that must not meet: 0 is the whole coil's casing, k is element k - 1.
    """

    elements: tuple
    stimulators: tuple
    name: str | None = None
    brand: str | None = None
    version: str | None = None
    limits_mm: np.ndarray | None = None
    resolution_mm: np.ndarray | None = None
    casing: int | None = None
    deformations: tuple = ()
    ranges: tuple = ()
    surfaces: tuple = ()
    self_intersection: tuple = field(default=())


def read_tcd(path):
    """Read a ``.tcd`` coil file.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    TcdRecord

    Raises
    ------
    FormatError
        Not readable, not JSON, keys missing, unknown or of the wrong type, values out of range or not
        finite, arrays that do not unpack, indices that point nowhere, points that are not in mm, or a
        pickled grid. The message names file and key.
    """
    path = Path(path)
    try:
        return _record(Node(load_json(path), "", Budget(MAX_BYTES)))
    except FormatError as error:
        raise FormatError(f"{path}: {error}") from None


def write_tcd(path, record):
    """Write a ``.tcd`` coil file, atomically; `read_tcd` gives the same numbers back.

    Points and values are packed (base64 of zlib); sampled grids are written as text, because other
    programs unpickle a packed one.

    Parameters
    ----------
    path : path-like
    record : TcdRecord

    Raises
    ------
    FormatError
        A record that `read_tcd` would refuse.
    OutputError
        The file cannot be written.
    """
    plain = _plain(record)
    try:
        _record(Node(plain, "", Budget(MAX_BYTES)))
    except FormatError as error:
        raise FormatError(f"{path}: cannot be written: {error}") from None
    text = json.dumps(plain, indent=1, allow_nan=False)
    with atomic_path(path) as temporary:
        Path(temporary).write_text(text + "\n", encoding="utf-8", newline="\n")


def _points(node):
    """Points (n, 3) of a coil, mm."""
    points = node.array(-1, 3)
    reach = np.abs(points).max()
    if reach > MAX_COORDINATE_MM:
        node.fail(f"reaches {reach:g} mm, which is no coil; points of a .tcd are millimetres")
    return points


def _record(root):
    node = root.object(
        ("coilElementList", "stimulatorList"),
        (
            *("name", "brand", "version", "limits", "resolution", "coilCasing"),
            *("deformList", "deformRangeList", "coilModels", "selfIntersectionTest"),
        ),
    )
    stimulators = tuple(_stimulator(n) for n in node["stimulatorList"].list(1))
    ranges = tuple(_range(n) for n in _listed(node, "deformRangeList"))
    deformations = tuple(_deformation(n, len(ranges)) for n in _listed(node, "deformList"))
    surfaces = tuple(_surface(n) for n in _listed(node, "coilModels"))
    elements = tuple(
        _element(n, len(stimulators), len(surfaces), len(deformations))
        for n in node["coilElementList"].list(1)
    )
    return TcdRecord(
        elements=elements,
        stimulators=stimulators,
        **{key: node[key].text() for key in ("name", "brand", "version") if key in node},
        limits_mm=_limits(node["limits"]) if "limits" in node else None,
        resolution_mm=_resolution(node["resolution"]) if "resolution" in node else None,
        casing=node["coilCasing"].index(len(surfaces), "coilModels") if "coilCasing" in node else None,
        deformations=deformations,
        ranges=ranges,
        surfaces=surfaces,
        self_intersection=tuple(_group(n, len(elements)) for n in _listed(node, "selfIntersectionTest")),
    )


def _listed(node, key):
    return node[key].list() if key in node else []


def _limits(node):
    limits = node.array(3, 2, packed=False)
    if not (limits[:, 0] < limits[:, 1]).all():
        node.fail(f"each minimum must be below its maximum: {limits.tolist()}")
    return limits


def _resolution(node):
    resolution = node.array(3, packed=False)
    if not (resolution > 0).all():
        node.fail(f"must be positive: {resolution.tolist()}")
    return resolution


def _group(node, n_elements):
    group = tuple(n.index(n_elements + 1, "parts (casing and elements)") for n in node.list(2))
    if len(set(group)) != len(group):
        node.fail(f"names a part twice: {list(group)}")
    return group


def _stimulator(node):
    fields = node.object((), ("name", "brand", "maxdIdt", "waveformList"))
    return Stimulator(
        name=fields["name"].text() if "name" in fields else None,
        brand=fields["brand"].text() if "brand" in fields else None,
        max_didt=_didt(fields["maxdIdt"]) if "maxdIdt" in fields else None,
        waveforms=tuple(_waveform(n) for n in _listed(fields, "waveformList")),
    )


def _didt(node):
    """Largest dI/dt, A/s."""
    low, high = DIDT_RANGE
    if not low <= node.number() <= high:
        node.fail(f"is {node.number():g}, outside {low:g} to {high:g} A/s; a .tcd states A/s")
    return node.number()


def _waveform(node):
    fields = node.object(("time", "signal"), ("name", "fit"))
    time = fields["time"].array(-1)
    columns = {key: fields[key].array(-1) for key in ("signal", "fit") if key in fields}
    for key, column in columns.items():
        if len(column) != len(time):
            fields[key].fail(f"has {len(column)} samples, but time has {len(time)}")
    if len(time) < 2 or not (np.diff(time) > 0).all():
        fields["time"].fail("must hold at least two rising times")
    name = fields["name"].text() if "name" in fields else None
    return Waveform(name, time, columns["signal"], columns.get("fit"))


def _range(node):
    fields = node.object(("initial", "range"))
    low, high = fields["range"].array(2, packed=False).tolist()
    initial = fields["initial"].number()
    if not low <= initial <= high:
        node.fail(f"initial {initial:g} lies outside the range [{low:g}, {high:g}]")
    return DeformRange(initial, low, high)


def _deformation(node, n_ranges):
    fields = node.object(("deformRange", "type"), ("point1", "point2"))
    kind = fields["type"].text()
    if kind not in DEFORMATIONS:
        fields["type"].fail(f"is {shown(kind)}; known are {', '.join(DEFORMATIONS)}")
    index = fields["deformRange"].index(n_ranges, "deformRangeList entries")
    if kind != "rot2p":
        return Deformation(kind, index)
    if "point1" not in fields or "point2" not in fields:
        node.fail("a rotation 'rot2p' needs point1 and point2")
    ends = [fields[key].array(3, packed=False) for key in ("point1", "point2")]
    if np.linalg.norm(ends[1] - ends[0]) < 1e-6:
        node.fail(f"point1 and point2 are the same, {ends[0].tolist()}: they span no axis")
    return Deformation(kind, index, *ends)


def _surface(node):
    fields = node.object(("points", "faces"), ("minDistancePoints", "intersectPoints"))
    points = _points(fields["points"])
    faces = fields["faces"].array(-1, 3, dtype=np.int64)
    if faces.min() < 0 or faces.max() >= len(points):
        bad = int(np.argmax(((faces < 0) | (faces >= len(points))).any(axis=1)))
        fields["faces"].fail(f"face {bad} is {faces[bad].tolist()}, but there are {len(points)} points")
    close = _points(fields["minDistancePoints"]) if "minDistancePoints" in fields else None
    return Surface(points, faces, close)


def _element(node, n_stimulators, n_surfaces, n_deformations):
    optional = ("name", "elementCasing", "deformations", "points", "values", "data", "affine")
    fields = node.object(("type", "stimulator"), optional)
    kind = fields["type"].index(GRID + 1, "types")
    if kind not in (DIPOLES, LINES, GRID):
        fields["type"].fail(f"is {kind}; known are 1 (dipoles), 2 (lines) and 3 (sampled grid)")
    wanted, others = ("data", "affine"), ("points", "values")
    if kind != GRID:
        wanted, others = others, wanted
    for key in wanted:
        if key not in fields:
            node.fail(f"of type {kind} needs {key!r}")
    for key in others:
        if key in fields:
            node.fail(f"of type {kind} may not have {key!r}")
    deformations = _listed(fields, "deformations")
    casing = fields.get("elementCasing")
    return Element(
        kind=kind,
        stimulator=fields["stimulator"].index(n_stimulators, "stimulators"),
        **(_grid(fields) if kind == GRID else _vectors(fields)),
        name=fields["name"].text() if "name" in fields else None,
        casing=None if casing is None else casing.index(n_surfaces, "coilModels"),
        deformations=tuple(n.index(n_deformations, "deformList entries") for n in deformations),
    )


def _vectors(fields):
    lines = fields["type"].value == LINES
    points, values = _points(fields["points"]), fields["values"]
    values = _points(values) if lines else values.array(-1, 3)
    if len(points) != len(values):
        fields["values"].fail(f"has {len(values)} rows, but points has {len(points)}")
    if not values.any():
        fields["values"].fail("is all zero: the element makes no field")
    return {"points_mm": points, "values": values}


def _grid(fields):
    if isinstance(fields["data"].value, str):
        fields["data"].fail(
            "is a packed grid, which is a Python pickle: loading one runs any code its author put into "
            "it, so efield never does. Write the coil again with its arrays as text (in SimNIBS: "
            "ascii_mode=True), or give the sampled field as .nii.gz"
        )
    data, affine = fields["data"].array(-1, -1, -1, 3), fields["affine"].array(4, 4, packed=False)
    if abs(np.linalg.det(affine[:3, :3])) < 1e-12 or not np.array_equal(affine[3], [0, 0, 0, 1]):
        fields["affine"].fail(f"is not an invertible map of voxels to mm: {affine.tolist()}")
    return {"data": data, "affine": affine}


def _plain(record):
    """The record as JSON values."""
    return _without_none(
        {
            "name": record.name,
            "brand": record.brand,
            "version": record.version,
            "limits": _lists(record.limits_mm),
            "resolution": _lists(record.resolution_mm),
            "coilCasing": record.casing,
            "coilElementList": [_plain_element(e) for e in record.elements],
            "stimulatorList": [_plain_stimulator(s) for s in record.stimulators],
            "deformList": [_plain_deformation(d) for d in record.deformations] or None,
            "deformRangeList": [{"initial": r.initial, "range": [r.low, r.high]} for r in record.ranges]
            or None,
            "coilModels": [_plain_surface(s) for s in record.surfaces] or None,
            "selfIntersectionTest": [list(group) for group in record.self_intersection] or None,
        }
    )


def _plain_element(element):
    return _without_none(
        {
            "name": element.name,
            "stimulator": element.stimulator,
            "elementCasing": element.casing,
            "deformations": list(element.deformations) or None,
            "type": element.kind,
            "points": _packed(element.points_mm, "<f8"),
            "values": _packed(element.values, "<f8"),
            "data": _lists(element.data),
            "affine": _lists(element.affine),
        }
    )


def _plain_stimulator(stimulator):
    waveforms = [
        _without_none(
            {
                "name": w.name,
                "time": _packed(w.time, "<f8"),
                "signal": _packed(w.signal, "<f8"),
                "fit": _packed(w.fit, "<f8"),
            }
        )
        for w in stimulator.waveforms
    ]
    named = {"name": stimulator.name, "brand": stimulator.brand, "maxdIdt": stimulator.max_didt}
    return _without_none({**named, "waveformList": waveforms or None})


def _plain_deformation(deformation):
    return _without_none(
        {
            "deformRange": deformation.range,
            "type": deformation.kind,
            "point1": _lists(deformation.point1_mm),
            "point2": _lists(deformation.point2_mm),
        }
    )


def _plain_surface(surface):
    return _without_none(
        {
            "points": _packed(surface.points_mm, "<f8"),
            "faces": _packed(surface.faces, "<i8"),
            "minDistancePoints": _packed(surface.min_distance_points_mm, "<f8"),
        }
    )


def _without_none(mapping):
    return {key: value for key, value in mapping.items() if value is not None}


def _lists(array):
    return None if array is None else np.asarray(array, dtype=np.float64).tolist()


def _packed(array, dtype):
    if array is None:
        return None
    return base64.b64encode(zlib.compress(np.ascontiguousarray(array, dtype).tobytes())).decode("ascii")
