"""Coils of several parts, some of them movable: from parts and settings to one :class:`Coil`."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import combinations

import numpy as np

from efield.errors import CoilError
from efield.io.tcd import DIPOLES, TcdRecord
from efield.model.arrays import FieldsOnlyPickle
from efield.model.coil import COVER_MM, Coil, largest_didt
from efield.model.surface import TriSurface

__all__ = ["CoilAssembly", "Parameter", "Part", "covers", "surface_points"]

SPACING_MM = 5.0
"""Casing triangles larger than this are sampled inside too: clearance is taken over points."""

OVERLAP_MM = 1.0
"""Casings that touch in their designer's pose may overlap by this much more than they do there."""

GRAIN_MM = 3.0
"""Overlap is looked for at points of a casing this far apart."""


@dataclass(frozen=True)
class Parameter:
    """A setting of a movable coil.

    Parameters
    ----------
    name : str
    unit : {"mm", "deg", "mm or deg"}
    initial, low, high : float
    moves : tuple of str
        Names of the parts it moves.
    """

    name: str
    unit: str
    initial: float
    low: float
    high: float
    moves: tuple


@dataclass(frozen=True, eq=False)
class Part:
    """Dipoles that move together.

    Parameters
    ----------
    positions_mm, moments : (n, 3) arrays
        Before any deformation, in the coil frame.
    stimulator : int
    extent_mm : (m, 3) array
        What stands for the part's outline where it has no casing.
    casing : TriSurface or None
    deformations : tuple of efield.io.tcd.Deformation
        Applied in this order.
    name : str
    sampled_box : (4, 4) array or None
        As in `Coil.sampled_boxes`.
    """

    positions_mm: np.ndarray
    moments: np.ndarray
    stimulator: int
    extent_mm: np.ndarray
    casing: TriSurface | None = None
    deformations: tuple = ()
    name: str = ""
    sampled_box: np.ndarray | None = None

    @cached_property
    def covered(self):
        """(n,) bool: dipoles that the part's own casing covers, which moves with them."""
        if self.casing is None:
            return np.zeros(len(self.moments), bool)
        return covers(self.casing, self.positions_mm)

    def element(self, element):
        """An element of a file with the part's dipoles in place of its wires or sampled field."""
        dipoles = {"points_mm": self.positions_mm, "values": self.moments}
        return replace(element, kind=DIPOLES, **dipoles, data=None, affine=None)


@dataclass(frozen=True, eq=False)
class CoilAssembly(FieldsOnlyPickle):
    """The parts of a coil.

    Parameters
    ----------
    parts : tuple of Part
    record : TcdRecord
        What the file says, an element for each part: the ranges of deformations, which parts must not meet.
        It holds no sampled fields, which are large, but their dipoles.
    casing : TriSurface or None
        Of the whole coil; it does not move.
    facts : dict
        What else goes into each `Coil`: name, notes, stimulators, ...
    """

    parts: tuple
    record: TcdRecord
    casing: TriSurface | None = None
    facts: dict = field(default_factory=dict)

    @cached_property
    def parameters(self):
        """Tuple of :class:`Parameter`, one for each range that moves a part."""
        found = []
        for index, limits in enumerate(self.record.ranges):
            users = [(d.kind, p.name) for p in self.parts for d in p.deformations if d.range == index]
            if users:
                kinds = {"deg" if kind == "rot2p" else "mm" for kind, _ in users}
                unit = kinds.pop() if len(kinds) == 1 else "mm or deg"
                moves = tuple(dict.fromkeys(name for _, name in users))
                found.append(
                    Parameter(f"deform{index}", unit, limits.initial, limits.low, limits.high, moves)
                )
        return tuple(found)

    def coil(self, values=()):
        """The coil at some settings.

        Parameters
        ----------
        values : sequence of float or mapping
            As in :meth:`Coil.deformed`; nothing stands for the initial values.

        Returns
        -------
        Coil

        Raises
        ------
        CoilError
            A wrong number or name, a value out of its range, or parts that would meet.
        """
        settings = self._settings(values)
        maps = [self._map(part, settings) for part in self.parts]
        if settings != self._settings(()):
            self._require_apart(maps)
        stimulators = self.facts.get("stimulators", ())
        positions_mm = np.vstack([_moved(m, p.positions_mm) for m, p in zip(maps, self.parts, strict=True)])
        return Coil(
            positions_mm=positions_mm,
            moments=np.vstack([p.moments @ m[:3, :3].T for m, p in zip(maps, self.parts, strict=True)]),
            casing_mm=self._extent(maps),
            casing=self._casing(maps),
            covered=self._covered(positions_mm),
            stimulator=np.concatenate([np.full(len(p.moments), p.stimulator) for p in self.parts]),
            max_didt=largest_didt(stimulators, np.ones(len(stimulators))),
            sampled_boxes=tuple(
                p.sampled_box @ np.linalg.inv(m)
                for m, p in zip(maps, self.parts, strict=True)
                if p.sampled_box is not None
            ),
            assembly=self,
            settings=tuple(settings.values()),
            **self.facts,
        )

    def _settings(self, values):
        """{range index: value}, checked."""
        names = [p.name for p in self.parameters]
        if not isinstance(values, Mapping):
            given = list(values)
            if given and len(given) != len(names):
                raise CoilError(f"{len(given)} settings given, but the coil has {len(names)}: {names}")
            values = dict(zip(names, given, strict=False))
        unknown = [name for name in values if name not in names]
        if unknown:
            raise CoilError(f"no setting is named {unknown[0]!r}; the coil has {names}")
        settings = {}
        for parameter in self.parameters:
            value = float(values.get(parameter.name, parameter.initial))
            if not parameter.low <= value <= parameter.high:
                raise CoilError(
                    f"{parameter.name}={value:g} {parameter.unit} lies outside its range "
                    f"[{parameter.low:g}, {parameter.high:g}]"
                )
            settings[int(parameter.name.removeprefix("deform"))] = value
        return settings

    @staticmethod
    def _map(part, settings):
        """(4, 4) map of the part's deformations, the first listed applied first."""
        total = np.eye(4)
        for deformation in part.deformations:
            total = _deformation_map(deformation, settings[deformation.range]) @ total
        return total

    def _extent(self, maps):
        """(n, 3) points of the casings; of the parts' own outlines where there is none."""
        pieces = [] if self.casing is None else [surface_points(self.casing.corners_mm)]
        for placed, part in zip(maps, self.parts, strict=True):
            if part.casing is not None:
                pieces.append(_moved(placed, surface_points(part.casing.corners_mm)))
            elif self.casing is None:
                pieces.append(_moved(placed, part.extent_mm))
        return np.vstack(pieces)

    def _casing(self, maps):
        """The casings as one surface, or None."""
        placed = [self._placed(k, maps) for k in range(len(self.parts) + 1)]
        return TriSurface.joined([surface for surface in placed if surface is not None])

    def _covered(self, positions_mm):
        """(n,) bool: dipoles that the casing of their part or of the whole coil covers."""
        covered = np.concatenate([part.covered for part in self.parts])
        if self.casing is not None and not covered.all():
            covered[~covered] = covers(self.casing, positions_mm[~covered])
        return covered

    def _require_apart(self, maps):
        for (one, overlap), before in zip(self._overlaps(maps), self._initial_overlaps, strict=True):
            if overlap > before[1] + OVERLAP_MM:
                names = " and ".join(map(self._part_name, one))
                raise CoilError(
                    f"at these settings {names} would overlap by {overlap:.1f} mm; choose smaller ones"
                )

    @cached_property
    def _initial_overlaps(self):
        settings = self._settings(())
        return self._overlaps([self._map(part, settings) for part in self.parts])

    def _overlaps(self, maps):
        """[((i, j), depth in mm)] of the pairs that must not meet."""
        pairs = sorted(
            {
                tuple(sorted(pair))
                for group in self.record.self_intersection
                for pair in combinations(group, 2)
            }
        )
        placed = {k: self._placed(k, maps) for k in {k for pair in pairs for k in pair}}
        known = [(i, j) for i, j in pairs if placed[i] is not None and placed[j] is not None]
        return [((i, j), max(_depth(placed[i], placed[j]), _depth(placed[j], placed[i]))) for i, j in known]

    def _placed(self, index, maps):
        if index == 0:
            return self.casing
        casing = self.parts[index - 1].casing
        if casing is None:
            return None
        return TriSurface(_moved(maps[index - 1], casing.vertices_mm), casing.triangles)

    def _part_name(self, index):
        return "the coil's casing" if index == 0 else f"part {self.parts[index - 1].name!r}"


def covers(surface, points_mm):
    """(n,) bool: points `COVER_MM` and more inside a casing; an open one covers none."""
    inside = surface.contains(points_mm) if surface.is_closed else np.zeros(len(points_mm), bool)
    inside[inside] = surface.closest(points_mm[inside])[1] >= COVER_MM
    return inside


def surface_points(corners_mm):
    """(n, 3) points of a surface: its corners and, on large triangles, points between.

    Parameters
    ----------
    corners_mm : (n_triangles, 3, 3) array
    """
    edges = np.linalg.norm(corners_mm - np.roll(corners_mm, 1, axis=1), axis=2).max(axis=1)
    divisions = np.maximum(1, np.ceil(edges / SPACING_MM).astype(int))
    samples = [_lattice(n) @ corners_mm[divisions == n] for n in np.unique(divisions)]
    return np.unique(np.vstack([s.reshape(-1, 3) for s in samples]), axis=0)


def _lattice(n):
    """(m, 3) barycentric coordinates of a triangle's corners and of points 1/n of an edge apart."""
    i, j = np.array([(i, j) for i in range(n + 1) for j in range(n + 1 - i)]).T
    return np.stack([i, j, n - i - j], axis=1) / n


def _depth(surface, other):
    """How deep points of a surface lie inside another, mm; an open one has no inside."""
    if not other.is_closed:
        return 0.0
    low, high = other.vertices_mm.min(axis=0), other.vertices_mm.max(axis=0)
    points = surface_points(surface.corners_mm)
    points = points[((points > low) & (points < high)).all(axis=1)]
    _, kept = np.unique(np.floor(points / GRAIN_MM), axis=0, return_index=True)
    points = points[kept]
    points = points[other.contains(points)] if len(points) else points
    return float(other.closest(points)[1].max()) if len(points) else 0.0


def _moved(matrix, points_mm):
    return points_mm @ matrix[:3, :3].T + matrix[:3, 3]


def _deformation_map(deformation, value):
    """(4, 4): a shift by mm, or a right-handed turn by degrees about the axis from point 1 to point 2."""
    matrix = np.eye(4)
    if deformation.kind != "rot2p":
        matrix["xyz".index(deformation.kind), 3] = value
        return matrix
    x, y, z = axis = deformation.point2_mm - deformation.point1_mm
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]]) / np.linalg.norm(axis)
    angle = np.radians(value)
    # Rodrigues' formula.
    matrix[:3, :3] += np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    matrix[:3, 3] = deformation.point1_mm - matrix[:3, :3] @ deformation.point1_mm
    return matrix
