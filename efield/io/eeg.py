"""EEG positions as SimNIBS writes them: a CSV with one position a line.

``Type,x,y,z[,...],name[,...]``; types Generic, Fiducial, Electrode, ReferenceElectrode, CoilPos; a header
line is optional. An electrode may carry a second point before its name, a coil position its axes.
"""

import csv
from dataclasses import dataclass

import numpy as np

from efield.errors import FormatError

KINDS = ("Generic", "Fiducial", "Electrode", "ReferenceElectrode", "CoilPos")

COIL_POSITION_NUMBERS = 10
"""Centre, two axes and a distance."""


@dataclass(frozen=True, eq=False)
class EegPosition:
    """One line of the file; `name` is None where the line has none."""

    kind: str
    point_mm: np.ndarray
    name: str | None


def read_eeg_positions(path):
    """Read the positions of a cap.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    tuple of EegPosition
        In the order and the frame of the file.

    Raises
    ------
    FormatError
        Unreadable file, unknown type, a coordinate that is no finite number; names the line.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            rows = list(csv.reader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise FormatError(f"cannot read the EEG positions {path}: {error}") from error
    lines = [(i, [word.strip() for word in row]) for i, row in enumerate(rows, 1) if any(row)]
    if lines and lines[0][1][0] not in KINDS and _number(lines[0][1][1:2]) is None:
        lines = lines[1:]
    return tuple(_position(path, i, row) for i, row in lines)


def _position(path, line, row):
    if row[0] not in KINDS:
        raise FormatError(
            f"{path}, line {line}: unknown type {row[0]!r}; valid: {', '.join(KINDS)}. A line is "
            "type,x,y,z,name, such as Fiducial,0.5,83,-40,Nz"
        )
    point = [_number(row[k : k + 1]) for k in (1, 2, 3)]
    if None in point:
        raise FormatError(f"{path}, line {line}: {','.join(row[1:4])!r} is not three finite numbers x,y,z")
    return EegPosition(row[0], np.array(point), _name(row))


def _name(row):
    if row[0] == "CoilPos":
        words = row[1 + COIL_POSITION_NUMBERS :]
    elif all(_number(row[k : k + 1]) is not None for k in (4, 5, 6)):  # a second point
        words = row[7:]
    else:
        words = row[4:]
    return words[0] if words and words[0] else None


def _number(words):
    """A finite number from a list of one word, else None."""
    try:
        value = float(words[0])
    except (IndexError, ValueError):
        return None
    return value if np.isfinite(value) else None
