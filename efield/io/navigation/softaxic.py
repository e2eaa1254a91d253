"""Softaxic: stimulation points (``.stmpx``, XML).

``stmp/fmpm/fmp[@id]/fp`` holds the rotation as ``m00`` ... ``m22`` (row, column), the centre as ``x``,
``y``, ``z`` in mm and ``ts``, milliseconds since 1970 (UTC). Two public programs disagree about the third
axis; docs/navigation.md says why this one takes it to point into the head.
"""

import datetime
from xml.sax.saxutils import quoteattr

import numpy as np

from efield.errors import FormatError
from efield.io.navigation.axes import from_matsimnibs, to_matsimnibs
from efield.io.navigation.records import PoseRecord, SessionRecord, Skipped
from efield.io.navigation.text import number
from efield.io.navigation.words import CONVENTION, pose_words

ROOT = "stmp"
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
ENTRIES = tuple(f"m{i}{j}" for i in range(3) for j in range(3))


def read(path, root):
    """Read the parsed XML.

    Returns
    -------
    SessionRecord
    """
    poses, skipped = [], []
    for i, element in enumerate(_points(root), 1):
        where = f"line {element.line}, fmp {i}"
        name = element.attributes.get("id", "").strip() or f"point {i}"
        point = element.find("fp")
        if point is None or not any(key in point.attributes for key in (*ENTRIES, *"xyz")):
            skipped.append(Skipped(name, where, "holds no pose"))
            continue
        pose = np.eye(4)
        values = [_attribute(path, where, point, key) for key in (*ENTRIES, *"xyz")]
        pose[:3, :3], pose[:3, 3] = np.reshape(values[:9], (3, 3)), values[9:]
        time = _time(path, where, point)
        kind = "target" if time is None else "sample"
        poses.append(PoseRecord(to_matsimnibs("softaxic", pose), name, where, kind, recorded_at=time))
    return SessionRecord("softaxic", tuple(poses), (), tuple(skipped))


def _points(root):
    return [element for block in root.all("fmpm") for element in block.all("fmp")]


def _attribute(path, where, point, key):
    if key not in point.attributes:
        raise FormatError(f"{path}, {where}: <fp> has no attribute {key!r}")
    return number(point.attributes[key], f"{path}, {where}, {key}")


def _time(path, where, point):
    milliseconds = number(point.attributes.get("ts", "0"), f"{path}, {where}, ts")
    if milliseconds == 0:
        return None
    try:
        return EPOCH + datetime.timedelta(milliseconds=milliseconds)
    except OverflowError:
        raise FormatError(f"{path}, {where}, ts: {milliseconds:g} ms after 1970 is no date") from None


def write(records):
    """Text of a ``.stmpx`` file."""
    lines = [
        "<!DOCTYPE stmp>",
        "<stmp>",
        f" <!--Written by efield. {CONVENTION}-->",
        ' <fmpm dataset="efield">',
    ]
    for record in records:
        pose = from_matsimnibs("softaxic", record.matsimnibs)
        cells = {key: pose[int(key[1]), int(key[2])] for key in ENTRIES} | dict(
            zip("xyz", pose[:3, 3], strict=True)
        )
        text = " ".join(f'{key}="{float(value)!r}"' for key, value in cells.items())
        lines += [
            f"  <!--{pose_words(record.matsimnibs)}-->",
            f'  <fmp global="0" id={quoteattr(record.name)}>',
            f'   <fp id="0" ts="{_milliseconds(record.recorded_at)}" {text}/>',
            "  </fmp>",
        ]
    return "\n".join([*lines, " </fmpm>", "</stmp>", ""])


def _milliseconds(when):
    if when is None:
        return 0
    when = when if when.tzinfo else when.replace(tzinfo=datetime.UTC)
    return round((when - EPOCH) / datetime.timedelta(milliseconds=1))
