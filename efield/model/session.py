"""Recorded or planned placements with their names and times, from and for navigation systems."""

import datetime
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from efield.errors import PlacementError
from efield.frames import ROUNDING, nearest_rigid
from efield.io.navigation.files import read_session, write_session
from efield.io.navigation.records import PoseRecord
from efield.io.records import InputFile
from efield.model.placement import Placement

METRES_BELOW_MM = 2.0
"""Poses that all lie this near to the origin must be in metres."""


@dataclass(frozen=True, eq=False)
class NamedPlacement(Placement):
    """A placement with what a navigation file says about it.

    Parameters
    ----------
    matsimnibs : (4, 4) array
        As in `Placement`.
    name : str
    kind : {"target", "sample"}
        Planned, or recorded.
    time_s : float or None
        Seconds since the recording began.
    recorded_at : datetime.datetime or None
        Wall clock of the navigation system.
    didt : float or None
        A/s at that pulse.
    intensity_percent : float or None
        Per cent of the maximum stimulator output.
    """

    name: str = ""
    kind: str = "target"
    time_s: float | None = None
    recorded_at: datetime.datetime | None = None
    didt: float | None = None
    intensity_percent: float | None = None


@dataclass(frozen=True, eq=False)
class Session(Sequence):
    """The placements of a file, in its order; a sequence that ``simulate`` takes as it is.

    Attributes
    ----------
    placements : tuple of NamedPlacement
    points : tuple of NamedPoint
        Landmarks, entry and target points: no coil poses.
    skipped : tuple of Skipped
        Entries without a usable pose (``name``, ``where``, ``reason``), such as untracked samples.
    source : str
        The file.
    format : str
        The system that wrote it.
    files : tuple of InputFile
        The file by its hash.
    """

    placements: tuple
    points: tuple = ()
    skipped: tuple = ()
    source: str = ""
    format: str = ""
    files: tuple = ()

    def __len__(self):
        return len(self.placements)

    def __getitem__(self, index):
        return self.placements[index]

    def __repr__(self):
        return f"Session({self.source!r}, {self.format}: {self.summary()})"

    def summary(self):
        """``"7 placements, 1 skipped (1 not tracked), 3 points"``."""
        reasons = {}
        for one in self.skipped:
            reasons[one.reason] = reasons.get(one.reason, 0) + 1
        why = "; ".join(f"{count} {reason}" for reason, count in reasons.items())
        skipped = f", {len(self.skipped)} skipped ({why})" if self.skipped else ""
        points = f", {len(self.points)} points that are no poses" if self.points else ""
        return f"{len(self)} placements{skipped}{points}"


def load_placements(path, *, image=None):
    """Read placements from a navigation file.

    Parameters
    ----------
    path : path-like
        Localite, Brainsight, Softaxic, ANT, InVesalius, NaviNIBS, SimNIBS (session or log), a CSV table,
        a ``result.json`` or its folder, or a single 4 x 4 pose; told apart by content.
        See docs/navigation.md.
    image : path-like, optional
        The NIfTI used for navigation; only poses in Brainsight's own coordinates need it.

    Returns
    -------
    Session
        Poses as matsimnibs. Entries without a usable pose are in ``skipped``, and a warning counts them.

    Raises
    ------
    FormatError
        Unknown, damaged or truncated; the message names file and line or key.
    PlacementError
        A pose that is not rigid, or poses that look like metres.

    Warns
    -----
    RuntimeWarning
        Entries were skipped, or rounded rotations were made orthonormal: with the deviation.
    """
    path = Path(path)
    path = path / "result.json" if path.is_dir() else path
    record = read_session(path, image)
    poses = [_rigid(path, one) for one in record.poses]
    _check_unit(path, [pose for pose, _ in poses])
    placements = tuple(
        NamedPlacement(pose, **_said(one)) for (pose, _), one in zip(poses, record.poses, strict=True)
    )
    files = (InputFile.of("placements", path),)
    session = Session(placements, record.points, record.skipped, str(path), record.format, files)
    _warn_about_rounding(path, record.poses, [deviation for _, deviation in poses])
    if session.skipped or not len(session):
        warnings.warn(f"{path}: {session.summary()}", RuntimeWarning, stacklevel=2)
    return session


def _rigid(path, record):
    try:
        return nearest_rigid(record.matsimnibs)
    except PlacementError as error:
        raise PlacementError(f"{path}, {record.where} ({record.name}): {error}") from None


def _check_unit(path, poses):
    reach = max((float(np.abs(pose[:3, 3]).max()) for pose in poses), default=np.inf)
    if 0 < reach < METRES_BELOW_MM:
        raise PlacementError(
            f"{path}: all coil centres lie within {reach:.3g} mm of the origin, so they look like metres; "
            "positions must be in mm"
        )


def _warn_about_rounding(path, records, deviations):
    count = sum(deviation > ROUNDING for deviation in deviations)
    if count:
        worst = int(np.argmax(deviations))
        warnings.warn(
            f"{path}: {count} of {len(records)} rotations deviate from rigid by up to "
            f"{deviations[worst]:.2g} ({records[worst].where}, {records[worst].name}); their axes were made "
            "orthonormal",
            RuntimeWarning,
            stacklevel=3,
        )


def _said(record):
    names = ("name", "kind", "time_s", "recorded_at", "didt", "intensity_percent")
    return {name: getattr(record, name) for name in names}


def save_placements(placements, path, *, format=None, image=None):
    """Write placements for a navigation system.

    Every file, or a text file beside it where its format has no place for a comment, says in words where
    the handle and the current point.

    Parameters
    ----------
    placements : Session, Placement, (4, 4) array or sequence of them
        Those without a name are numbered.
    path : path-like
    format : str, optional
        ``csv``, ``localite``, ``localite-lps``, ``localite-trigger``, ``localite-trigger-lps``,
        ``brainsight`` (version 12), ``brainsight14``, ``softaxic``, ``ant``, ``invesalius``, ``navinibs`` or
        ``simnibs``; without it the suffix decides.
    image : path-like, optional
        The NIfTI used for navigation. InVesalius cannot place a marker without it; Brainsight and ANT files
        then name its frame.

    Returns
    -------
    Path

    Raises
    ------
    PlacementError
        No placements.
    FormatError
        Unknown format, or a name that the format cannot hold.
    OutputError
        The file cannot be written.
    """
    if isinstance(placements, Placement) or (isinstance(placements, np.ndarray) and placements.ndim == 2):
        placements = [placements]
    records = [_record(one, i) for i, one in enumerate(placements, 1)]
    if not records:
        raise PlacementError(f"no placements to write to {path}")
    write_session(path, records, format=format, image=image)
    return Path(path)


def _record(placement, i):
    if not isinstance(placement, Placement):
        placement = Placement(placement)
    if not isinstance(placement, NamedPlacement):
        return PoseRecord(placement.matsimnibs, f"placement {i}")
    said = _said(placement)
    return PoseRecord(placement.matsimnibs, **{**said, "name": placement.name or f"placement {i}"})
