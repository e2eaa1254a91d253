"""SimNIBS sessions (``.mat``) and the log of its optimization.

A SESSION holds lists of coil positions (TMSLIST); each position has ``matsimnibs``, ``didt`` in A/s, a name
and a date.
"""

import re

import numpy as np

from efield.errors import FormatError
from efield.io.atomic import atomic_path
from efield.io.matlab import read_mat
from efield.io.navigation.records import PoseRecord, SessionRecord, Skipped
from efield.io.navigation.words import CONVENTION, pose_words
from efield.tissues import DEFAULT_CONDUCTIVITY, TISSUE_NAMES

HEADINGS = ("Best coil position", "Matsimnibs result:")
"""Lines after which SimNIBS's optimizations log their optimum: of a grid, and the one of moving coils."""

OPTIMIZATIONS = ("TMSoptimize", "TmsFlexOptimize")
"""Types of settings whose positions are where an optimization begins, not what it finds."""


def read_session(path, data):
    """Read the coil positions of a SESSION or TMSLIST ``.mat``.

    Parameters
    ----------
    path : path-like
        For messages.
    data : bytes

    Returns
    -------
    SessionRecord

    Raises
    ------
    FormatError
        Not a MATLAB file of version 5 to 7, or without coil positions.
    """
    poses, skipped = [], []
    for i, simulation in enumerate(_lists(path, read_mat(path, data))):
        for j, position in enumerate(_structures(simulation.get("pos"))):
            where = f"poslist {i + 1}, pos {j + 1}"
            record = _position(path, where, position, len(poses) + len(skipped) + 1)
            (poses if isinstance(record, PoseRecord) else skipped).append(record)
    return SessionRecord("simnibs", tuple(poses), (), tuple(skipped))


def _lists(path, body):
    """The TMSLIST structures of a file."""
    kind = _text(body.get("type"))
    begins = kind.lower() in map(str.lower, OPTIMIZATIONS)
    if not begins and (kind == "TMSLIST" or ("pos" in body and "poslist" not in body)):
        return [body]
    if begins or "poslist" not in body:
        why = "they are the settings of an optimization" if begins else "no key poslist or pos"
        raise FormatError(
            f"{path}: type {kind[:30]!r} holds no placements found ({why}); an optimization of SimNIBS "
            "writes its optimum into its log (such as simnibs_simulation_*.log): read that"
        )
    lists = [one for one in _structures(body["poslist"]) if one.get("type") == "TMSLIST"]
    if not lists:
        raise FormatError(f"{path}: poslist holds no TMSLIST; this is no TMS simulation")
    return lists


def _structures(value):
    """Every structure in a structure array, or in a cell of them."""
    if isinstance(value, dict):
        return [value]
    return [one for item in value for one in _structures(item)] if isinstance(value, list) else []


def _position(path, where, position, i):
    name = _text(position.get("name")).strip() or f"position {i}"
    pose = position.get("matsimnibs")
    if not isinstance(pose, np.ndarray) or pose.size == 0:
        return Skipped(name, where, "given by centre and pos_ydir, from which only SimNIBS makes a pose")
    if pose.shape != (4, 4):
        raise FormatError(f"{path}, {where}: matsimnibs has shape {pose.shape}, not (4, 4)")
    return PoseRecord(pose, name, where, didt=_didt(path, where, position.get("didt")))


def _didt(path, where, value):
    if not isinstance(value, np.ndarray) or value.size != 1:
        return None  # empty: the file does not say
    didt = float(value.item())
    if not np.isfinite(didt):
        raise FormatError(f"{path}, {where}: didt is {didt}, not a finite number of A/s")
    return didt


def _text(value):
    return value if isinstance(value, str) else ""


def write_session(path, records):
    """Write a SESSION for SimNIBS, atomically; its head mesh, coil file and result folder stay empty.

    Laid out as SimNIBS's own reader wants it: a cell of TMSLIST structures, each with a structure array of
    conductivities (by tag) and one of positions.

    Parameters
    ----------
    path : path-like
    records : sequence of PoseRecord
        Where a record states no dI/dt, SimNIBS takes its own 1 A/us.
    """
    from scipy.io import savemat

    positions = np.empty(len(records), dtype=[(key, "O") for key in _POSITION])
    for i, record in enumerate(records):
        positions[i] = tuple({**_POSITION, **_written(record)}.values())
    poslist = np.empty((1, 1), dtype="O")
    tissues = {"cond": _conductivities(), "anisotropy_type": "scalar"}
    poslist[0, 0] = {"type": "TMSLIST", "name": "", "fnamecoil": "", **tissues, "pos": positions}
    files = {"fnamehead": "", "pathfem": "", "fields": "eE", "open_in_gmsh": False}
    body = {"type": "SESSION", "comment": CONVENTION, **files, "poslist": poslist}
    with atomic_path(path) as temporary:
        savemat(temporary, body, appendmat=False)


def _conductivities():
    """The default conductivities, by tag from 1 on: SimNIBS takes a list without them as empty."""
    keys = ("type", "name", "value", "descrip", "distribution_type", "distribution_parameters")
    made = np.empty(len(DEFAULT_CONDUCTIVITY), dtype=[(key, "O") for key in keys])
    for tag, value in DEFAULT_CONDUCTIVITY.items():
        made[tag - 1] = ("COND", TISSUE_NAMES[tag], value, "efield's default", "", "")
    return made


_POSITION = {
    **{
        "type": "POSITION",
        "name": "",
        "date": "",
        "istrig": False,
        "matORG": "",
        "orient": "",
        "matsimnibs": "",
    },
    **{"didt": "", "fnamefem": "", "centre": "", "pos_ydir": "", "distance": ""},
}


def _written(record):
    return {
        "name": record.name,
        "date": "" if record.recorded_at is None else record.recorded_at.isoformat(),
        "orient": pose_words(record.matsimnibs),
        "matsimnibs": np.asarray(record.matsimnibs, dtype=np.float64),
        "didt": "" if record.didt is None else float(record.didt),
    }


def is_log(text):
    """Whether a text is the log of an optimization."""
    return any(heading in text for heading in HEADINGS)


def read_log(path, text):
    """The optimum that an optimization of SimNIBS wrote into its log.

    Returns
    -------
    SessionRecord
        With the last optimum of the file.

    Raises
    ------
    FormatError
        No 4 x 4 matrix follows the heading.
    """
    heading = max(HEADINGS, key=text.rfind)
    after = text.rpartition(heading)[2]
    found = re.match(r"\s*=*\s*\[(\[[^][]*\]\s*){4}\]", after)
    if not found:
        raise FormatError(f"{path}: no 4 x 4 matrix follows the last {heading!r}; was the log cut short?")
    rows = re.findall(r"\[([^][]+)\]", found.group())
    try:
        pose = np.array([[float(word) for word in row.replace(",", " ").split()] for row in rows])
    except ValueError as error:
        raise FormatError(f"{path}: the optimum is no matrix of numbers: {error}") from None
    if pose.shape != (4, 4):
        raise FormatError(f"{path}: the optimum has shape {pose.shape}, not (4, 4)")
    line = text[: len(text) - len(after)].count("\n") + 1
    return SessionRecord("simnibs", (PoseRecord(pose, "optimum", f"line {line}"),))
