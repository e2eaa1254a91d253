"""InVesalius Navigator: markers (``.mkss``), a version line and a tab-separated table.

``x_world`` ... ``gamma_world`` are millimetres and degrees in the world of the image (RAS); the angles turn
about the fixed x, y, z in that order. ``x`` ... ``gamma`` are the same in the image's own frame, from which
InVesalius itself loads a marker: to write them the image is needed.
"""

import math

import numpy as np

from efield.errors import FormatError
from efield.io.navigation.axes import from_matsimnibs, to_matsimnibs
from efield.io.navigation.image import canonical_frame
from efield.io.navigation.records import NamedPoint, PoseRecord, SessionRecord, Skipped
from efield.io.navigation.text import number

MAGIC = "##INVESALIUS3_MARKER_FILE_"
VERSIONS = ("0", "1", "2", "3", "4")
KINDS = {0: "fiducial", 1: "landmark", 2: "brain target"}
COIL_TARGET, COIL_POSE = 3, 4
WORLD = ("x_world", "y_world", "z_world", "alpha_world", "beta_world", "gamma_world")
MISSING = ("N/A", "None", "")
TEXT_COLUMNS = ("label",)
DEFAULTS = {
    "marker_id": 0,
    **dict.fromkeys(("x", "y", "z", "alpha", "beta", "gamma")),
    **{"r": 0.0, "g": 1.0, "b": 0.0, "size": 2.0, "label": "", "x_seed": 0.0, "y_seed": 0.0, "z_seed": 0.0},
    **{"is_target": False, "is_point_of_interest": False, "session_id": 1},
    **dict.fromkeys(("x_cortex", "y_cortex", "z_cortex", "alpha_cortex", "beta_cortex", "gamma_cortex")),
    **{
        "marker_type": COIL_TARGET,
        "z_rotation": 0.0,
        "z_offset": 0.0,
        "mep_value": None,
        "brain_target_list": "[]",
    },
    **dict.fromkeys(WORLD),
}
"""Columns of version 3 in their order, with what a marker has where nothing is known."""


def read(path, text):
    """Read a marker file.

    Returns
    -------
    SessionRecord
    """
    lines = text.splitlines()
    version = lines[0].strip().rpartition("_")[2]
    if version not in VERSIONS:
        raise FormatError(f"{path}, line 1: marker file version {version[:20]!r} is unknown; known: 0 to 4")
    if len(lines) < 2:
        raise FormatError(f"{path}: no line of column names; the file is truncated")
    columns = [_unquoted(cell) for cell in lines[1].split("\t")]
    lacking = [c for c in (*WORLD, "label") if c not in columns]
    if lacking:
        raise FormatError(f"{path}, line 2: lacks the columns {', '.join(lacking)}")
    poses, points, skipped = [], [], []
    for i, line in enumerate(lines[2:], 3):
        if not line.strip():
            continue
        cells = line.split("\t")
        if len(cells) != len(columns):
            raise FormatError(
                f"{path}, line {i}: {len(cells)} of {len(columns)} columns; was the file cut short?"
            )
        row = dict(zip(columns, map(_unquoted, cells), strict=True))
        _read_row(path, f"line {i}", row, i - 2, poses, points, skipped)
    return SessionRecord("invesalius", tuple(poses), tuple(points), tuple(skipped))


def _read_row(path, where, row, i, poses, points, skipped):
    name = row["label"].strip() or f"marker {i}"
    kind = _kind(path, where, row)
    if any(row[column] in MISSING for column in WORLD[:3]):
        skipped.append(Skipped(name, where, "no world coordinates: the project has no NIfTI frame"))
        return
    position = [number(row[column], f"{path}, {where}, {column}") for column in WORLD[:3]]
    if kind in KINDS:
        points.append(NamedPoint(name, KINDS[kind], np.array(position)))
    elif any(row[column] in MISSING for column in WORLD[3:]):
        skipped.append(Skipped(name, where, "no orientation"))
    else:
        angles = [number(row[column], f"{path}, {where}, {column}") for column in WORLD[3:]]
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = rotation_of(angles), position
        matsimnibs = to_matsimnibs("invesalius", pose)
        poses.append(PoseRecord(matsimnibs, name, where, "sample" if kind == COIL_POSE else "target"))


def _kind(path, where, row):
    """The marker's type; files before version 2 have none and mark poses by their angles alone."""
    if "marker_type" not in row:
        return 1 if row.get("alpha", "None") in MISSING else COIL_TARGET
    text = row["marker_type"]
    if text not in {str(kind) for kind in (*KINDS, COIL_TARGET, COIL_POSE)}:
        raise FormatError(f"{path}, {where}: marker_type is {text[:20]!r}; known: 0 to 4")
    return int(text)


def _unquoted(cell):
    cell = cell.strip()
    return cell[1:-1] if len(cell) > 1 and cell[0] == cell[-1] == '"' else cell


def rotation_of(degrees):
    """Rotation matrix of turns about the fixed axes x, y, z, in this order."""
    (ca, cb, cg), (sa, sb, sg) = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    about_x = np.array([[1, 0, 0], [0, ca, -sa], [0, sa, ca]])
    about_y = np.array([[cb, 0, sb], [0, 1, 0], [-sb, 0, cb]])
    about_z = np.array([[cg, -sg, 0], [sg, cg, 0], [0, 0, 1]])
    return about_z @ about_y @ about_x


def angles_of(rotation):
    """Degrees about the fixed axes x, y, z whose `rotation_of` is `rotation`."""
    level = math.hypot(rotation[0, 0], rotation[1, 0])
    beta = math.atan2(-rotation[2, 0], level)
    if level > 1e-9:
        alpha, gamma = math.atan2(rotation[2, 1], rotation[2, 2]), math.atan2(rotation[1, 0], rotation[0, 0])
    else:  # x points along z: only the sum or difference of the others is defined
        alpha, gamma = math.atan2(-rotation[1, 2], rotation[1, 1]), 0.0
    return [math.degrees(angle) for angle in (alpha, beta, gamma)]


def write(records, image=None):
    """Text of a marker file of version 3.

    Parameters
    ----------
    records : sequence of PoseRecord
    image : path-like or None
        The NIfTI that InVesalius shows. Without it the columns it loads a marker from stay ``None``.
    """
    frame, y_extent = (None, None) if image is None else canonical_frame(image)
    lines = [f"{MAGIC}3", "\t".join(f'"{column}"' for column in DEFAULTS)]
    for i, record in enumerate(records):
        pose = from_matsimnibs("invesalius", record.matsimnibs)
        row = dict(DEFAULTS, marker_id=i, label=record.name)
        row["marker_type"] = COIL_POSE if record.kind == "sample" else COIL_TARGET
        row |= dict(zip(WORLD, (*pose[:3, 3].tolist(), *angles_of(pose[:3, :3])), strict=True))
        if frame is not None:
            inside = np.linalg.inv(frame) @ pose
            place = inside[:3, 3].tolist()
            values = (place[0], y_extent - place[1], place[2], *angles_of(inside[:3, :3]))
            row |= dict(zip(("x", "y", "z", "alpha", "beta", "gamma"), values, strict=True))
        cells = (f'"{value}"' if key in TEXT_COLUMNS else str(value) for key, value in row.items())
        lines.append("\t".join(cells))
    return "\n".join([*lines, ""])
