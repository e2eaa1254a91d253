"""Brainsight: targets and samples as tab-separated text.

Header lines start with ``#``; so does the line of column names before each table. ``m0n1`` is the second
row of the first column of the rotation. Versions up to 13 name the frame ``NIfTI:Aligned``, later ones
``NIfTI:S:Aligned`` or ``NIfTI:Q:Aligned`` after the sform or qform it comes from: all are the world
coordinates of the NIfTI image, RAS. ``World`` is that of a DICOM image, LPS. ``Brainsight`` counts
millimetres from the centre of the right-anterior-inferior corner voxel and needs the image.
"""

import datetime
import re

import numpy as np

from efield.errors import FormatError
from efield.io.navigation.axes import LPS_TO_RAS, from_matsimnibs, to_matsimnibs
from efield.io.navigation.image import corner_frame, xform_name
from efield.io.navigation.records import NamedPoint, PoseRecord, SessionRecord, Skipped
from efield.io.navigation.text import number, timestamp
from efield.io.navigation.words import CONVENTION, pose_words

PLACE = ("Loc. X", "Loc. Y", "Loc. Z")
ROTATION = tuple(f"m{column}n{row}" for column in range(3) for row in range(3))
MISSING = ("(null)", "")
POSE_TABLES = {"Target Name": "target", "Sample Name": "sample"}
POINT_TABLES = {"Planned Landmark Name": "planned landmark", "Session Landmark Name": "landmark"}
TARGET_COLUMNS = ("Target Name", *PLACE, *ROTATION)
SAMPLE_COLUMNS = ("Sample Name", "Session Name", "Index", "Assoc. Target", *PLACE, *ROTATION)
SAMPLE_COLUMNS += ("Stim. Power", "Date", "Time")
LANDMARK_COLUMNS = ("Planned Landmark Name", *PLACE)
NO_IMAGE = (
    "in Brainsight's own coordinates, which count from a corner of the image: give image= (--image), "
    "the NIfTI used for navigation, or export as NIfTI:Aligned"
)


def read(path, text, image=None):
    """Read an exported text file.

    Parameters
    ----------
    path : path-like
        For messages.
    text : str
    image : path-like or None
        The NIfTI used for navigation; only poses in Brainsight's own coordinates need it.

    Returns
    -------
    SessionRecord
    """
    system, tables = _tables(path, text)
    to_ras = _frame(path, system, image)
    poses, points, skipped = [], [], []
    for columns, where, row in tables:
        name = row[columns[0]].strip()
        if columns[0] in POINT_TABLES and to_ras is not None:
            position = [_number(path, where, row, column) for column in PLACE]
            points.append(
                NamedPoint(name, POINT_TABLES[columns[0]], to_ras[:3, :3] @ position + to_ras[:3, 3])
            )
        elif columns[0] not in POSE_TABLES:
            continue
        elif any(row[column] in MISSING for column in (*PLACE, *ROTATION)):
            skipped.append(Skipped(name, where, "not tracked (null position)"))
        elif to_ras is None:
            skipped.append(Skipped(name, where, NO_IMAGE))
        else:
            values = np.array([_number(path, where, row, column) for column in (*PLACE, *ROTATION)])
            pose = np.eye(4)
            pose[:3, 3], pose[:3, :3] = values[:3], values[3:].reshape(3, 3).T
            kind = POSE_TABLES[columns[0]]
            extra = _sample(path, where, row) if kind == "sample" else {}
            poses.append(PoseRecord(to_matsimnibs("brainsight", to_ras @ pose), name, where, kind, **extra))
    return SessionRecord("brainsight", tuple(poses), tuple(points), tuple(skipped))


def _tables(path, text):
    """The coordinate system, and (column names, place, row as a dict) for every row."""
    system, columns, rows = None, None, []
    for i, line in enumerate(text.splitlines(), 1):
        if line.startswith("#"):
            head = line[1:].strip()
            if "\t" in head or head in ("Target Name", "Sample Name"):
                columns = _columns(path, i, head.split("\t"))
            elif head.lower().startswith("coordinate system:"):
                system = head.split(":", 1)[1].strip()
            elif head.lower().startswith("units:") and "millimet" not in head.lower():
                raise FormatError(f"{path}, line {i}: {head}; positions must be in millimetres")
            elif head.lower().startswith("encoding:") and head.split(":", 1)[1].strip().upper() != "UTF-8":
                raise FormatError(f"{path}, line {i}: {head}; only UTF-8 is read")
        elif line.strip():
            if columns is None:
                raise FormatError(f"{path}, line {i}: a row before any line of column names")
            cells = line.split("\t")
            needed = 1 + max(columns.index(c) for c in _needed(columns))
            if len(cells) < needed:
                raise FormatError(
                    f"{path}, line {i}: {len(cells)} of at least {needed} columns; was the file cut short?"
                )
            rows.append((columns, f"line {i}", dict(zip(columns, cells, strict=False))))
    if system is None:
        raise FormatError(f"{path}: no line '# Coordinate system: ...'; export it from Brainsight again")
    return system, rows


def _needed(columns):
    if columns[0] in POSE_TABLES:
        return (*PLACE, *ROTATION)
    return PLACE if columns[0] in POINT_TABLES else columns[:1]


def _columns(path, i, columns):
    columns = [column.strip() for column in columns]
    lacking = [column for column in _needed(columns) if column not in columns]
    if lacking:
        raise FormatError(
            f"{path}, line {i}: the table {columns[0]!r} lacks the columns {', '.join(lacking)}"
        )
    return columns


def _frame(path, system, image):
    """(4, 4) from the file's coordinates to RAS; None where only the image could tell."""
    if re.fullmatch(r"NIfTI:([SQ]:)?[\w-]+", system, re.IGNORECASE):
        return np.eye(4)
    if system.lower() == "world":
        return LPS_TO_RAS
    if system.lower() == "brainsight":
        return None if image is None else corner_frame(image)
    raise FormatError(f"{path}: coordinate system {system!r} is unknown; export as NIfTI:Aligned")


def _number(path, where, row, column):
    return number(row[column], f"{path}, {where}, {column}")


def _sample(path, where, row):
    date, time, power = (row.get(column, "") for column in ("Date", "Time", "Stim. Power"))
    dated = date not in MISSING and time not in MISSING
    return {
        "recorded_at": timestamp(f"{date}T{time}", f"{path}, {where}, Date and Time") if dated else None,
        "intensity_percent": None if power in MISSING else number(power, f"{path}, {where}, Stim. Power"),
    }


def write(records, *, version, image=None):
    """Text of an export that Brainsight imports; recorded samples go into a table of their own.

    Parameters
    ----------
    records : sequence of PoseRecord
    version : {12, 14}
        Version 14 names the frame after the sform.
    image : path-like or None
        The NIfTI used for navigation, whose header says what its frame is called; without it Aligned.
    """
    code = "Aligned" if image is None else xform_name(image)
    lines = [
        f"# Version: {version}",
        f"# Coordinate system: NIfTI:{'S:' if version >= 14 else ''}{code}",
        "# Created by: efield",
        "# Units: millimetres, degrees, milliseconds, and microvolts",
        "# Encoding: UTF-8",
        "# Notes: Each column is delimited by a tab. Each value within a column is delimited by a semicolon. "
        + CONVENTION,
    ]
    lines += [f"# Handle and current of {record.name}: {pose_words(record.matsimnibs)}" for record in records]
    tables = {"target": (TARGET_COLUMNS, _target_row), "sample": (SAMPLE_COLUMNS, _sample_row)}
    for kind, (columns, row) in tables.items():
        chosen = [record for record in records if record.kind == kind]
        if chosen or kind == "target":
            lines.append("# " + "\t".join(columns))
        lines += ["\t".join(row(i, record)) for i, record in enumerate(chosen, 1)]
    if any(record.kind == "sample" for record in records):
        lines.append("# " + "\t".join(LANDMARK_COLUMNS))  # SimNIBS needs another table after the samples
    return "\n".join([*lines, ""])


def _numbers(record):
    pose = from_matsimnibs("brainsight", record.matsimnibs)
    return [repr(float(v)) for v in (*pose[:3, 3], *pose[:3, :3].T.ravel())]


def _target_row(_, record):
    return [record.name, *_numbers(record)]


def _sample_row(i, record):
    power = MISSING[0] if record.intensity_percent is None else repr(float(record.intensity_percent))
    when = record.recorded_at
    if isinstance(when, datetime.datetime):
        stamp = [when.date().isoformat(), when.timetz().isoformat()]
    else:
        stamp = [MISSING[0], MISSING[0]]
    return [record.name, "Session 1", str(i), MISSING[0], *_numbers(record), power, *stamp]
