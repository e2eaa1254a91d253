"""What a navigation file holds, before anybody judges it."""

import datetime
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class PoseRecord:
    """One coil pose of a file, in efield's own convention.

    Attributes
    ----------
    matsimnibs : (4, 4) array
        Coil to head: columns x, y, z (into the head), centre in mm, RAS. Not yet checked.
    name : str
    where : str
        Its place in the file, for messages.
    kind : {"target", "sample"}
        Planned, or recorded.
    time_s : float or None
        Seconds since the recording began.
    recorded_at : datetime.datetime or None
        Wall clock, as the navigation system wrote it.
    didt : float or None
        A/s.
    intensity_percent : float or None
        Per cent of the maximum stimulator output.
    """

    matsimnibs: np.ndarray
    name: str
    where: str = ""
    kind: str = "target"
    time_s: float | None = None
    recorded_at: datetime.datetime | None = None
    didt: float | None = None
    intensity_percent: float | None = None


@dataclass(frozen=True, eq=False)
class NamedPoint:
    """A point of a file that is no coil pose: a landmark, an entry or a target.

    Attributes
    ----------
    name, kind : str
    position_mm : (3,) array
        RAS.
    """

    name: str
    kind: str
    position_mm: np.ndarray


@dataclass(frozen=True)
class Skipped:
    """An entry of a file that gives no usable pose, and why."""

    name: str
    where: str
    reason: str


@dataclass(frozen=True, eq=False)
class SessionRecord:
    """Everything a navigation file holds.

    Attributes
    ----------
    format : str
        The system that wrote it.
    poses : tuple of PoseRecord
    points : tuple of NamedPoint
    skipped : tuple of Skipped
    """

    format: str
    poses: tuple
    points: tuple = ()
    skipped: tuple = ()
