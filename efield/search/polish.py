"""Continuous refinement of a placement: position on the scalp and yaw, with exact gradients."""

from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy.optimize import minimize

from efield.errors import SearchError
from efield.frames import POSTERIOR, pose_from_yaw, tangent_axes
from efield.search.candidates import RAY_START_MM
from efield.units import MM

ANGLE_SCALE_MM = 20.0
"""Millimetres that weigh as much as one radian of yaw, so the optimizer sees even slopes."""

SIMPLEX = 0.35
"""First step of the search without derivatives, as a share of the largest move."""

MAX_PROBES = 120
"""Values that the search without derivatives may look at."""

LEEWAY = 1e-4
"""Share of a limit that the polish stays away from it, so that its last steps are within."""

BEYOND = 3.0
"""What the minimiser sees where there is no value; it starts from -1, or 1 for a negative one."""


@dataclass(frozen=True, eq=False)
class ScalpChart:
    """Poses over a patch of scalp: two tangent coordinates and yaw.

    A coordinate pair is projected along the chart's normal onto the triangles; the coil is
    tangential to the smoothed scalp there, its origin `distance_mm` above.
    """

    scalp: object
    origin: np.ndarray
    outward: np.ndarray
    axes: np.ndarray
    distance_mm: float

    @classmethod
    def at(cls, scalp, point_mm, distance_mm):
        """Chart whose coordinates (0, 0) are a scalp point."""
        outward = scalp.smooth_normal(point_mm)[0]
        return cls(scalp, np.asarray(point_mm), outward, np.stack(tangent_axes(-outward)), distance_mm)

    def pose(self, u, v, yaw):
        """Pose at coordinates in mm and yaw in radians, its scalp point and its derivative.

        Returns
        -------
        pose : (4, 4) array
        point_mm : (3,) array
        derivative : (6, 3) array
            Translation (m) and rotation vector of the coil per u (mm), v (mm) and yaw (rad).

        Raises
        ------
        SearchError
            The projection misses the scalp.
        """
        start = self.origin + u * self.axes[0] + v * self.axes[1] + RAY_START_MM * self.outward
        distance, face = self.scalp.ray_hits(start, -self.outward)
        if face[0] < 0:
            raise SearchError(f"no scalp under {np.round(start, 1).tolist()} mm")
        point = start - distance[0] * self.outward
        normal, jacobian = (x[0] for x in self.scalp.smooth_normal_jacobian(point))
        pose = pose_from_yaw(point + self.distance_mm * normal, -normal, np.degrees(yaw))
        facet = self.scalp.area_normals_mm2[face[0]]
        slide = self.axes - np.outer(self.axes @ facet / (self.outward @ facet), self.outward)
        turn = slide @ jacobian.T
        derivative = np.zeros((6, 3))
        derivative[:3, :2] = (slide + self.distance_mm * turn).T * MM
        for k in range(2):
            derivative[3:, k] = _rotation_rate(pose[:3, :3], -normal, -turn[k], yaw)
        derivative[3:, 2] = -normal
        return pose, point, derivative


def _rotation_rate(rotation, inward, change, yaw):
    """Rotation vector of the coil frame when its z axis moves by `change` at constant yaw."""
    zero, _ = tangent_axes(inward)
    flat = POSTERIOR - (POSTERIOR @ inward) * inward
    flat_change = -(POSTERIOR @ change) * inward - (POSTERIOR @ inward) * change
    zero_change = (flat_change - zero * (zero @ flat_change)) / np.linalg.norm(flat)
    quarter_change = np.cross(change, zero) + np.cross(inward, zero_change)
    y_change = np.cos(yaw) * zero_change + np.sin(yaw) * quarter_change
    x_change = np.cross(y_change, inward) + np.cross(rotation[:, 1], change)
    changes = np.stack([x_change, y_change, change])
    return 0.5 * np.cross(rotation.T, changes).sum(axis=0)


def polish(field, coil, objective, chart, yaw, *, didt, reach_mm, yaw_reach, allowed):
    """Maximise the search value from one grid placement.

    With exact gradients where the objective has them (where a limit binds, by sequential quadratic
    programming), by values alone (Nelder and Mead's simplex) where it has none.

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

    Returns
    -------
    pose : (4, 4) array or None
        None where no placement on the way is allowed.
    value : float
        Search value; -inf without a pose.
    """
    seen = _Seen(objective, allowed)
    at = partial(_coefficients, chart, field, coil, didt)
    start = np.array([0.0, 0.0, yaw * ANGLE_SCALE_MM])
    span = np.array([reach_mm, reach_mm, yaw_reach * ANGLE_SCALE_MM])
    bounds = list(zip(start - span, start + span, strict=True))
    try:
        scale = max(abs(float(objective.of_functionals(at(start)[2]))), 1e-300)
    except SearchError:  # the start itself lies beyond the scalp or the prepared field
        return None, -np.inf

    def probe(x):
        try:
            return -seen.value(*at(x)) / scale
        except SearchError:  # beyond the scalp or the prepared field: the line search steps back
            return BEYOND

    def descend(x):
        try:
            pose, point, functionals, slopes = at(x, gradients=True)
        except SearchError:
            return BEYOND, np.zeros(3)
        return -seen.value(pose, point, functionals) / scale, -objective.slope(functionals) @ slopes / scale

    if not objective.smooth:
        simplex = start + np.concatenate([np.zeros((1, 3)), np.diag(SIMPLEX * span)])
        options = {"initial_simplex": simplex, "maxfev": MAX_PROBES, "xatol": 0.02, "fatol": 1e-5}
        minimize(probe, start, method="Nelder-Mead", bounds=bounds, options=options)
        return seen.pose, seen.best
    top = minimize(descend, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 60})
    if objective.limited and objective.room(at(top.x)[2]).min() < 0:

        def room(x):
            return objective.room(at(x)[2]) - LEEWAY

        def room_slope(x):
            _, _, functionals, slopes = at(x, gradients=True)
            return objective.room_slope(functionals) @ slopes

        limits = {"type": "ineq", "fun": room, "jac": room_slope}
        with suppress(SearchError):  # limits cannot step back; what was seen until then counts
            minimize(descend, start, jac=True, method="SLSQP", bounds=bounds, constraints=limits, tol=1e-9)
    return seen.pose, seen.best


def _coefficients(chart, field, coil, didt, x, *, gradients=False):
    """Pose, scalp point and functionals at scaled coordinates, and their derivative (k, 3) if asked."""
    pose, point, derivative = chart.pose(x[0], x[1], x[2] / ANGLE_SCALE_MM)
    if not gradients:
        return pose, point, field.functionals(coil, pose[None], didt)[0]
    functionals, slopes = (a[0] for a in field.gradients(coil, pose[None], didt))
    return pose, point, functionals, slopes @ derivative / [1.0, 1.0, ANGLE_SCALE_MM]


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
