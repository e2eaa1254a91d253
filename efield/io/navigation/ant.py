"""ANT Neuro ``.mrk``: coil targets as JSON, in the convention of SimNIBS as the file itself states."""

import json

from efield.errors import FormatError
from efield.io.navigation.axes import from_matsimnibs, to_matsimnibs
from efield.io.navigation.image import quaternion_info
from efield.io.navigation.records import PoseRecord, SessionRecord, Skipped
from efield.io.navigation.text import matrix

EXPECTED = {"CoordinateSystem": "ASSOCIATED_IMAGE", "PositionalUnit": "mm", "CoilAxesConvention": "simnibs"}
NO_IMAGE = {"NIfTI_quatern": [0.0] * 3, "NIfTI_qoffset": [0.0] * 3, "NIfTI_pixdim": [0.0] * 4}


def read(path, body):
    """Read the parsed JSON.

    Returns
    -------
    SessionRecord
    """
    markers = body.get("TargetMarkers")
    if not isinstance(markers, list):
        raise FormatError(f"{path}: TargetMarkers must be a list")
    poses, skipped = [], []
    for i, marker in enumerate(markers):
        where = f"TargetMarkers[{i}]"
        target = marker.get("CoilTarget") if isinstance(marker, dict) else None
        if not isinstance(target, dict):
            skipped.append(Skipped(f"marker {i + 1}", where, "is no coil target"))
            continue
        for key, value in EXPECTED.items():
            if target.get(key) != value:
                raise FormatError(
                    f"{path}, {where}: {key} is {target.get(key)!r}; only {value!r} is understood"
                )
        pose = target.get("CoilPose")
        rows = pose.get("RigidTransformMatrix4x4") if isinstance(pose, dict) else None
        name = target.get("Name")
        name = name.strip() if isinstance(name, str) and name.strip() else f"target {i + 1}"
        values = matrix(rows, f"{path}, {where}, RigidTransformMatrix4x4")
        poses.append(PoseRecord(to_matsimnibs("ant", values), name, where))
    return SessionRecord("ant", tuple(poses), (), tuple(skipped))


def write(records, image=None):
    """Text of a ``.mrk`` file.

    Parameters
    ----------
    records : sequence of PoseRecord
    image : path-like or None
        The NIfTI used for navigation, by whose header the system makes sure that the frames match.
    """
    markers = [
        {
            "CoilTarget": {
                "Name": record.name,
                **EXPECTED,
                "CoilInfo": {"Type": "", "Id": ""},
                "CoilPose": {"RigidTransformMatrix4x4": from_matsimnibs("ant", record.matsimnibs).tolist()},
            }
        }
        for record in records
    ]
    info = NO_IMAGE if image is None else quaternion_info(image)
    configuration = {"SourceInfo": {"AppName": "efield", "AppVersion": ""}, "AssociatedImageInfo": info}
    return json.dumps({"Configuration": configuration, "TargetMarkers": markers}, indent=1) + "\n"
