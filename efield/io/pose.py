"""One coil pose as a file: a 4 x 4 matsimnibs (coil to head, translation in mm).

Read from the ``result.json`` of a run, a JSON list of four rows, a text table (blanks or
commas), or a NumPy ``.npy``. Whether it is a rigid pose is for `Placement` to say.
"""

import json
from pathlib import Path

import numpy as np

from efield.errors import FormatError
from efield.io.atomic import atomic_path
from efield.io.navigation.words import CONVENTION, pose_words

POSE_FORMATS = ("json", "txt", "csv", "npy")

MAX_BYTES = 1 << 24
"""A result with its placements is far smaller."""


def read_pose(path):
    """Read a 4 x 4 pose.

    Returns
    -------
    (4, 4) float array

    Raises
    ------
    FormatError
        Unknown suffix, a file that cannot be parsed, another shape, a number not finite.
    """
    path = Path(path)
    suffix = path.suffix.lstrip(".").lower()
    if suffix not in POSE_FORMATS:
        raise FormatError(f"cannot tell what {path} is; a pose ends in .{', .'.join(POSE_FORMATS)}")
    try:
        if path.stat().st_size > MAX_BYTES:
            raise FormatError(f"{path} is larger than {MAX_BYTES >> 20} MiB; a pose has 16 numbers")
        pose = np.asarray(_READERS[suffix](path), dtype=np.float64)
    except FormatError:
        raise
    except OSError as error:
        raise FormatError(f"cannot read the pose {path}: {error.strerror or error}") from error
    except Exception as error:  # NumPy and JSON raise many kinds on a damaged file
        raise FormatError(f"{path} holds no 4 x 4 pose: {error}") from error
    if pose.shape != (4, 4):
        raise FormatError(f"{path} holds an array of shape {pose.shape}; a pose is 4 x 4")
    if not np.isfinite(pose).all():
        raise FormatError(f"{path} holds a number that is not finite: {pose[~np.isfinite(pose)][0]}")
    return pose


def write_pose(path, matsimnibs, *, format=None):
    """Write a 4 x 4 pose as ``.txt`` (17 digits), or as ``.npy`` with a ``.npy.txt`` beside it.

    What the numbers are, and where the handle and the current point, stands at the text's head or beside
    the array.
    """
    path = Path(path)
    name = (format or path.suffix.lstrip(".")).lower()
    if name not in ("txt", "npy"):
        raise FormatError(f"unknown pose format {name!r} for {path}; known: txt, npy")
    words = (
        "matsimnibs: coil to head, columns x y z centre, z into the head; RAS of the head model, mm. "
        f"{pose_words(matsimnibs)}. {CONVENTION}"
    )
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        if name == "npy":
            np.save(file, np.asarray(matsimnibs, dtype=np.float64), allow_pickle=False)
        else:
            np.savetxt(file, matsimnibs, fmt="%.17g", header=words)
    if name == "npy":
        with atomic_path(path.with_name(f"{path.name}.txt")) as temporary:
            temporary.write_text(f"{words}\n", encoding="utf-8", newline="\n")


def _read_json(path):
    body = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(body, dict):
        return body
    if "placement" in body:
        body = body["placement"]
    if not isinstance(body, dict) or "matsimnibs" not in body:
        raise ValueError("the JSON has neither 'matsimnibs' nor 'placement' with one")
    return body["matsimnibs"]


def _read_text(path):
    text = path.read_text(encoding="utf-8").replace(",", " ").replace(";", " ")
    rows = [line.split("#")[0].split() for line in text.splitlines()]
    return [[float(word) for word in row] for row in rows if row]


def _read_npy(path):
    """The array of a ``.npy``, mapped: what a damaged header claims is not allocated."""
    return np.array(np.load(path, mmap_mode="r", allow_pickle=False))


_READERS = {
    "json": _read_json,
    "txt": _read_text,
    "csv": _read_text,
    "npy": _read_npy,
}
