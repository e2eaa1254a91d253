"""Where the coil lies: a rigid pose in the head's frame."""

from dataclasses import dataclass

import numpy as np

from efield.errors import PlacementError
from efield.frames import as_rigid, pose_from_yaw, tangent_axes, yaw_to_midline
from efield.model.arrays import FieldsOnlyPickle, read_only

DEFAULT_YAW_DEG = 45.0
"""Handle to the midline where nothing else is asked for, backwards and outwards."""

CONTACT_MM = 1e-3
"""A coil that touches the scalp still sees it: rays start this far back."""


@dataclass(frozen=True, eq=False)
class Placement(FieldsOnlyPickle):
    """A rigid coil pose.

    Parameters
    ----------
    matsimnibs : (4, 4) array
        Coil to head: columns x, y, z (into the head) and centre; the centre in mm, RAS.

    Raises
    ------
    PlacementError
        The matrix is sheared, left-handed or not finite.
    """

    matsimnibs: np.ndarray

    def __post_init__(self):
        object.__setattr__(self, "matsimnibs", read_only(as_rigid(self.matsimnibs)))

    @property
    def center_mm(self):
        """(3,) coil origin, mm."""
        return self.matsimnibs[:3, 3]

    @property
    def ydir(self):
        """(3,) unit +y axis of the coil: the handle's side, see docs/conventions.md."""
        return self.matsimnibs[:3, 1]

    @property
    def yaw_to_midline_deg(self):
        """Angle from the projected posterior direction to +y, positive towards the left."""
        return yaw_to_midline(self.matsimnibs)

    @classmethod
    def on_scalp(cls, head, center_mm, *, handle_mm=None, yaw_deg=None, distance_mm=4.0):
        """A coil tangential to the scalp.

        Parameters
        ----------
        head : HeadModel or PreparedHead
        center_mm : (3,) array
            The scalp point nearest to it lies under the coil's origin.
        handle_mm : (3,) array, optional
            A point towards which +y (the handle) points; alias of SimNIBS's ``pos_ydir``.
        yaw_deg : float, optional
            Instead of `handle_mm`: angle of +y to the projected posterior direction, positive
            towards the subject's left. Neither gives 45 degrees, backwards and outwards.
        distance_mm : float
            Coil origin to scalp along z.

        Raises
        ------
        PlacementError
            Both `handle_mm` and `yaw_deg`, a handle straight above the centre, or values that
            are not finite.
        """
        center = _point(center_mm, "center_mm")
        if handle_mm is not None and yaw_deg is not None:
            raise PlacementError("give handle_mm or yaw_deg, not both")
        if not np.isfinite(distance_mm) or distance_mm < 0:
            raise PlacementError(f"distance_mm must be >= 0, not {distance_mm}")
        scalp = getattr(head, "head", head).scalp
        point = scalp.closest(center)[0][0]
        inward = -scalp.smooth_normal(point)[0]
        if handle_mm is not None:
            yaw_deg = _yaw_towards(point, inward, _point(handle_mm, "handle_mm"))
        elif yaw_deg is None:
            yaw_deg = DEFAULT_YAW_DEG if point[0] <= 0 else -DEFAULT_YAW_DEG
        elif not np.isfinite(yaw_deg):
            raise PlacementError(f"yaw_deg must be finite, not {yaw_deg}")
        return cls(pose_from_yaw(point - distance_mm * inward, inward, yaw_deg))


def describe_placement(head, placement):
    """The record that results carry: pose, scalp point, handle direction, yaw, distance.

    ``scalp_mm`` and ``distance_mm`` are None where the coil's axis misses the scalp.
    """
    pose = placement.matsimnibs
    start = pose[:3, 3] - CONTACT_MM * pose[:3, 2]
    distance = float(head.scalp.ray_hits(start, pose[:3, 2])[0][0]) - CONTACT_MM
    hit = bool(np.isfinite(distance))
    return {
        "matsimnibs": pose.tolist(),
        "center_mm": pose[:3, 3].tolist(),
        "scalp_mm": (pose[:3, 3] + distance * pose[:3, 2]).tolist() if hit else None,
        "ydir": pose[:3, 1].tolist(),
        "yaw_to_midline_deg": yaw_to_midline(pose),
        "distance_mm": distance if hit else None,
    }


def _point(value, name):
    point = np.asarray(value, dtype=np.float64)
    if point.shape != (3,) or not np.all(np.isfinite(point)):
        raise PlacementError(f"{name} must be three finite coordinates in mm, not {value!r}")
    return point


def _yaw_towards(point, inward, handle):
    zero, quarter = tangent_axes(inward)
    along = handle - point
    x, y = along @ zero, along @ quarter
    if np.hypot(x, y) < 1e-6 * max(1.0, np.linalg.norm(along)):
        raise PlacementError(f"handle_mm {handle.tolist()} lies straight above the coil's centre")
    return float(np.degrees(np.arctan2(y, x)))
