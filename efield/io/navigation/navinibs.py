"""NaviNIBS: targets and samples as JSON, alone or in a session file.

A session (``.navinibs``) is a zip of JSON parts; ``..._Targets.json`` and ``..._Samples.json`` in it are
lists of items with ``key`` and ``coilToMRITransf`` (4 x 4, mm, RAS of the MRI; null where the coil was not
tracked).
NaviNIBS imports targets from a JSON object with a list under ``targets``: that is what is written.
"""

import io
import json
import zipfile

from efield.errors import FormatError
from efield.io.navigation.axes import from_matsimnibs, to_matsimnibs
from efield.io.navigation.records import NamedPoint, PoseRecord, SessionRecord, Skipped
from efield.io.navigation.text import MAX_BYTES, decode, matrix, number, parse_json, timestamp
from efield.io.navigation.words import CONVENTION, pose_words

KEYS = ("targets", "samples")
ZIP = b"PK\x03\x04"


def is_navinibs(body):
    """Whether parsed JSON looks like one of these files."""
    if isinstance(body, dict):
        return any(key in body for key in KEYS)
    return bool(body) and all(isinstance(item, dict) and "key" in item for item in body)


def read_archive(path, data):
    """Read the targets and samples of a session file.

    Returns
    -------
    SessionRecord
    """
    body = {}
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for key in KEYS:
                for part in archive.infolist():
                    name = part.filename.rpartition("/")[2]
                    if name.endswith(f"_{key.capitalize()}.json") and not name.startswith("autosave"):
                        body[key] = _part(path, archive, part)
    except FormatError:
        raise
    except Exception as error:  # zipfile and zlib raise many kinds on a damaged file
        raise FormatError(f"{path}: no session of NaviNIBS, damaged or truncated: {error}") from error
    if not body:
        raise FormatError(
            f"{path}: a zip without ..._Targets.json and ..._Samples.json; no session of NaviNIBS"
        )
    return read(path, body)


def _part(path, archive, part):
    with archive.open(part) as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise FormatError(f"{path}: {part.filename} is larger than {MAX_BYTES >> 20} MiB")
    return parse_json(f"{path}, {part.filename}", decode(path, data))


def read(path, body):
    """Read the parsed JSON.

    Returns
    -------
    SessionRecord
    """
    poses, points, skipped = [], [], []
    lists = {key: body[key] for key in KEYS if key in body} if isinstance(body, dict) else {"items": body}
    for key, items in lists.items():
        if not isinstance(items, list):
            raise FormatError(f"{path}: {key} must be a list")
        for i, item in enumerate(items):
            where = f"{key}[{i}]"
            if not isinstance(item, dict) or not isinstance(item.get("key"), str):
                raise FormatError(f"{path}, {where}: expected an object with a 'key'")
            name = item["key"].strip() or f"{key} {i + 1}"
            points += _points(path, where, item, name)
            rows = item.get("coilToMRITransf")
            if rows is None:
                skipped.append(Skipped(name, where, "not tracked, or given without coilToMRITransf"))
                continue
            values = matrix(rows, f"{path}, {where}, coilToMRITransf")
            time = item.get("timestamp")
            time = None if time is None else timestamp(time, f"{path}, {where}, timestamp")
            kind = "sample" if key == "samples" or time is not None else "target"
            poses.append(PoseRecord(to_matsimnibs("navinibs", values), name, where, kind, recorded_at=time))
    return SessionRecord("navinibs", tuple(poses), tuple(points), tuple(skipped))


def _points(path, where, item, name):
    for key, kind in (("targetCoord", "target"), ("entryCoord", "entry")):
        value = item.get(key)
        if value is None:
            continue
        if not isinstance(value, list) or len(value) != 3:
            raise FormatError(f"{path}, {where}, {key}: expected three numbers")
        yield NamedPoint(name, kind, [number(v, f"{path}, {where}, {key}") for v in value])


def write(records):
    """Text of a JSON file whose targets NaviNIBS imports; keys must be unique there."""
    seen = set()
    targets = []
    for record in records:
        if record.name in seen:
            raise FormatError(f"NaviNIBS needs unique names, but {record.name!r} occurs twice; rename one")
        seen.add(record.name)
        pose = from_matsimnibs("navinibs", record.matsimnibs)
        targets.append({"key": record.name, "coilToMRITransf": pose.tolist()})
    comment = {"convention": CONVENTION, **{r.name: pose_words(r.matsimnibs) for r in records}}
    return json.dumps({"comment": comment, "targets": targets}, indent=1) + "\n"
