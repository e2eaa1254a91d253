"""Placements as plain CSV: one row a pose, readable by people and spreadsheets.

Columns ``m00`` ... ``m33`` (or ``m23``) hold matsimnibs row by row, mm; all others may be missing. Lines
that begin with ``#`` are comments. The table of best placements in a result folder is read, too.
"""

import csv
import io

import numpy as np

from efield.errors import FormatError
from efield.io.navigation.records import PoseRecord, SessionRecord
from efield.io.navigation.text import number, timestamp
from efield.io.navigation.words import CONVENTION, current_words, ydir_words

POSE = tuple(f"m{i}{j}" for i in range(4) for j in range(4))
KINDS = ("target", "sample")
COLUMNS = ("name", "kind", "time_s", "recorded_at", "didt_A_per_s", "intensity_percent")
WORDS = ("ydir_points", "current_points")


def is_table(text):
    """Whether text has the header of such a table."""
    return all(column in _header(text) for column in POSE[:12])


def _header(text):
    line = next((line for line in text.splitlines() if line.strip() and not line.startswith("#")), "")
    return [cell.strip() for cell in next(csv.reader([line]), [])]


def read(path, text):
    """Read a table.

    Returns
    -------
    SessionRecord
    """
    lines = text.splitlines()
    numbered = [(i, line) for i, line in enumerate(lines, 1) if line.strip() and not line.startswith("#")]
    columns = _header(text)
    poses = []
    for i, line in numbered[1:]:
        where = f"line {i}"
        try:
            cells = next(csv.reader([line], strict=True))
        except csv.Error as error:
            raise FormatError(f"{path}, {where}: {error}") from None
        if len(cells) != len(columns):
            raise FormatError(
                f"{path}, {where}: {len(cells)} of {len(columns)} columns; was the file cut short?"
            )
        row = dict(zip(columns, cells, strict=True))
        poses.append(_record(path, where, row, len(poses) + 1))
    return SessionRecord("csv", tuple(poses))


def _record(path, where, row, i):
    pose = np.eye(4).ravel()
    for k, column in enumerate(POSE):
        if column in row:
            pose[k] = number(row[column], f"{path}, {where}, {column}")
    kind = row.get("kind", "").strip() or "target"
    if kind not in KINDS:
        raise FormatError(f"{path}, {where}: kind is {kind[:20]!r}; expected target or sample")
    when = row.get("recorded_at", "").strip()
    return PoseRecord(
        pose.reshape(4, 4),
        row.get("name", "").strip() or f"placement {row.get('rank', i)}",
        where,
        kind,
        time_s=_optional(path, where, row, "time_s"),
        recorded_at=timestamp(when, f"{path}, {where}, recorded_at") if when else None,
        didt=_optional(path, where, row, "didt_A_per_s"),
        intensity_percent=_optional(path, where, row, "intensity_percent"),
    )


def _optional(path, where, row, column):
    text = row.get(column, "").strip()
    return number(text, f"{path}, {where}, {column}") if text else None


def write(records):
    """Text of a table that :func:`read` reads back."""
    file = io.StringIO()
    file.write(f"# Coil placements, matsimnibs row by row (mm, RAS). {CONVENTION}\n")
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([*COLUMNS, *POSE, *WORDS])
    for record in records:
        when = "" if record.recorded_at is None else record.recorded_at.isoformat()
        numbers = [record.didt, record.intensity_percent]
        writer.writerow(
            [
                *(record.name, record.kind, _cell(record.time_s), when, *map(_cell, numbers)),
                *map(_cell, np.asarray(record.matsimnibs).ravel()),
                *(ydir_words(record.matsimnibs), current_words(record.matsimnibs)),
            ]
        )
    return file.getvalue()


def _cell(value):
    return "" if value is None else repr(float(value))
