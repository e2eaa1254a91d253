"""The landmarks from which a head is measured."""

from dataclasses import dataclass, fields, replace

import numpy as np

from efield.errors import LandmarkError
from efield.io.eeg import read_eeg_positions
from efield.io.records import InputFile
from efield.model.arrays import FieldsOnlyPickle, read_only
from efield.units import point_words

MNI_FIDUCIALS = {
    "nasion": (0.0, 82.9, -43.0),
    "inion": (0.0, -116.2, -30.5),
    "left": (-79.6, -20.6, -48.6),
    "right": (80.6, -20.6, -48.1),
}
"""Landmarks in MNI space (mm): Jurcak, Tsuzuki and Dan 2007, NeuroImage 34:1600."""

EEG_NAMES = {
    "nasion": ("nz", "nas", "nasion"),
    "inion": ("iz", "inion"),
    "left": ("lpa",),
    "right": ("rpa",),
    "left_tragus": ("ltr", "left tragus"),
    "right_tragus": ("rtr", "right tragus"),
}
"""What caps call the landmarks, in lower case. A cap's Cz is an electrode, not a measured vertex."""

NEEDED = tuple(MNI_FIDUCIALS)
"""Landmarks without which no head can be measured."""

OFF_SCALP_MM = 20.0
"""A landmark farther from the scalp is not one of this head."""

APART_MM = 50.0
"""Opposite landmarks are farther apart on any head."""


@dataclass(frozen=True, eq=False)
class Fiducials(FieldsOnlyPickle):
    """Landmarks in the head's own space, mm, RAS.

    Parameters
    ----------
    nasion, inion : (3,) arrays
    left, right : (3,) arrays
        Preauricular points.
    vertex : (3,) array, optional
        Cz as somebody marked it; by default it is constructed.
    left_tragus, right_tragus : (3,) arrays, optional
        Tragi, where they are known apart from the preauricular points.
    source : str
        Where they come from.
    files : tuple of InputFile
        What they were read from.

    Raises
    ------
    LandmarkError
        A value that is not three finite numbers, left and right or nasion and inion swapped or nearly
        the same point, only one tragus.
    """

    nasion: np.ndarray
    inion: np.ndarray
    left: np.ndarray
    right: np.ndarray
    vertex: np.ndarray | None = None
    left_tragus: np.ndarray | None = None
    right_tragus: np.ndarray | None = None
    source: str = "given"
    files: tuple = ()

    def __post_init__(self):
        for name in {**dict.fromkeys(NEEDED), **self.points}:
            object.__setattr__(self, name, _point(name, getattr(self, name)))
        _opposite("nasion", self.nasion, "inion", self.inion, 1, "anterior (y)")
        _opposite("right", self.right, "left", self.left, 0, "to the right (x)")
        if (self.left_tragus is None) != (self.right_tragus is None):
            raise LandmarkError("give both tragi, or none")
        if self.left_tragus is not None:
            _opposite(
                "right_tragus", self.right_tragus, "left_tragus", self.left_tragus, 0, "to the right (x)"
            )

    @property
    def points(self):
        """Those that are known, by name."""
        names = [f.name for f in fields(self) if f.name not in ("source", "files")]
        found = {name: getattr(self, name) for name in names}
        return {name: value for name, value in found.items() if value is not None}

    def on(self, surface):
        """The same, moved to the nearest points of a scalp.

        Raises
        ------
        LandmarkError
            One lies more than 20 mm from it.
        """
        points = self.points
        closest, distance, _ = surface.closest(np.stack(list(points.values())))
        for (name, point), away in zip(points.items(), distance, strict=True):
            if away > OFF_SCALP_MM:
                raise LandmarkError(
                    f"landmark {name} at {point_words(point)} mm ({self.source}) lies {away:.0f} mm "
                    "from the scalp; check its frame (the head's own space, RAS, mm)"
                )
        return replace(self, **dict(zip(points, closest, strict=True)))


def find_fiducials(head):
    """The landmarks a head brings: its EEG file's, or MNI's where it is its own MNI space.

    Parameters
    ----------
    head : HeadModel

    Returns
    -------
    Fiducials

    Raises
    ------
    LandmarkError
        The head brings none, or not all four; says what is missing.
    """
    if head.space == "mni":
        return Fiducials(**MNI_FIDUCIALS, source="MNI space, Jurcak et al. 2007")
    if head.folder is None:
        raise LandmarkError(
            f"head {head.name!r} brings no landmarks; give nasion, inion, left and right preauricular points "
            "(--landmarks, efield.Fiducials), or open its m2m_<subject> folder"
        )
    looked = []
    for cap, path in head.folder.eeg_files.items():
        points, missing = _named(head.folder.eeg_positions(cap))
        if not missing:
            return _from_file(points, path)
        looked.append(f"{path.name} lacks {', '.join(missing)}")
    raise LandmarkError(
        f"no file of {head.folder.path / 'eeg_positions'} holds all four landmarks "
        f"({'; '.join(looked) or 'it has no CSV file'}); add Fiducials.csv with Nz, Iz, LPA and RPA, or give "
        "the landmarks"
    )


def read_fiducials(path):
    """Landmarks from a CSV of EEG positions in the head's own space.

    Parameters
    ----------
    path : path-like
        With Nz, Iz, LPA and RPA; LTR and RTR are the tragi where it has them.

    Returns
    -------
    Fiducials

    Raises
    ------
    FormatError
        The file cannot be understood.
    LandmarkError
        One is missing.
    """
    points, missing = _named(read_eeg_positions(path))
    if missing:
        raise LandmarkError(f"{path} lacks {', '.join(missing)}; it needs Nz, Iz, LPA and RPA")
    return _from_file(points, path)


def _from_file(points, path):
    return Fiducials(**points, source=str(path), files=(InputFile.of("landmarks", path),))


def _named(positions):
    """Landmarks among the positions of a cap, by name, and those that are missing."""
    by_name = {(p.name or "").lower(): p.point_mm for p in positions}
    found = {}
    for name, aliases in EEG_NAMES.items():
        hits = [by_name[alias] for alias in aliases if alias in by_name]
        if hits:
            found[name] = hits[0]
    return found, [name for name in NEEDED if name not in found]


def _point(name, value):
    try:
        point = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        point = np.empty(0)
    if point.shape != (3,) or not np.all(np.isfinite(point)):
        raise LandmarkError(f"landmark {name} must be three finite coordinates in mm, not {value!r}")
    return read_only(point)


def _opposite(first, a, second, b, axis, words):
    """Check that a landmark lies on its side of its opposite."""
    apart = np.linalg.norm(a - b)
    if apart < APART_MM:
        raise LandmarkError(
            f"landmarks {first} {point_words(a)} and {second} {point_words(b)} are {apart:.0f} mm apart; "
            "coordinates must be in mm, and two different points"
        )
    if a[axis] <= b[axis]:
        raise LandmarkError(
            f"landmark {first} {point_words(a)} is not {words} of {second} {point_words(b)}: they are "
            "swapped, or the coordinates are not RAS"
        )
