"""The grid of coil placements a search tries: scalp points times yaw angles."""

from dataclasses import dataclass, replace

import numpy as np

from efield.errors import SearchError
from efield.frames import tangent_axes

RAY_START_MM = 60.0
"""Grid points are projected onto the scalp from this far above the tangent plane."""


@dataclass(frozen=True)
class Search:
    """Where to look.

    Parameters
    ----------
    radius_mm : float
        Euclidean radius about the search centre.
    spacing_mm : float
        Distance between scalp points.
    yaw_step_deg : float
        Step of the yaw grid; all 360 degrees are searched.
    center_mm : (3,) tuple or None
        Search centre; None takes the scalp point nearest to the target.
    refine : bool
        Polish the best grid placements continuously.

    Raises
    ------
    SearchError
        A value that is not positive, or a yaw step that does not divide 360.
    """

    radius_mm: float = 25.0
    spacing_mm: float = 2.0
    yaw_step_deg: float = 1.0
    center_mm: tuple | None = None
    refine: bool = True

    def __post_init__(self):
        for name in ("radius_mm", "spacing_mm", "yaw_step_deg"):
            value = getattr(self, name)
            if not np.isfinite(value) or value <= 0:
                raise SearchError(f"{name} must be positive, not {value!r}")
        if abs(360.0 / self.yaw_step_deg - round(360.0 / self.yaw_step_deg)) > 1e-9:
            raise SearchError(f"yaw_step_deg must divide 360, {self.yaw_step_deg!r} does not")
        if self.center_mm is not None:
            centre = np.asarray(self.center_mm, dtype=np.float64)
            if centre.shape != (3,) or not np.all(np.isfinite(centre)):
                raise SearchError(f"center_mm must be three finite coordinates, not {self.center_mm!r}")
            object.__setattr__(self, "center_mm", tuple(centre.tolist()))

    @property
    def yaw_deg(self):
        """(n_yaw,) yaw angles in (-180, 180], measured as ``yaw_to_midline_deg``."""
        n = round(360.0 / self.yaw_step_deg)
        return 180.0 - self.yaw_step_deg * np.arange(n)[::-1]


@dataclass(frozen=True, eq=False)
class ScalpGrid:
    """Scalp points with their outward smoothed normals.

    Attributes
    ----------
    points_mm, normals : (n, 3) arrays
    center_mm : (3,) array
        Search centre on the scalp.
    radius_mm, spacing_mm : float
    """

    points_mm: np.ndarray
    normals: np.ndarray
    center_mm: np.ndarray
    radius_mm: float
    spacing_mm: float

    def among(self, index):
        """The grid of some of the points, or of some several times."""
        return replace(self, points_mm=self.points_mm[index], normals=self.normals[index])

    def base_poses(self, distance_mm):
        """(n, 4, 4) matsimnibs at yaw 0, the coil origin `distance_mm`, one or (n,), above the scalp."""
        inward = -self.normals
        zero, quarter = tangent_axes(inward)
        poses = np.zeros((len(inward), 4, 4))
        poses[:, :3, 0], poses[:, :3, 1], poses[:, :3, 2] = -quarter, zero, inward
        poses[:, :3, 3] = self.points_mm - np.reshape(distance_mm, (-1, 1)) * inward
        poses[:, 3, 3] = 1.0
        return poses

    def near_edge(self, point_mm):
        """Whether a point lies within one spacing of the search radius."""
        return bool(np.linalg.norm(point_mm - self.center_mm) > self.radius_mm - self.spacing_mm)


def scalp_grid(scalp, center_mm, radius_mm, spacing_mm):
    """Square grid in the tangent plane at the scalp point nearest to `center_mm`, projected.

    Raises
    ------
    SearchError
        No scalp within the radius.
    """
    center = scalp.closest(center_mm)[0][0]
    outward = scalp.smooth_normal(center)[0]
    first, second = tangent_axes(-outward)
    n = int(np.floor(radius_mm / spacing_mm))
    steps = spacing_mm * np.arange(-n, n + 1)
    u, v = (x.ravel() for x in np.meshgrid(steps, steps, indexing="ij"))
    above = center + u[:, None] * first + v[:, None] * second + RAY_START_MM * outward
    distance, face = scalp.ray_hits(above, -outward)
    points = (above - distance[:, None] * outward)[face >= 0]
    points = points[np.linalg.norm(points - center, axis=1) <= radius_mm]
    if len(points) == 0:
        raise SearchError(
            f"no scalp point within {radius_mm:g} mm of {np.round(center, 1).tolist()} mm; "
            "enlarge radius_mm or check center_mm"
        )
    return ScalpGrid(points, scalp.smooth_normal(points), center, radius_mm, spacing_mm)


def yaw_rotations(yaw_deg):
    """(n, 4, 4) rotations about the coil's z axis; right-multiply a base pose with them."""
    angle = np.radians(yaw_deg)
    rotations = np.zeros((len(angle), 4, 4))
    rotations[:, 0, 0] = rotations[:, 1, 1] = np.cos(angle)
    rotations[:, 1, 0], rotations[:, 0, 1] = np.sin(angle), -np.sin(angle)
    rotations[:, 2, 2] = rotations[:, 3, 3] = 1.0
    return rotations
