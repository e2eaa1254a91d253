"""What a placement must satisfy, as data; and which placements do, one by one and on a grid."""

from dataclasses import dataclass

import numpy as np

from efield.errors import SearchError
from efield.frames import yaw_to_midline
from efield.kernels import geometry
from efield.kernels._jit import run_chunks
from efield.units import to_mm

CONTACT_MM = 0.5
"""A coil may dip this far into the scalp's facets: a tangential one at distance 0 does, for its
normal is the smoothed one.
"""

BARE_MM = 0.05
"""A coil whose dipoles are not all covered by a casing keeps this far off."""

YAW_CHECK_DEG = 10.0
"""Clearance varies slowly with yaw: the grid's is sampled this finely and taken over between."""

POINT_SPACING_MM = 6.0
"""The grid's clearance looks at points of a casing this far apart; reported ones at all."""

LIFT_MM = 12.0
"""The search looks this far above the least lifted placement: beyond, the field is half."""

LIFT_STEP_MM = 2.0
"""Step of the distances on the grid; the polish finds the exact one."""

HIGHEST_MM = 60.0
"""A coil that touches when lifted this far is given up."""

MOST_TILT_DEG = 45.0
"""Largest tilt that may be asked for."""

TOUCHING_MM = 1e-3
"""Lifting stops this near to the smallest clearance, on its safe side."""


@dataclass(frozen=True)
class Constraints:
    """Limits on the placement; the defaults suit a figure-8 coil.

    Parameters
    ----------
    distance_mm : float
        Smallest distance of coil origin and scalp along the coil's z axis: casing, hair and cap.
        Where the coil would break `min_clearance_mm` it is lifted along its axis just until it
        does not.
    min_clearance_mm : float
        Smallest allowed distance between the scalp and the coil's casing and the dipoles it does not
        cover, less `CONTACT_MM`.
    max_tilt_deg : float
        Largest angle between the coil's z axis and the smoothed inward normal where that axis
        meets the scalp.
    yaw_range_deg : (low, high) or None
        Allowed yaw to the midline, from `low` anticlockwise to `high` as the angle grows;
        None allows all.
    exclude : tuple of (x, y, z, radius)
        Balls, mm, in which the scalp point under the coil's centre may not lie.

    Raises
    ------
    SearchError
        A value that is not finite or out of its range.
    """

    distance_mm: float = 4.0
    min_clearance_mm: float = 0.0
    max_tilt_deg: float = 0.0
    yaw_range_deg: tuple | None = None
    exclude: tuple = ()

    def __post_init__(self):
        if not np.isfinite(self.distance_mm) or self.distance_mm < 0:
            raise SearchError(f"distance_mm must be >= 0, not {self.distance_mm!r}")
        if not np.isfinite(self.min_clearance_mm) or self.min_clearance_mm < 0:
            raise SearchError(f"min_clearance_mm must be >= 0, not {self.min_clearance_mm!r}")
        if not 0 <= self.max_tilt_deg <= MOST_TILT_DEG:
            raise SearchError(
                f"max_tilt_deg must be from 0 to {MOST_TILT_DEG:g} degrees, not {self.max_tilt_deg!r}"
            )
        if self.yaw_range_deg is not None:
            bounds = _numbers(self.yaw_range_deg, (2,))
            if bounds is None:
                raise SearchError(f"yaw_range_deg must be (low, high) in degrees, not {self.yaw_range_deg!r}")
            object.__setattr__(self, "yaw_range_deg", tuple(bounds.tolist()))
        balls = [_numbers(ball, (4,)) for ball in self.exclude]
        for ball, given in zip(balls, self.exclude, strict=True):
            if ball is None or ball[3] <= 0:
                raise SearchError(
                    f"exclude takes balls (x, y, z, radius) in mm with a positive radius, not {given!r}"
                )
        object.__setattr__(self, "exclude", tuple(tuple(ball.tolist()) for ball in balls))

    def least_clearance_mm(self, coil):
        """What the clearance of a coil may come down to.

        A casing may dip `CONTACT_MM` into the scalp's facets; bare dipoles must stay outside.
        """
        least = self.min_clearance_mm - CONTACT_MM
        return max(least, BARE_MM) if coil.bare.any() else least

    def allows_yaw(self, yaw_deg):
        """Which yaw angles lie in the allowed sector."""
        yaw = np.asarray(yaw_deg, dtype=np.float64)
        if self.yaw_range_deg is None:
            return np.ones(yaw.shape, bool)
        low, _ = self.yaw_range_deg
        return (yaw - low) % 360.0 <= self._yaw_width + 1e-9

    def yaw_room(self, yaw_deg):
        """How far an allowed yaw may turn either way, (backwards, forwards) in degrees."""
        if self.yaw_range_deg is None:
            return np.inf, np.inf
        back = (yaw_deg - self.yaw_range_deg[0]) % 360.0
        return back, max(self._yaw_width - back, 0.0)

    @property
    def _yaw_width(self):
        low, high = self.yaw_range_deg
        return (high - low) % 360.0 or 360.0

    def excludes(self, points_mm):
        """(n,) bool: which scalp points (n, 3) lie in an excluded ball."""
        out = np.zeros(len(points_mm), bool)
        for *centre, radius in self.exclude:
            out |= np.linalg.norm(points_mm - np.array(centre), axis=1) < radius
        return out


def _numbers(values, shape):
    """Finite numbers of a shape, or None."""
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        return None
    return array if array.shape == shape and np.all(np.isfinite(array)) else None


def clearance_mm(scalp, coil, pose):
    """Smallest signed distance from the scalp to the coil's casing and the dipoles it does not cover.

    Parameters
    ----------
    scalp : TriSurface
    coil : Coil
    pose : (4, 4) array
        matsimnibs.
    """
    lowest = coil.extent_mm[coil.extent_blocks.lowest(coil.extent_mm, pose, scalp)]
    points = lowest @ pose[:3, :3].T + pose[:3, 3]
    return float(scalp.signed_distance(points).min())


def tilt_deg(scalp, pose, scalp_mm):
    """Angle between a coil's z axis and the smoothed inward normal at a scalp point, degrees."""
    inward = -scalp.smooth_normal(scalp_mm)[0]
    return float(np.degrees(2.0 * np.arcsin(min(1.0, 0.5 * np.linalg.norm(pose[:3, 2] - inward)))))


@dataclass(frozen=True, eq=False)
class FeasibleSet:
    """The placements of a search region that keep the constraints, one by one and exactly.

    Attributes
    ----------
    scalp : TriSurface
    coil : Coil
    constraints : Constraints
    center_mm : (3,) array
    radius_mm : float
        Of the region, about its centre on the scalp.
    """

    scalp: object
    coil: object
    constraints: Constraints
    center_mm: np.ndarray
    radius_mm: float

    def allowed(self, pose, point):
        """Whether a pose over a scalp point lies in the region and keeps the constraints."""
        limits = self.constraints
        if np.linalg.norm(point - self.center_mm) > self.radius_mm or limits.excludes(point[None])[0]:
            return False
        if not limits.allows_yaw(yaw_to_midline(pose)):
            return False
        if tilt_deg(self.scalp, pose, point) > limits.max_tilt_deg + 1e-6:
            return False
        return clearance_mm(self.scalp, self.coil, pose) >= limits.least_clearance_mm(self.coil)

    def lifted(self, pose):
        """The pose moved back along its axis until the coil keeps its clearance, and how far, mm.

        A step is what is missing, since the clearance cannot grow faster; where it grows slowly,
        the coil touching from the side, the later steps are somewhat longer.

        Raises
        ------
        SearchError
            The coil touches wherever along its axis.
        """
        least, lift, stretch = self.constraints.least_clearance_mm(self.coil), 0.0, 1.0
        moved = pose.copy()
        while lift <= HIGHEST_MM:
            missing = least - clearance_mm(self.scalp, self.coil, moved)
            if missing <= 0:
                return moved, lift
            lift += stretch * (missing + TOUCHING_MM)
            stretch += 0.1
            moved[:3, 3] = pose[:3, 3] - lift * pose[:3, 2]
        raise SearchError(
            f"the coil at {np.round(pose[:3, 3], 1).tolist()} mm keeps less than {least:g} mm off the scalp "
            f"even {HIGHEST_MM:g} mm farther out"
        )

    def margins(self, pose, point, derivative):
        """What is left of the clearance, the region and the exclusions, mm, and its slopes.

        Parameters
        ----------
        pose, point, derivative
            As :meth:`ScalpChart.pose` returns them, (6, k).

        Returns
        -------
        margins : (m,) array
            Negative where a limit is broken.
        slopes : (m, k) array
        """
        clear, slopes = self._clearances(pose, derivative)
        slide = to_mm(derivative[:3]) + _turned_arm(derivative[3:], point - pose[:3, 3])
        slide[:, 2:] = 0.0  # position alone moves the scalp point
        values, rows = [clear - self.constraints.least_clearance_mm(self.coil)], [slopes]
        region = (*self.center_mm, self.radius_mm)
        for sign, (*centre, radius) in [(-1.0, region), *((1.0, ball) for ball in self.constraints.exclude)]:
            arm = point - np.array(centre)
            away = max(np.linalg.norm(arm), 1e-9)
            values.append([sign * (away - radius)])
            rows.append([sign * (arm / away) @ slide])
        return np.concatenate(values), np.concatenate(rows)

    def _clearances(self, pose, derivative):
        """Smallest signed distance of each sector of the coil, and its slopes."""
        blocks = self.coil.extent_blocks
        index = blocks.lowest(self.coil.extent_mm, pose, self.scalp)
        points, sector = self.coil.extent_mm[index] @ pose[:3, :3].T, blocks.sector[index]
        at = points + pose[:3, 3]
        closest, signed, face = self.scalp.closest_signed(at)
        order = np.lexsort((signed, sector))
        lowest = order[np.unique(sector[order], return_index=True)[1]]
        normals = self.scalp.area_normals_mm2[face[lowest]] / self.scalp.areas_mm2[face[lowest], None]
        apart = np.abs(signed[lowest]) > 1e-6
        arrow = (at - closest)[lowest] / np.where(apart, signed[lowest], 1.0)[:, None]
        normals = np.where(apart[:, None], arrow, normals)
        moved = np.stack([to_mm(derivative[:3]) + _turned_arm(derivative[3:], p) for p in points[lowest]])
        return signed[lowest], np.einsum("mc,mck->mk", normals, moved)


def _turned_arm(rotations, arm):
    """Motion (3, k) of the end of an arm (3,) under rotation vectors (3, k)."""
    return np.cross(rotations.T, arm).T


@dataclass(frozen=True, eq=False)
class Places:
    """Where a coil is tried: scalp points, each at one distance or at several.

    Attributes
    ----------
    index : (n,) int array
        Into the points that were asked for.
    lift_mm : (n,) array
        Beyond the smallest distance.
    feasible : (n, n_yaw) bool array
        Each yaw of a point at the lowest of its distances that keeps the coil off the scalp.
    """

    index: np.ndarray
    lift_mm: np.ndarray
    feasible: np.ndarray

    @classmethod
    def over(cls, head, coil, base_poses, yaw_deg, constraints):
        """Lift a coil at every position and yaw until it keeps its clearance.

        The coil is checked against the height of the scalp over the search's tangent plane. That
        never overstates the clearance by more than about 0.3 mm where the scalp does not overhang,
        and understates it far from the scalp; reported placements are measured exactly.
        """
        levels = np.arange(0.0, HIGHEST_MM + 1e-9, LIFT_STEP_MM)
        top = _raised(base_poses, HIGHEST_MM)
        heights = HeightField.over(head.scalp, coil, np.concatenate([base_poses, top]))
        points = _grid_points(coil)
        checked = np.arange(-180.0, 180.0, YAW_CHECK_DEG)
        nearest = np.round((np.asarray(yaw_deg) + 180.0) / YAW_CHECK_DEG).astype(int) % len(checked)
        left = np.broadcast_to(constraints.allows_yaw(yaw_deg), (len(base_poses), len(yaw_deg))).copy()
        parts, highest = [], np.inf
        for level in levels:
            rows = np.flatnonzero(left.any(axis=1))
            if level > highest or len(rows) == 0:
                break
            asked = np.stack([left[rows][:, nearest == c].any(axis=1) for c in range(len(checked))], axis=1)
            least = constraints.least_clearance_mm(coil)
            keeps_off = heights.keeps_off(points, _raised(base_poses[rows], level), checked, least, asked)
            clear = left[rows] & keeps_off[:, nearest]
            left[rows] &= ~clear
            some = clear.any(axis=1)
            if some.any():
                highest = min(highest, level + LIFT_MM)
                parts.append((rows[some], np.full(some.sum(), level), clear[some]))
        if not parts:
            empty = np.empty(0)
            return cls(empty.astype(int), empty, np.empty((0, len(yaw_deg)), bool))
        index, lift, feasible = (np.concatenate(part) for part in zip(*parts, strict=True))
        order = np.lexsort((lift, index))
        return cls(index[order], lift[order], feasible[order])


def _raised(poses, lift):
    """Poses (n, 4, 4) moved back along their axes."""
    moved = poses.copy()
    moved[:, :3, 3] -= np.reshape(lift, (-1, 1)) * poses[:, :3, 2]
    return moved


def _grid_points(coil):
    """(n, 3) points of a coil that the grid's clearance looks at: thinned on a casing, each bare dipole.

    Those nearest the head come first: most places that are not clear then show it at once.
    """
    bare = coil.positions_mm[coil.bare]
    points = bare if coil.casing_mm is None else np.vstack([_thinned(coil.casing_mm), bare])
    return np.ascontiguousarray(points[np.argsort(-points[:, 2], kind="stable")])


def _thinned(points):
    kept = np.empty(len(points), np.int64)
    return points[kept[: geometry.thin(points, POINT_SPACING_MM**2, kept)]]


@dataclass(frozen=True, eq=False)
class HeightField:
    """Height of the outermost scalp along one direction, on a grid; -inf where there is none.

    `over` makes it for a coil at every yaw of some poses.
    """

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

    def keeps_off(self, points, poses, yaw_deg, least, asked):
        """(n, n_yaw) bool: where all points (m, 3) of a coil are `least` mm and more above the scalp.

        Looked at is the height over the scalp times the cosine of the slope under it, and only where `asked`
        (n, n_yaw). `poses` (n, 4, 4) are turned by each of `yaw_deg`.
        """
        local = np.ascontiguousarray(self.axes @ poses[:, :3])
        turn, clear = np.radians(yaw_deg), asked.copy()
        run_chunks(
            geometry.keeps_off,
            len(poses),
            local,
            points,
            np.cos(turn),
            np.sin(turn),
            self.heights,
            self.slope,
            self.origin,
            self.step,
            float(least),
            clear,
            min_chunk=16,
        )
        return clear
