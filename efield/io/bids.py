"""BIDS for non-invasive brain stimulation (BEP037): planned and computed placements as a derivative.

The proposal is a draft that still moves; this module follows NIBS-BIDS v6.2 and is the only place that knows
it. Placements computed offline are a derivative: a folder with its own ``dataset_description.json``.
"""

import csv
import io
import json
import re
from pathlib import Path

import numpy as np

from efield.errors import FormatError
from efield.io.atomic import atomic_path
from efield.io.navigation.words import CONVENTION, pose_words

DRAFT = "NIBS-BIDS v6.2 (BEP037 draft)"
BIDS_VERSION = "1.10.0"

COLUMNS = {
    "target_id": "Identifier of the stimulation target.",
    "target_label": "Name of the placement.",
    "target_description": "Where the coil's y axis, the handle and the current point, in words.",
    "coil_transform": "matsimnibs: 4 x 4 from coil to head, row by row, translation in mm; z into the head.",
    "coil_x": "Coil centre, mm.",
    "coil_y": "Coil centre, mm.",
    "coil_z": "Coil centre, mm.",
    "normal_x": "Coil normal, out of the head (-z of coil_transform).",
    "normal_y": "Coil normal, out of the head.",
    "normal_z": "Coil normal, out of the head.",
    "direction_x": "y axis of the coil (pos_ydir of SimNIBS).",
    "direction_y": "y axis of the coil.",
    "direction_z": "y axis of the coil.",
    "timestamp": "ISO 8601, of the recording.",
}
"""Columns of ``*_markers.tsv`` that are written, with their meaning here."""


def write_bids(folder, placements, *, subject, session=None, task="tms", image=None):
    """Write placements as a BIDS derivative.

    Parameters
    ----------
    folder : path-like
        The derivative dataset; made where missing.
    placements : sequence of objects with ``matsimnibs``, ``name``, ``recorded_at``
    subject, session, task : str
        Labels: letters and digits.
    image : str or None
        BIDS URI of the T1 that the coordinates belong to.

    Returns
    -------
    Path
        The ``*_markers.tsv``.

    Raises
    ------
    FormatError
        A label that BIDS does not allow, or no placements.
    OutputError
        A file cannot be written.
    """
    entities = {"sub": subject, "ses": session, "task": task}
    labels = {key: value for key, value in entities.items() if value is not None}
    for key, value in labels.items():
        if not re.fullmatch(r"[A-Za-z0-9]+", value):
            raise FormatError(f"the BIDS label {key}-{value[:40]!r} may hold letters and digits only")
    if not len(placements):
        raise FormatError(f"no placements to write to {folder}")
    place = Path(folder, *(f"{key}-{labels[key]}" for key in ("sub", "ses") if key in labels), "nibs")
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FormatError(f"cannot make the folder {place}: {error.strerror or error}") from error
    stem = "_".join(f"{key}-{value}" for key, value in labels.items()) + "_stimsys-tms"
    _write_json(Path(folder, "dataset_description.json"), _description())
    markers = place / f"{stem}_markers.tsv"
    _write(markers, _table(placements))
    _write_json(place / f"{stem}_markers.json", _columns())
    _write_json(place / f"{stem}_coordsystem.json", _frame(image))
    return markers


def _description():
    generated = [{"Name": "efield", "Description": f"Coil placements, {DRAFT}"}]
    return {
        "Name": "efield coil placements",
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": generated,
    }


def _columns():
    body = {name: {"Description": text} for name, text in COLUMNS.items()}
    body["coil_transform"]["Units"] = "mm"
    return {"Draft": DRAFT, "CoilAxes": CONVENTION, **body}


def _frame(image):
    words = "World coordinates of the subject's T1 (RAS, mm): the space of the head mesh."
    body = {
        "NIBSCoordinateSystem": "IndividualMRI",
        "NIBSCoordinateUnits": "mm",
        "NIBSCoordinateSystemDescription": words,
    }
    return body if image is None else {"IntendedFor": image, **body}


def _table(placements):
    file = io.StringIO()
    writer = csv.writer(file, delimiter="\t", lineterminator="\n")
    writer.writerow(COLUMNS)
    for i, placement in enumerate(placements, 1):
        pose = np.asarray(placement.matsimnibs, dtype=np.float64)
        when = getattr(placement, "recorded_at", None)
        numbers = [*pose[:3, 3], *-pose[:3, 2], *pose[:3, 1]]
        writer.writerow(
            [
                *(f"target_{i}", getattr(placement, "name", "") or f"placement {i}", pose_words(pose)),
                json.dumps(pose.tolist()),
                *(repr(float(value)) for value in numbers),
                "n/a" if when is None else when.isoformat(),
            ]
        )
    return file.getvalue()


def _write_json(path, body):
    _write(path, json.dumps(body, indent=1) + "\n")


def _write(path, text):
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
