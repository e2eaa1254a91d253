"""The 10-10 system on a scalp, and the measures a clinic takes on the way.

Built as on a person (Jurcak et al. 2007, 10.1016/j.neuroimage.2006.09.024): the vertex halves both the tape
from nasion to inion and the one from ear to ear; ten per cent of those give Fpz, Oz, T7 and T8; tapes
through these four make the circumference; tapes across, from one side over the midline to the other,
carry the rest. Every tape lies in the plane of three points. Where a tape runs over a position that is
already marked, both of its sides are divided on their own, so that a position has one place only.
"""

from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

import numpy as np

from efield.errors import LandmarkError
from efield.model.arrays import FieldsOnlyPickle
from efield.model.surface import TriSurface
from efield.scalp.fiducials import Fiducials, find_fiducials
from efield.scalp.tape import tape
from efield.units import point_words

MIDLINE = ("Fpz", "AFz", "Fz", "FCz", "Cz", "CPz", "Pz", "POz", "Oz")
CORONAL = ("T7", "C5", "C3", "C1", "Cz", "C2", "C4", "C6", "T8")
RINGS = MappingProxyType(
    {
        "left": ("Fp1", "AF7", "F7", "FT7", "T7", "TP7", "P7", "PO7", "O1"),
        "right": ("Fp2", "AF8", "F8", "FT8", "T8", "TP8", "P8", "PO8", "O2"),
    }
)
LOW_RINGS = MappingProxyType(
    {
        "left": ("N1", "AF9", "F9", "FT9", "T9", "TP9", "P9", "PO9", "I1"),
        "right": ("N2", "AF10", "F10", "FT10", "T10", "TP10", "P10", "PO10", "I2"),
    }
)
ACROSS = (
    ("AF7", "AF5", "AF3", "AF1", "AFz", "AF2", "AF4", "AF6", "AF8"),
    ("F7", "F5", "F3", "F1", "Fz", "F2", "F4", "F6", "F8"),
    ("FT7", "FC5", "FC3", "FC1", "FCz", "FC2", "FC4", "FC6", "FT8"),
    ("TP7", "CP5", "CP3", "CP1", "CPz", "CP2", "CP4", "CP6", "TP8"),
    ("P7", "P5", "P3", "P1", "Pz", "P2", "P4", "P6", "P8"),
    ("PO7", "PO5", "PO3", "PO1", "POz", "PO2", "PO4", "PO6", "PO8"),
)
"""Positions from left to right; the first, the middle and the last are marked before."""

VERTEX_SETTLED_MM = 0.01
VERTEX_ROUNDS = 50


@dataclass(frozen=True)
class HeadMeasures:
    """What a tape measure says, cm.

    Attributes
    ----------
    nasion_inion_cm : float
        Over the vertex.
    tragus_tragus_cm : float
        Over the vertex; between the preauricular points where `ears` says so.
    circumference_cm : float
        At the level of Fpz, T7, Oz and T8.
    ears : {"tragus", "preauricular"}
    """

    nasion_inion_cm: float
    tragus_tragus_cm: float
    circumference_cm: float
    ears: str


@dataclass(frozen=True, eq=False)
class TenTen(FieldsOnlyPickle):
    """Scalp positions by name, the tapes that made them, and the head's measures.

    Parameters
    ----------
    surface : TriSurface
        The scalp.
    fiducials : Fiducials

    Raises
    ------
    LandmarkError
        A landmark lies off this scalp, or a tape finds none.
    """

    surface: TriSurface
    fiducials: Fiducials

    def __post_init__(self):
        object.__setattr__(self, "fiducials", self.fiducials.on(self.surface))

    @cached_property
    def vertex_mm(self):
        """Cz: given, or half-way on both tapes."""
        marks = self.fiducials
        if marks.vertex is not None:
            return marks.vertex
        middle = (marks.nasion + marks.inion + marks.left + marks.right) / 4
        up = np.cross(marks.right - marks.left, marks.nasion - marks.inion)
        vertex = middle + 100.0 * up / np.linalg.norm(up)
        for _ in range(VERTEX_ROUNDS):
            before = vertex
            along = self._on_scalp(tape(self.surface, marks.nasion, marks.inion, vertex).part(0.5))
            vertex = self._on_scalp(tape(self.surface, marks.left, marks.right, along).part(0.5))
            if np.linalg.norm(vertex - before) < VERTEX_SETTLED_MM:
                return vertex
        raise LandmarkError(
            f"the vertex does not settle (last {point_words(vertex)} mm); check the landmarks, or "
            "give the vertex"
        )

    @cached_property
    def midline(self):
        """Tape from the nasion over the vertex to the inion."""
        return tape(self.surface, self.fiducials.nasion, self.fiducials.inion, self.vertex_mm)

    @cached_property
    def coronal(self):
        """Tape from the left over the vertex to the right preauricular point."""
        return tape(self.surface, self.fiducials.left, self.fiducials.right, self.vertex_mm)

    @cached_property
    def rings(self):
        """Halves of the circumference, ``left`` and ``right``: tapes from Fpz over T7 or T8 to Oz."""
        marks = self._skeleton
        return MappingProxyType(
            {s: tape(self.surface, marks["Fpz"], marks["Oz"], marks[RINGS[s][4]]) for s in RINGS}
        )

    @cached_property
    def _skeleton(self):
        midline = self._divided(self.midline, self.vertex_mm, MIDLINE)
        return midline | self._divided(self.coronal, self.vertex_mm, CORONAL)

    @cached_property
    def positions(self):
        """(3,) scalp points by name, mm."""
        marks = dict(self._skeleton)
        for side, ring in self.rings.items():
            marks |= self._divided(ring, marks[RINGS[side][4]], RINGS[side])
        for side, ear in (("left", self.fiducials.left), ("right", self.fiducials.right)):
            low = tape(self.surface, self.fiducials.nasion, self.fiducials.inion, ear)
            marks |= self._divided(low, ear, LOW_RINGS[side])
        for names in ACROSS:
            over = tape(self.surface, marks[names[0]], marks[names[8]], marks[names[4]])
            marks |= self._divided(over, marks[names[4]], names[1:8])
        ends = {"Nz": self.fiducials.nasion, "Iz": self.fiducials.inion}
        return MappingProxyType(ends | marks)

    @cached_property
    def measures(self):
        """The head's measures, a HeadMeasures."""
        marks = self.fiducials
        ears = self.coronal
        if marks.left_tragus is not None:
            ears = tape(self.surface, marks.left_tragus, marks.right_tragus, self.vertex_mm)
        return HeadMeasures(
            nasion_inion_cm=self.midline.length_mm / 10,
            tragus_tragus_cm=ears.length_mm / 10,
            circumference_cm=sum(ring.length_mm for ring in self.rings.values()) / 10,
            ears="preauricular" if marks.left_tragus is None else "tragus",
        )

    @cached_property
    def axes(self):
        """(3, 3) unit right, anterior and up directions of the head, as rows."""
        marks = self.fiducials
        anterior = marks.nasion - marks.inion
        anterior = anterior / np.linalg.norm(anterior)
        right = np.cross(anterior, self.vertex_mm - marks.inion)
        right = right / np.linalg.norm(right)
        return np.stack([right, anterior, np.cross(right, anterior)])

    @cached_property
    def upright(self):
        """(3,) unit direction from the middle of the circumference to the vertex."""
        ring = np.concatenate([ring.part(np.linspace(0, 1, 100)) for ring in self.rings.values()])
        up = self.vertex_mm - ring.mean(axis=0)
        return up / np.linalg.norm(up)

    def _divided(self, curve, anchor, names):
        """Names at equal steps from both ends of a tape to the anchor, which has the middle one."""
        half = (len(names) + 1) // 2
        at = curve.length_to(anchor)
        steps = np.arange(1, half) / half
        lengths = np.concatenate([at * steps, at + (curve.length_mm - at) * steps])
        points = self._on_scalp(curve.at(lengths))
        rest = [name for i, name in enumerate(names) if i != half - 1]
        return dict(zip(rest, points, strict=True)) | {names[half - 1]: np.asarray(anchor)}

    def _on_scalp(self, points):
        closest = self.surface.closest(points)[0]
        return closest[0] if np.ndim(points) == 1 else closest


def ten_ten(head, fiducials=None):
    """The 10-10 system of a head.

    Parameters
    ----------
    head : HeadModel or PreparedHead
    fiducials : Fiducials, optional
        By default those that the head brings.

    Returns
    -------
    TenTen
    """
    head = getattr(head, "head", head)
    return TenTen(head.scalp, find_fiducials(head) if fiducials is None else fiducials)
