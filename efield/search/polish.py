"""Continuous refinement of a placement: every degree of freedom, with exact gradients."""

from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from efield.errors import SearchError
from efield.frames import POSTERIOR, pose_from_yaw, tangent_axes
from efield.search.candidates import RAY_START_MM
from efield.search.constraints import LIFT_MM
from efield.units import MM

ANGLE_SCALE_MM = 20.0
"""Millimetres that weigh as much as one radian of yaw, so the optimizer sees even slopes."""

SIMPLEX = 0.35
"""First step of the search without derivatives, as a share of the largest move."""

MAX_PROBES = 40
"""Values that the search without derivatives may look at, for each coordinate."""

LEEWAY = 1e-4
"""Share of a limit that the polish stays away from it, so that its last steps are within."""

BEYOND = 3.0
"""What the minimiser sees where there is no value; it starts from -1, or 1 for a negative one."""

TANGENTIAL = [0, 1, 2]
"""Coordinates of a tangential placement at its distance: two of position, and yaw."""

TILTED = [0, 1, 2, 3, 4]
"""The same with the two of tilt."""

DISTANCE = 5
"""The coordinate that keeps the coil off the scalp."""


@dataclass(frozen=True, eq=False)
class ScalpChart:
    """Poses over a patch of scalp: two tangent coordinates, yaw, two of tilt, and distance.

    A coordinate pair is projected along the chart's normal onto the triangles. The coil's z axis
    meets the scalp there, and the smoothed inward normal at up to `max_tilt_deg`.
    """

    scalp: object
    origin: np.ndarray
    outward: np.ndarray
    axes: np.ndarray
    distance_mm: float
    max_tilt_deg: float = 0.0

    @classmethod
    def at(cls, scalp, point_mm, distance_mm, max_tilt_deg=0.0):
        """Chart whose coordinates (0, 0) are a scalp point."""
        outward = scalp.smooth_normal(point_mm)[0]
        axes = np.stack(tangent_axes(-outward))
        return cls(scalp, np.asarray(point_mm), outward, axes, distance_mm, max_tilt_deg)

    @property
    def steepest(self):
        """Tangent of the largest tilt."""
        return float(np.tan(np.radians(self.max_tilt_deg)))

    def pose(self, u, v, yaw, lean=(0.0, 0.0), distance_mm=None):
        """Pose at coordinates, its scalp point and its derivative.

        Parameters
        ----------
        u, v : float
            mm.
        yaw : float
            Radians, to the midline.
        lean : (2,) array
            Each from -1 to 1: the square is mapped onto the disc of allowed tilts, whose rim
            is its edge. Towards posterior and towards the subject's left at the vertex.
        distance_mm : float, optional
            The chart's by default.

        Returns
        -------
        pose : (4, 4) array
        point_mm : (3,) array
        derivative : (6, 6) array
            Translation (m) and rotation vector of the coil per u (mm), v (mm), yaw (rad), the
            two of `lean`, and distance (mm).

        Raises
        ------
        SearchError
            The projection misses the scalp.
        """
        distance_mm = self.distance_mm if distance_mm is None else distance_mm
        start = self.origin + u * self.axes[0] + v * self.axes[1] + RAY_START_MM * self.outward
        way, face = self.scalp.ray_hits(start, -self.outward)
        if face[0] < 0:
            raise SearchError(f"no scalp under {np.round(start, 1).tolist()} mm")
        point = start - way[0] * self.outward
        normal, jacobian = (x[0] for x in self.scalp.smooth_normal_jacobian(point))
        facet = self.scalp.area_normals_mm2[face[0]]
        slide = self.axes - np.outer(self.axes @ facet / (self.outward @ facet), self.outward)
        slope, slope_change = _on_disc(lean, self.steepest)
        axes = np.stack(tangent_axes(-normal))
        inward = slope @ axes - normal
        length = np.linalg.norm(inward)
        inward = inward / length
        turns = -slide @ jacobian.T
        changes = [turn + slope @ _tangent_rates(-normal, turn) for turn in turns]
        changes = np.concatenate([changes, slope_change.T @ axes]) / length
        changes -= np.outer(changes @ inward, inward)
        pose = pose_from_yaw(point - distance_mm * inward, inward, np.degrees(yaw))
        derivative = np.zeros((6, 6))
        derivative[:3, :2] = slide.T * MM
        for k, change in zip((0, 1, 3, 4), changes, strict=True):
            derivative[:3, k] -= distance_mm * MM * change
            derivative[3:, k] = _rotation_rate(pose[:3, :3], inward, change, yaw)
        derivative[3:, 2] = inward
        derivative[:3, DISTANCE] = -MM * inward
        return pose, point, derivative


def _on_disc(lean, radius):
    """Point (2,) of a disc for a point of the square [-1, 1]^2, and its derivative (2, 2)."""
    s, t = lean
    across, along = np.sqrt(1.0 - 0.5 * t * t), np.sqrt(1.0 - 0.5 * s * s)
    point = radius * np.array([s * across, t * along])
    return point, radius * np.array([[across, -0.5 * s * t / across], [-0.5 * s * t / along, along]])


def _tangent_rates(inward, change):
    """Changes (2, 3) of the tangent axes when the axis `inward` moves by `change`."""
    zero, _ = tangent_axes(inward)
    flat = POSTERIOR - (POSTERIOR @ inward) * inward
    flat_change = -(POSTERIOR @ change) * inward - (POSTERIOR @ inward) * change
    zero_change = (flat_change - zero * (zero @ flat_change)) / np.linalg.norm(flat)
    return np.stack([zero_change, np.cross(change, zero) + np.cross(inward, zero_change)])


def _rotation_rate(rotation, inward, change, yaw):
    """Rotation vector of the coil frame when its z axis moves by `change` at constant yaw."""
    y_change = np.array([np.cos(yaw), np.sin(yaw)]) @ _tangent_rates(inward, change)
    x_change = np.cross(y_change, inward) + np.cross(rotation[:, 1], change)
    changes = np.stack([x_change, y_change, change])
    return 0.5 * np.cross(rotation.T, changes).sum(axis=0)


def polish(
    field, coil, objective, chart, yaw, *, didt, reach_mm, yaw_reach, allowed, limits=None, distance_mm=None
):
    """Maximise the search value from one grid placement.

    First over position and yaw, then with tilt where the chart has any. With exact gradients
    where the objective has them (where a limit binds, by sequential quadratic programming with
    the distance as one more coordinate), by values alone (Nelder and Mead's simplex) where it
    has none.

    Parameters
    ----------
    field : SplineField or JointField
    coil : Coil
    objective : Objective, ModeObjective or GuardedObjective
    chart : ScalpChart
    yaw : float
        Start, radians.
    didt : float, A/s
    reach_mm, yaw_reach : float
        Largest move in each coordinate (mm) and in yaw (rad).
    allowed : callable (pose, point_mm) -> bool
        Constraints; a placement that breaks them is never returned.
    limits : FeasibleSet, optional
        The same as smooth margins; with it the coil is lifted where it would touch.
    distance_mm : float, optional
        Start; the chart's by default. A larger one says that the coil had to be lifted.

    Returns
    -------
    pose : (4, 4) array or None
        None where no placement on the way is allowed.
    value : float
        Search value; -inf without a pose.
    """
    distance_mm = chart.distance_mm if distance_mm is None else distance_mm
    lean = ANGLE_SCALE_MM * max(chart.steepest, 1e-9)
    scales = np.array([1.0, 1.0, ANGLE_SCALE_MM, lean, lean, 1.0])
    start = np.array([0.0, 0.0, yaw, 0.0, 0.0, distance_mm]) * scales
    span = np.array([reach_mm, reach_mm, yaw_reach, 1.0, 1.0, LIFT_MM]) * scales
    low, high = start - span, start + span
    low[DISTANCE] = chart.distance_mm
    if limits is not None:
        back, ahead = np.radians(limits.constraints.yaw_room(np.degrees(yaw))) * ANGLE_SCALE_MM
        low[2], high[2] = max(low[2], start[2] - back), min(high[2], start[2] + ahead)
    seen = _Seen(objective, allowed)
    climb = _Climb(field, coil, objective, chart, didt, limits, seen, scales, np.stack([low, high], axis=1))
    try:
        climb.scale = max(abs(float(objective.of_functionals(climb.at(start)[2]))), 1e-300)
    except SearchError:  # the start itself lies beyond the scalp or the prepared field
        return None, -np.inf
    for free in (TANGENTIAL, TILTED) if chart.max_tilt_deg else (TANGENTIAL,):
        start = climb.by_slopes(start, free) if objective.smooth else climb.by_values(start, free)
    return seen.pose, seen.best


class _Climb:
    """One ascent: from scaled coordinates (6,) to values, slopes and margins."""

    def __init__(self, field, coil, objective, chart, didt, limits, seen, scales, bounds):
        self._field, self._coil, self._objective, self._chart = field, coil, objective, chart
        self._didt, self._limits, self._seen = didt, limits, seen
        self._scales, self._bounds = scales, bounds
        self._margins_at, self._last_margins = None, None
        self.scale = 1.0

    def at(self, x, *, gradients=False):
        """Pose, scalp point and functionals at coordinates, and their derivative (k, 6) if asked."""
        pose, point, derivative = self._pose(x)
        if not gradients:
            return pose, point, self._field.functionals(self._coil, pose[None], self._didt)[0]
        functionals, slopes = (a[0] for a in self._field.gradients(self._coil, pose[None], self._didt))
        return pose, point, functionals, slopes @ derivative

    def by_values(self, start, free):
        """Best coordinates that a simplex finds; the coil is lifted at every look, if it may touch."""
        lifting = self._limits is not None and (start[DISTANCE] > self._chart.distance_mm or len(free) > 3)
        best = [np.inf, start]

        def probe(part):
            x = _with(start, free, part)
            try:
                value = self._lifted_value(x) if lifting else self._seen.value(*self.at(x))
            except SearchError:  # beyond the scalp or the prepared field
                return BEYOND
            if -value < best[0]:
                best[:] = -value, x
            return -value / self.scale

        bounds = self._bounds[free]
        span = 0.5 * (bounds[:, 1] - bounds[:, 0])
        inwards = np.where(start[free] > bounds.mean(axis=1) + 0.5 * span, -1.0, 1.0)
        simplex = start[free] + np.concatenate([np.zeros((1, len(free))), np.diag(SIMPLEX * span * inwards)])
        most = MAX_PROBES * len(free)
        options = {"initial_simplex": simplex, "maxfev": most, "xatol": 0.02, "fatol": 1e-5}
        minimize(probe, start[free], method="Nelder-Mead", bounds=bounds, options=options)
        return best[1]

    def by_slopes(self, start, free):
        """Coordinates at the top; with the distance among them where a limit binds."""
        if start[DISTANCE] == self._chart.distance_mm:
            bounds, options = self._bounds[free], {"maxiter": 60}
            descend = self._descend(start, free)
            top = minimize(descend, start[free], jac=True, method="L-BFGS-B", bounds=bounds, options=options)
            end = _with(start, free, top.x)
            if self._margins(end)[0].min(initial=0.0) >= 0:
                return end
        end = start
        if self._limits is not None:
            free = [*free, DISTANCE]
        margins = {
            "type": "ineq",
            "fun": lambda part: self._margins(_with(start, free, part))[0] - LEEWAY,
            "jac": lambda part: self._margins(_with(start, free, part))[1][:, free],
        }
        with suppress(SearchError):  # limits cannot step back; what was seen until then counts
            top = minimize(
                self._descend(start, free),
                start[free],
                jac=True,
                method="SLSQP",
                bounds=self._bounds[free],
                constraints=margins,
                options={"maxiter": 60, "ftol": 1e-9},
            )
            end = _with(start, free, top.x)
            if self._limits is not None:
                self._lifted_value(end)
        return end

    def _pose(self, x):
        u, v, yaw, s, t, distance = x / self._scales
        pose, point, derivative = self._chart.pose(u, v, yaw, np.clip([s, t], -1.0, 1.0), distance)
        return pose, point, derivative / self._scales

    def _descend(self, start, free):
        def descend(part):
            try:
                pose, point, functionals, slopes = self.at(_with(start, free, part), gradients=True)
            except SearchError:  # beyond the scalp or the prepared field: the line search steps back
                return BEYOND, np.zeros(len(free))
            value = self._seen.value(pose, point, functionals)
            return -value / self.scale, -(self._objective.slope(functionals) @ slopes)[free] / self.scale

        return descend

    def _lifted_value(self, x):
        """Search value with the coil as near as it may come at coordinates, which get its distance."""
        near = x.copy()
        near[DISTANCE] = self._chart.distance_mm
        pose, point, _ = self._pose(near)
        pose, lift = self._limits.lifted(pose)
        x[DISTANCE] = self._chart.distance_mm + lift
        functionals = self._field.functionals(self._coil, pose[None], self._didt)[0]
        return self._seen.value(pose, point, functionals)

    def _margins(self, x):
        """What is left of every limit (m,), and the derivative (m, 6) in the coordinates.

        The minimiser asks for both in turn, so the last are kept.
        """
        if not np.array_equal(x, self._margins_at):
            self._margins_at, self._last_margins = x.copy(), self._measured_margins(x)
        return self._last_margins

    def _measured_margins(self, x):
        values, slopes = np.empty(0), np.empty((0, 6))
        if self._limits is not None:
            pose, point, derivative = self._pose(x)
            values, slopes = self._limits.margins(pose, point, derivative)
        if self._objective.limited:
            _, _, functionals, change = self.at(x, gradients=True)
            values = np.concatenate([values, self._objective.room(functionals)])
            slopes = np.concatenate([slopes, self._objective.room_slope(functionals) @ change])
        return values, slopes


def _with(x, free, part):
    """Coordinates with the free ones replaced."""
    x = x.copy()
    x[free] = part
    return x


class _Seen:
    """The best allowed placement of those looked at."""

    def __init__(self, objective, allowed):
        self._objective, self._allowed = objective, allowed
        self.pose, self.best = None, -np.inf

    def value(self, pose, point, functionals):
        """Search value; the placement is kept where none before was better and all limits hold."""
        objective = self._objective
        value = float(objective.of_functionals(functionals))
        if objective.limited and objective.room(functionals).min() < 0:
            return value if objective.smooth else -np.inf
        if value > self.best and self._allowed(pose, point):
            self.pose, self.best = pose, value
        return value
