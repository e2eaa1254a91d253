"""Localite TMS Navigator: InstrumentMarker, TriggerMarker and EntryTarget files (XML).

Matrices are coil to image, in mm, in the image's RAS or LPS frame as ``coordinateSpace`` says. A coil
that was not tracked is written as an identity rotation at the origin.
"""

from xml.sax.saxutils import quoteattr

import numpy as np

from efield.errors import FormatError
from efield.io.navigation.axes import LPS_TO_RAS, from_matsimnibs, to_matsimnibs
from efield.io.navigation.records import NamedPoint, PoseRecord, SessionRecord, Skipped
from efield.io.navigation.text import number
from efield.io.navigation.words import CONVENTION, pose_words

ROOTS = ("InstrumentMarkerList", "TriggerMarkerList", "EntryTargetList")

MICRO = 1e6
"""A/s per A/us."""


def read(path, root):
    """Read the parsed XML of any of the three kinds of file.

    Returns
    -------
    SessionRecord
    """
    to_ras = _frame(path, root)
    if root.tag == "EntryTargetList":
        return SessionRecord("localite", (), tuple(_points(path, root, to_ras)))
    trigger = root.tag == "TriggerMarkerList"
    if trigger:
        _check_units(path, root)
    poses, skipped = [], []
    for i, element in enumerate(root.all("TriggerMarker" if trigger else "InstrumentMarker"), 1):
        where = f"line {element.line}, {element.tag} {i}"
        marker = element if trigger else _child(path, where, element, "Marker")
        name = marker.attributes.get("description", "").strip() or f"{'trigger' if trigger else 'marker'} {i}"
        matrix = _matrix(path, where, _child(path, where, marker, "Matrix4D"))
        reason = _not_tracked(marker, matrix)
        if reason:
            skipped.append(Skipped(name, where, reason))
            continue
        pose = to_matsimnibs("localite", to_ras @ matrix)
        poses.append(PoseRecord(pose, name, where, **(_sample(path, where, marker) if trigger else {})))
    return SessionRecord("localite", tuple(poses), (), tuple(skipped))


def _frame(path, root):
    space = root.attributes.get("coordinateSpace", "").upper()
    if space not in ("RAS", "LPS"):
        raise FormatError(f"{path}, line {root.line}: coordinateSpace is {space!r}; expected RAS or LPS")
    return np.eye(4) if space == "RAS" else LPS_TO_RAS


def _child(path, where, element, tag):
    child = element.find(tag)
    if child is None:
        raise FormatError(f"{path}, {where}: <{element.tag}> has no <{tag}>")
    return child


def _attribute(path, where, element, key):
    if key not in element.attributes:
        raise FormatError(f"{path}, {where}: <{element.tag}> has no attribute {key!r}")
    return number(element.attributes[key], f"{path}, {where}, {key}")


def _matrix(path, where, element):
    return np.array([[_attribute(path, where, element, f"data{i}{j}") for j in range(4)] for i in range(4)])


def _not_tracked(marker, matrix):
    if marker.attributes.get("set", "true").lower() == "false":
        return "not tracked (set is false)"
    rotation = np.abs(matrix[:3, :3])
    if not matrix[:3, 3].any() and np.isin(rotation, (0.0, 1.0)).all():
        return "not tracked (no rotation, at the origin)"
    return None


def _check_units(path, root):
    """Refuse a file that states other units than those assumed here."""
    expected = {"valueA": ("A/us", "A/µs"), "amplitudeA": ("%",)}
    for parameters in root.all("ResponseParameters"):
        for element in parameters.all("responseDescription"):
            key, unit = element.attributes.get("id"), element.attributes.get("unit")
            if key in expected and unit is not None and unit not in expected[key]:
                raise FormatError(
                    f"{path}, line {element.line}: unit of {key} is {unit!r}; expected {expected[key][0]!r}"
                )


def _sample(path, where, marker):
    values = {}
    for response in marker.all("ResponseValues"):
        for value in response.all("Value"):
            values.setdefault(value.attributes.get("key"), value.attributes.get("response"))
    time = marker.attributes.get("recordingTime")
    didt = _stated(values.get("valueA"), f"{path}, {where}, valueA")
    return {
        "kind": "sample",
        "time_s": None if time is None else number(time, f"{path}, {where}, recordingTime") / 1000,
        "didt": None if didt is None else didt * MICRO,
        "intensity_percent": _stated(values.get("amplitudeA"), f"{path}, {where}, amplitudeA"),
    }


def _stated(text, where):
    """A response, or None where Localite had none: it then writes NaN or 0."""
    if text is None or text.strip().lower() == "nan":
        return None
    return number(text, where) or None


def _points(path, root, to_ras):
    for element in root.children:
        if element.tag not in ("Entry", "Target"):
            continue
        where = f"line {element.line}, {element.tag}"
        marker = _child(path, where, element, "Marker")
        vector = _child(path, where, marker, "ColVec3D")
        position = [_attribute(path, where, vector, f"data{i}") for i in range(3)]
        name = marker.attributes.get("description", "").strip() or element.tag.lower()
        yield NamedPoint(name, element.tag.lower(), to_ras[:3, :3] @ position)


def write(records, *, kind, space):
    """Text of an InstrumentMarker or TriggerMarker file.

    Parameters
    ----------
    records : sequence of PoseRecord
    kind : {"instrument", "trigger"}
        Only trigger markers hold time and intensity.
    space : {"RAS", "LPS"}
    """
    body = _instrument if kind == "instrument" else _trigger
    root = "InstrumentMarkerList" if kind == "instrument" else "TriggerMarkerList"
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<{root} coordinateSpace="{space}">',
        f"    <!--Written by efield. {CONVENTION.replace('--', '- -')}-->",
    ]
    if kind == "trigger":
        lines += _RESPONSES
    to_frame = np.eye(4) if space == "RAS" else LPS_TO_RAS
    for i, record in enumerate(records):
        lines += body(i, record, to_frame @ from_matsimnibs("localite", record.matsimnibs))
    return "\n".join([*lines, f"</{root}>", ""])


_RESPONSES = """\
    <ResponseParameters selectedResponseChannel="0">
        <responseDescription id="valueA" maxValue="200.0" minValue="0.0"
            name="Value A (di/dt)" unit="A/us"/>
        <responseDescription id="amplitudeA" maxValue="100.0" minValue="0.0"
            name="Amplitude A" unit="%"/>
    </ResponseParameters>""".splitlines()


def _matrix_text(matrix):
    cells = " ".join(f'data{i}{j}="{float(matrix[i, j])!r}"' for i in range(4) for j in range(4))
    return f"<Matrix4D {cells}/>"


def _instrument(i, record, matrix):
    note = quoteattr(pose_words(record.matsimnibs))
    return [
        f'    <InstrumentMarker alwaysVisible="false" index="{i}" selected="false">',
        f'        <Marker additionalInformation={note} color="#ff0000" description={quoteattr(record.name)} '
        'set="true">',
        f"            {_matrix_text(matrix)}",
        "        </Marker>",
        "    </InstrumentMarker>",
    ]


def _trigger(i, record, matrix):
    didt = "NaN" if record.didt is None else repr(record.didt / MICRO)
    percent = "NaN" if record.intensity_percent is None else repr(record.intensity_percent)
    time = "" if record.time_s is None else f' recordingTime="{_shortest(record.time_s * 1000)}"'
    return [
        f'    <TriggerMarker color="#ffafaf" description={quoteattr(record.name)}{time} '
        'selected="false" set="true" visibility="true">',
        f"        <!--{pose_words(record.matsimnibs)}-->",
        "        <ResponseValues>",
        f'            <Value key="valueA" response="{didt}"/>',
        f'            <Value key="amplitudeA" response="{percent}"/>',
        "        </ResponseValues>",
        f"        {_matrix_text(matrix)}",
        "    </TriggerMarker>",
    ]


def _shortest(value):
    return str(int(value)) if float(value).is_integer() else repr(float(value))
