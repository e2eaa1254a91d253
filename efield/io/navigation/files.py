"""Files of navigation systems: told apart by content when read, by name of the format when written."""

import warnings
from dataclasses import dataclass
from pathlib import Path

from efield.errors import FormatError
from efield.io import simnibs
from efield.io.atomic import atomic_path
from efield.io.navigation import ant, brainsight, invesalius, localite, navinibs, softaxic, table
from efield.io.navigation.records import PoseRecord, SessionRecord
from efield.io.navigation.text import decode, parse_json, parse_xml, read_bytes
from efield.io.navigation.words import statement
from efield.io.pose import read_pose

__all__ = ["FORMATS", "read_session", "write_session"]


def read_session(path, image=None):
    """Read the poses of a navigation file, a SimNIBS session or log, a table, or a single pose.

    Parameters
    ----------
    path : path-like
    image : path-like or None
        The NIfTI used for navigation, where a format needs it.

    Returns
    -------
    SessionRecord

    Raises
    ------
    FormatError
        Unknown, damaged or truncated; the message names file and line or key.
    """
    path = Path(path)
    data = read_bytes(path)
    if data.startswith(b"MATLAB ") or path.suffix.lower() == ".mat":
        return simnibs.read_session(path, data)
    if data.startswith(b"\x93NUMPY"):
        return _single(path)
    if data.startswith(navinibs.ZIP):
        return navinibs.read_archive(path, data)
    text = decode(path, data)
    start = text.lstrip()[:100]
    if start.startswith("<"):
        return _read_xml(path, data)
    if simnibs.is_log(text):  # before JSON: a line of the log may begin with a bracket
        return simnibs.read_log(path, text)
    if start.startswith(("{", "[")):
        return _read_json(path, text)
    if start.startswith(invesalius.MAGIC):
        return _whole(path, text, invesalius.read(path, text))
    if "# Coordinate system:" in text or "# Target Name\t" in text or "# Sample Name\t" in text:
        return _whole(path, text, brainsight.read(path, text, image))
    if table.is_table(text):
        return _whole(path, text, table.read(path, text))
    return _single(path)


def _whole(path, text, record):
    """The record of a table, with a warning where the last line may have lost the end of a number."""
    if not text.endswith(("\n", "\r")):
        warnings.warn(
            f"{path}: the last line has no line end; if the file was cut short, its last number is wrong",
            RuntimeWarning,
            stacklevel=4,
        )
    return record


def _read_xml(path, data):
    root = parse_xml(path, data)
    if root.tag in localite.ROOTS:
        return localite.read(path, root)
    if root.tag == softaxic.ROOT:
        return softaxic.read(path, root)
    known = ", ".join((*localite.ROOTS, softaxic.ROOT))
    raise FormatError(f"{path}, line {root.line}: <{root.tag[:40]}> is no known kind of file; known: {known}")


def _read_json(path, text):
    body = parse_json(path, text)
    if isinstance(body, dict) and "TargetMarkers" in body:
        return ant.read(path, body)
    if navinibs.is_navinibs(body):
        return navinibs.read(path, body)
    return _single(path)


def _single(path):
    return SessionRecord("pose", (PoseRecord(read_pose(path), path.stem, "the only pose"),))


@dataclass(frozen=True)
class Format:
    """How a format is written.

    Attributes
    ----------
    suffix : str
    text : callable
        (records, image) to the file's text.
    says : bool
        Whether the file itself says in words where handle and current point; a text file beside it
        does otherwise.
    """

    suffix: str
    text: object
    says: bool = True


def _localite(kind, space):
    return Format(".xml", lambda records, image: localite.write(records, kind=kind, space=space))


FORMATS = {
    "csv": Format(".csv", lambda records, image: table.write(records)),
    "localite": _localite("instrument", "RAS"),
    "localite-lps": _localite("instrument", "LPS"),
    "localite-trigger": _localite("trigger", "RAS"),
    "localite-trigger-lps": _localite("trigger", "LPS"),
    "brainsight": Format(".txt", lambda records, image: brainsight.write(records, version=12, image=image)),
    "brainsight14": Format(".txt", lambda records, image: brainsight.write(records, version=14, image=image)),
    "softaxic": Format(".stmpx", lambda records, image: softaxic.write(records)),
    "ant": Format(".mrk", ant.write, says=False),
    "invesalius": Format(".mkss", invesalius.write, says=False),
    "navinibs": Format(".json", lambda records, image: navinibs.write(records)),
    "simnibs": Format(".mat", None),
}
"""What can be written, by name; the first format with a suffix is what that suffix means."""


def write_session(path, records, *, format=None, image=None):
    """Write poses for a navigation system, completely or not at all.

    Parameters
    ----------
    path : path-like
    records : sequence of PoseRecord
        With rigid poses.
    format : str or None
        A name in `FORMATS`; None takes the suffix.
    image : path-like or None
        The NIfTI used for navigation, where a format holds something of it.

    Raises
    ------
    FormatError
        Unknown format, or a name that the file could not hold.
    OutputError
        The file cannot be written.
    """
    path = Path(path)
    name = format or _format_of(path)
    if name not in FORMATS:
        raise FormatError(f"unknown placement format {name!r} for {path}; known: {', '.join(FORMATS)}")
    for record in records:
        _check_name(record.name)
    if name == "simnibs":
        simnibs.write_session(path, records)
        return
    text = FORMATS[name].text(records, image)
    _write(path, text)
    if not FORMATS[name].says:
        _write(path.with_name(path.name + ".txt"), statement(records))


def _write(path, text):
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def _format_of(path):
    suffix = path.suffix.lower()
    known = {}
    for name, one in FORMATS.items():
        known.setdefault(one.suffix, name)
    if suffix not in known:
        raise FormatError(
            f"cannot tell from {path.name!r} in which format to write placements; give format=, "
            f"one of {', '.join(FORMATS)}"
        )
    return known[suffix]


def _check_name(name):
    if not name or not name.isprintable() or name != name.strip() or name.startswith("#") or len(name) > 200:
        raise FormatError(
            f"the name {name[:40]!r} of a placement cannot be written: it must be 1 to 200 printable "
            "characters without blanks at its ends and without # at its start"
        )
