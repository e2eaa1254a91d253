"""What a placement must satisfy, as data, and the check of a whole grid against it."""

from dataclasses import dataclass

import numpy as np

from efield.errors import SearchError
from efield.kernels import geometry
from efield.kernels._jit import run_chunks

CONTACT_MM = 0.5
"""A coil may dip this far into the scalp's facets: a tangential one at distance 0 does, for its
normal is the smoothed one.
"""

YAW_CHECK_DEG = 10.0
"""Clearance varies slowly with yaw: the grid's is sampled this finely and taken over between."""

POINT_SPACING_MM = 6.0
"""The grid's clearance looks at points of the coil this far apart; reported ones at all."""


@dataclass(frozen=True)
class Constraints:
    """Limits on the placement.

    Parameters
    ----------
    distance_mm : float
        Coil origin to scalp along the coil's z axis: casing, hair and cap.
    min_clearance_mm : float
        Smallest allowed distance between the scalp and the coil's casing (its dipoles where
        no casing is known), less `CONTACT_MM`.
    max_tilt_deg : float
        Allowed deviation from tangential; this version searches tangential placements only, so 0.
    yaw_range_deg : (low, high) or None
        Allowed yaw to the midline, from `low` anticlockwise to `high` as the angle grows;
        None allows all.

    Raises
    ------
    SearchError
        A value that is not finite, a negative distance, or a tilt.
    """

    distance_mm: float = 4.0
    min_clearance_mm: float = 0.0
    max_tilt_deg: float = 0.0
    yaw_range_deg: tuple | None = None

    def __post_init__(self):
        if not np.isfinite(self.distance_mm) or self.distance_mm < 0:
            raise SearchError(f"distance_mm must be >= 0, not {self.distance_mm!r}")
        if not np.isfinite(self.min_clearance_mm) or self.min_clearance_mm < 0:
            raise SearchError(f"min_clearance_mm must be >= 0, not {self.min_clearance_mm!r}")
        if self.max_tilt_deg != 0:
            raise SearchError(
                f"max_tilt_deg must be 0, not {self.max_tilt_deg!r}: this version searches tangential "
                "placements only"
            )
        if self.yaw_range_deg is not None:
            bounds = np.asarray(self.yaw_range_deg, dtype=np.float64)
            if bounds.shape != (2,) or not np.all(np.isfinite(bounds)):
                raise SearchError(f"yaw_range_deg must be (low, high) in degrees, not {self.yaw_range_deg!r}")
            object.__setattr__(self, "yaw_range_deg", tuple(bounds.tolist()))

    def allows_yaw(self, yaw_deg):
        """Which yaw angles lie in the allowed sector."""
        yaw = np.asarray(yaw_deg, dtype=np.float64)
        if self.yaw_range_deg is None:
            return np.ones(yaw.shape, bool)
        low, high = self.yaw_range_deg
        width = (high - low) % 360.0 or 360.0
        return (yaw - low) % 360.0 <= width + 1e-9


def clearance_mm(scalp, coil, pose):
    """Smallest signed distance from the scalp to the coil's casing or dipoles.

    Parameters
    ----------
    scalp : TriSurface
    coil : Coil
    pose : (4, 4) array
        matsimnibs.
    """
    points = coil.extent_mm @ pose[:3, :3].T + pose[:3, 3]
    if not scalp.contains(points).any():
        points = scalp.nearest_of(points)
    return float(scalp.signed_distance(points).min())


def feasible_grid(head, coil, base_poses, yaw_deg, constraints):
    """(n, n_yaw) bool: placements in the allowed yaw sector whose coil stays off the scalp.

    The coil is checked against the height of the scalp over the search's tangent plane. That
    never overstates the clearance by more than about 0.3 mm where the scalp does not overhang,
    and understates it far from the scalp; reported placements are measured exactly.
    """
    heights = _HeightField.over(head.scalp, coil, base_poses)
    checked = np.arange(-180.0, 180.0, YAW_CHECK_DEG)
    gaps = heights.gaps(_thinned(coil.extent_mm, POINT_SPACING_MM), base_poses, checked)
    clear = gaps >= constraints.min_clearance_mm - CONTACT_MM
    nearest = np.round((np.asarray(yaw_deg) + 180.0) / YAW_CHECK_DEG).astype(int) % len(checked)
    return clear[:, nearest] & constraints.allows_yaw(yaw_deg)


def _thinned(points, spacing):
    points = np.ascontiguousarray(points)
    kept = np.empty(len(points), np.int64)
    return points[kept[: geometry.thin(points, spacing**2, kept)]]


@dataclass(frozen=True, eq=False)
class _HeightField:
    """Height of the outermost scalp along one direction, on a grid; -inf where there is none."""

    heights: np.ndarray
    slope: np.ndarray
    axes: np.ndarray
    origin: np.ndarray
    step: float

    @classmethod
    def over(cls, scalp, coil, base_poses, step=1.0):
        outward = -base_poses[:, :3, 2].mean(axis=0)
        outward /= np.linalg.norm(outward)
        first = np.cross(np.eye(3)[int(np.argmin(np.abs(outward)))], outward)
        first /= np.linalg.norm(first)
        axes = np.stack([first, np.cross(outward, first), outward])
        reach = np.linalg.norm(coil.extent_mm, axis=1).max() + step
        centres = base_poses[:, :3, 3] @ axes.T
        low, high = centres.min(axis=0) - reach, centres.max(axis=0) + reach
        nx, ny = (np.ceil((high - low)[:2] / step).astype(int) + 1).tolist()
        heights, slopes = np.full((nx, ny), -np.inf), np.ones((nx, ny))
        corners = scalp.corners_mm @ axes.T
        geometry.raster_heights(corners, low[0], low[1], step, heights, slopes)
        return cls(heights, slopes, axes, low, step)

    def gaps(self, points, poses, yaw_deg):
        """(n, n_yaw) smallest distance of points (m, 3) of a coil above the scalp, mm.

        The height over the scalp times the cosine of the slope under it. `poses` (n, 4, 4) are turned by
        each of `yaw_deg`.
        """
        local = np.ascontiguousarray(self.axes @ poses[:, :3])
        turn, gaps = np.radians(yaw_deg), np.empty((len(poses), len(yaw_deg)))
        run_chunks(
            geometry.smallest_gaps,
            len(poses),
            local,
            points,
            np.cos(turn),
            np.sin(turn),
            self.heights,
            self.slope,
            self.origin,
            self.step,
            gaps,
            min_chunk=16,
        )
        return gaps
