"""Places on the scalp as a clinic marks them: along the circumference, then down from the vertex.

A mark (x, y) is made as Beam et al. 2009 (10.1016/j.brs.2008.09.006) make theirs: x cm from the midline of
the forehead (Fpz) along the circumference gives a point A; y cm from the vertex straight down to A
gives the place. Straight down is in the plane of A, the vertex and the middle of the circumference, as the
calculator's geometry has it and as a tape is held. The shortest path between the same two points bows
sideways by 3 to 7 mm on the built-in head; their lengths differ by less than 0.3 mm.
"""

from dataclasses import dataclass

import numpy as np

from efield.errors import LandmarkError
from efield.scalp.geodesic import geodesic
from efield.scalp.tape import tape
from efield.scalp.ten_ten import HeadMeasures, TenTen, ten_ten
from efield.units import point_words

NEAR_VERTEX_MM = 3.0
"""Closer than this to the vertex no direction is measured."""

BELOW_MM = 1.0
"""A place that the tape's end misses by more lies below the circumference."""


@dataclass(frozen=True)
class TapeMark:
    """A place on the scalp.

    Attributes
    ----------
    side : {"left", "right"}
    x_cm : float
        From the midline of the forehead along the circumference.
    y_cm : float
        From the vertex towards that point.
    """

    side: str
    x_cm: float
    y_cm: float

    def rounded(self, step_cm):
        """The mark on a tape with lines every `step_cm`."""
        x, y = (round(v / step_cm) * step_cm for v in (self.x_cm, self.y_cm))
        return TapeMark(self.side, x, y)


def point_of(system, mark):
    """The scalp point (3,) of a mark.

    Raises
    ------
    LandmarkError
        The mark lies beyond the end of a tape.
    """
    ring = system.rings[mark.side]
    if not 0 <= mark.x_cm <= ring.length_mm / 10:
        raise LandmarkError(
            f"{mark.x_cm:.2f} cm along the circumference: its {mark.side} half measures "
            f"{ring.length_mm / 10:.1f} cm"
        )
    down = _meridian(system, ring.at(10 * mark.x_cm))
    if not 0 <= mark.y_cm <= down.length_mm / 10:
        raise LandmarkError(
            f"{mark.y_cm:.2f} cm from the vertex: the circumference is reached after "
            f"{down.length_mm / 10:.1f} cm"
        )
    return system.surface.closest(down.at(10 * mark.y_cm))[0][0]


def mark_of(system, point_mm):
    """The mark of a scalp point.

    Parameters
    ----------
    system : TenTen
    point_mm : (3,) array

    Returns
    -------
    TapeMark

    Raises
    ------
    LandmarkError
        The point lies below the circumference.
    """
    point = system.surface.closest(point_mm)[0][0]
    side = "left" if (point - system.vertex_mm) @ system.axes[0] <= 0 else "right"
    if np.linalg.norm(point - system.vertex_mm) < NEAR_VERTEX_MM:
        return TapeMark(side, 0.0, float(np.linalg.norm(point - system.vertex_mm)) / 10)
    side, x_mm = _under(system, point, side)
    down = _meridian(system, system.rings[side].at(x_mm))
    y_mm = down.length_to(point)
    if y_mm >= down.length_mm - 1e-6 and np.linalg.norm(down.points_mm[-1] - point) > BELOW_MM:
        raise LandmarkError(
            f"{point_words(point)} mm lies below the circumference (Fpz, T7, Oz, T8): it cannot be "
            "marked from the vertex"
        )
    return TapeMark(side, x_mm / 10, y_mm / 10)


def _meridian(system, end_mm):
    """Tape from the vertex straight down to a point of the circumference."""
    return tape(system.surface, system.vertex_mm, end_mm, system.vertex_mm + system.upright)


def _under(system, point, side):
    """Side and length (mm) at which the meridian through a point meets the circumference."""
    across = np.cross(system.upright, point - system.vertex_mm)
    outward = np.cross(across, system.upright)
    for name in (side, *(s for s in system.rings if s != side)):
        ring = system.rings[name]
        aside, ahead = ((ring.points_mm - system.vertex_mm) @ v for v in (across, outward))
        for k in np.flatnonzero((aside[:-1] <= 0) != (aside[1:] <= 0)):
            share = aside[k] / (aside[k] - aside[k + 1])
            if (1 - share) * ahead[k] + share * ahead[k + 1] > 0:
                return name, float((1 - share) * ring.marks_mm[k] + share * ring.marks_mm[k + 1])
    raise LandmarkError(f"no tape from the vertex runs over {point_words(point)} mm; check the landmarks")


@dataclass(frozen=True)
class TapeInstructions:
    """How to mark a placement without navigation.

    Attributes
    ----------
    mark : TapeMark
        Exact.
    to_mark : TapeMark
        To the half centimetre.
    error_mm : float
        Between the two places, along the scalp.
    handle_to_midline_deg : float
        ``yaw_to_midline_deg`` of the placement.
    measures : HeadMeasures
        What the same tape must say on this head.
    """

    mark: TapeMark
    to_mark: TapeMark
    error_mm: float
    handle_to_midline_deg: float
    measures: HeadMeasures

    def __str__(self):
        at, turn = self.to_mark, self.handle_to_midline_deg
        side = "left" if turn >= 0 else "right"
        return (
            f"From the middle of the forehead (Fpz, a tenth of the way from nasion to inion) {at.x_cm:.1f} "
            f"cm to the {at.side} along the circumference; from the vertex {at.y_cm:.1f} cm towards that "
            f"point. Coil there, tangential; handle (+y) {abs(turn):.0f} degrees from straight back towards "
            f"the {side}. Exact: {self.mark.x_cm:.2f} and {self.mark.y_cm:.2f} cm; marking it to 0.5 cm errs "
            f"by {self.error_mm:.1f} mm. The head measures {self.measures.nasion_inion_cm:.1f} cm from "
            f"nasion to inion, {self.measures.tragus_tragus_cm:.1f} cm from ear to ear "
            f"({self.measures.ears}) and {self.measures.circumference_cm:.1f} cm round."
        )


MARKED_TO_CM = 0.5


def tape_instructions(head, placement, fiducials=None):
    """Distances by which a clinic without navigation finds a placement.

    Parameters
    ----------
    head : HeadModel, PreparedHead or TenTen
    placement : Placement
        The scalp point on the coil's axis is the place.
    fiducials : Fiducials, optional
        By default those that the head brings.

    Returns
    -------
    TapeInstructions

    Raises
    ------
    LandmarkError
        No landmarks; the coil's axis misses the scalp; a place below the circumference.
    """
    system = head if isinstance(head, TenTen) else ten_ten(head, fiducials)
    pose = placement.matsimnibs
    start = pose[:3, 3] - pose[:3, 2]
    distance = system.surface.ray_hits(start, pose[:3, 2])[0][0]
    if not np.isfinite(distance):
        raise LandmarkError("the coil's axis misses the scalp: there is no place to mark")
    mark = mark_of(system, start + distance * pose[:3, 2])
    to_mark = mark.rounded(MARKED_TO_CM)
    places = [point_of(system, m) for m in (mark, to_mark)]
    return TapeInstructions(
        mark,
        to_mark,
        geodesic(system.surface, *places).length_mm,
        placement.yaw_to_midline_deg,
        system.measures,
    )
