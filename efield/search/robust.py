"""Placements under noise: what one may expect, how far one may be off, and the best for it.

Noise moves the coil rigidly in its own frame. :class:`NoisyField` and :class:`NoisyObjective`
stand in for a field and an objective, so that whatever searches those also searches a robust
placement: the functionals are those of every noisy placement, one after another.
"""

from dataclasses import asdict, dataclass

import numpy as np

from efield.adjoint.modes import JointField
from efield.adjoint.spline import SPACING_MM, CoilExtent, SplineField, closeness
from efield.errors import SearchError
from efield.frames import yaw_to_midline
from efield.search.maxima import distinct, distinct_maxima
from efield.search.noise import N_SAMPLES, PoseNoise, motions
from efield.search.polish import polish
from efield.units import to_m

LOSS = 0.05
"""Loss of the objective that the tolerance map is about."""

REACH = np.array([15.0, 15.0, 10.0, *np.radians([15.0, 15.0, 60.0])])
"""How far the tolerance map looks: along x, y, z in mm, about x, y, z in radians."""

NAMES = ("x_mm", "y_mm", "distance_mm", "pitch_deg", "roll_deg", "yaw_deg")
"""Directions of the tolerance map, in the coil's frame; a positive distance is away from the head."""

UNITS = np.where(np.arange(6) < 3, 1.0, 180.0 / np.pi)
"""From the units of `REACH` to those of the names."""

SIGNS = np.array([1.0, 1.0, -1.0, 1.0, 1.0, 1.0])
"""Of the coil's axes in those names: its z points into the head."""

LADDER = 12
"""Steps from the optimum to the reach; the crossing between two is then bisected."""

BISECTIONS = 12

CANDIDATES = 30
"""Distinct placements of the grid that are valued under the noise."""

POLISHED = 2
"""The best of them, which are polished under it."""

YAW_REACH_DEG = 20.0
"""Largest turn of that polish."""


@dataclass(frozen=True, eq=False)
class NoisyField:
    """A field seen from every noisy placement of a coil.

    Attributes
    ----------
    field : SplineField
    motions : (n, 4, 4) array
        Of the noise, in the coil's frame, mm.
    """

    field: object
    motions: np.ndarray

    def functionals(self, coil, poses, didt):
        """Functionals (m, n k) of poses (m, 4, 4)."""
        return self.field.functionals(coil, self._noisy(poses), didt).reshape(len(poses), -1)

    def gradients(self, coil, poses, didt):
        """Functionals (m, n k) and their derivatives (m, n k, 6) in the pose, head's frame.

        A rotation about the coil's meant origin also shifts the origin of a displaced coil.
        """
        functionals, slopes = self.field.gradients(coil, self._noisy(poses), didt)
        arms = to_m(np.einsum("mij,nj->mni", poses[:, :3, :3], self.motions[:, :3, 3])).reshape(-1, 1, 3)
        slopes[..., 3:] += np.cross(arms, slopes[..., :3])
        return functionals.reshape(len(poses), -1), slopes.reshape(len(poses), -1, 6)

    def _noisy(self, poses):
        return (poses[:, None] @ self.motions).reshape(-1, 4, 4)


@dataclass(frozen=True, eq=False)
class NoisyObjective:
    """The measure of an objective over noisy placements, of the functionals of a NoisyField."""

    objective: object
    noise: PoseNoise
    n_samples: int

    limited = False

    @property
    def smooth(self):
        """Whether :meth:`slope` exists."""
        return self.noise.smooth and getattr(self.objective, "smooth", True)

    def values(self, functionals):
        """The objective (..., n) at every noisy placement."""
        return self.objective.of_functionals(self._split(functionals))

    def of_functionals(self, functionals):
        """The measure of functionals (..., n k)."""
        return self.noise.measured(self.values(functionals))

    def slope(self, functionals):
        """Derivative (..., n k) of the measure, by the chain rule."""
        parts = self._split(functionals)
        rows = [self.objective.slope(row) for row in parts.reshape(-1, parts.shape[-1])]
        weights = self.noise.weights(self.objective.of_functionals(parts))
        return (weights[..., None] * np.reshape(rows, parts.shape)).reshape(functionals.shape)

    def _split(self, functionals):
        return functionals.reshape(*functionals.shape[:-1], self.n_samples, -1)


def noisy(field, objective, noise):
    """A field and an objective under noise, to be searched in place of the two.

    For the mean half of the samples do; a measure of the worst needs them all.
    """
    moves = noise.motions(N_SAMPLES // 2 if noise.measure == "mean" else N_SAMPLES)
    return NoisyField(field, moves), NoisyObjective(objective, noise, len(moves))


@dataclass(frozen=True)
class Robustness:
    """What placement noise costs at a placement, by the search's model of the field.

    Attributes
    ----------
    noise : PoseNoise
    functional : str
        What is valued: the objective.
    optimized : bool
        Whether the placement was chosen for this noise.
    n_samples : int
    value, mean, low, measured : float
        At the placement itself; mean, 5th percentile and the noise's measure over the noisy
        placements.
    expected_loss : float
        ``(value - mean) / |value|``.
    tolerance_loss : float
        The loss that `tolerance` is about.
    tolerance : dict
        For each of `NAMES` how far one may be off, (backwards, forwards), in its unit; None
        where the loss stays smaller within `tolerance_reach`.
    tolerance_reach : dict
    curves : dict
        For each of `NAMES` the value along it: ``offsets`` in its unit, ``values``.
    """

    noise: PoseNoise
    functional: str
    optimized: bool
    n_samples: int
    value: float
    mean: float
    low: float
    measured: float
    expected_loss: float
    tolerance_loss: float
    tolerance: dict
    tolerance_reach: dict
    curves: dict

    def as_dict(self):
        """Plain values for a result."""
        return asdict(self)


def robustness(value, pose, noise, *, functional, optimized=False):
    """Expected loss under noise and tolerance map of a placement.

    Parameters
    ----------
    value : callable
        Objective (n,) of poses (n, 4, 4); see :func:`values_of`.
    pose : (4, 4) array
        matsimnibs.
    noise : PoseNoise
    functional : str
        Name of the objective.
    optimized : bool
        Whether the placement was chosen for this noise.

    Returns
    -------
    Robustness

    Raises
    ------
    SearchError
        The value at the placement is zero, or (from `value`) the prepared field does not hold
        the coil where the noise takes it.
    """
    moves = noise.motions()
    at = float(value(pose[None])[0])
    if at == 0:
        raise SearchError("the tolerance of a placement with the value 0 is not defined")
    values = value(pose @ moves)
    names = dict(zip(NAMES, REACH * UNITS, strict=True))
    tolerance, curves = tolerance_map(value, pose, at, at - LOSS * abs(at))
    return Robustness(
        noise=noise,
        functional=functional,
        optimized=optimized,
        n_samples=len(moves),
        value=at,
        mean=float(values.mean()),
        low=float(np.percentile(values, 5)),
        measured=float(noise.measured(values)),
        expected_loss=float((at - values.mean()) / abs(at)),
        tolerance_loss=LOSS,
        tolerance=tolerance,
        tolerance_reach={name: float(reach) for name, reach in names.items()},
        curves=curves,
    )


def tolerance_map(value, pose, at, threshold):
    """How far a coil may be moved along and about each of its axes before its value falls short.

    Returns
    -------
    tolerance : dict
        ``{name: (backwards, forwards)}`` for `NAMES`, in mm or degrees: the distance to the
        first place where the value is below `threshold`; None where there is none in reach.
    curves : dict
        ``{name: {"offsets": [...], "values": [...]}}``: the value on the way, `at` in the middle.
    """
    directions = np.concatenate([-np.diag(SIGNS * REACH), np.diag(SIGNS * REACH)])
    rungs = np.arange(1, LADDER + 1) / LADDER
    values = value(pose @ motions((rungs[:, None, None] * directions).reshape(-1, 6)))
    values = values.reshape(LADDER, 12)
    short = values < threshold
    crosses = short.any(axis=0)
    outer = rungs[short.argmax(axis=0)]
    inner = outer - 1.0 / LADDER
    for _ in range(BISECTIONS):
        middle = 0.5 * (inner + outer)
        below = value(pose @ motions(middle[:, None] * directions)) < threshold
        inner, outer = np.where(below, inner, middle), np.where(below, middle, outer)
    far = np.tile(REACH * UNITS, 2) * 0.5 * (inner + outer)
    both = [float(x) if found else None for x, found in zip(far, crosses, strict=True)]
    tolerance = {name: (both[i], both[6 + i]) for i, name in enumerate(NAMES)}
    shares = np.concatenate([-rungs[::-1], [0.0], rungs])
    curves = {
        name: {
            "offsets": (shares * REACH[i] * UNITS[i]).tolist(),
            "values": [*values[::-1, i].tolist(), at, *values[:, 6 + i].tolist()],
        }
        for i, name in enumerate(NAMES)
    }
    return tolerance, curves


def values_of(field, coil, objective, didt):
    """A function from poses (n, 4, 4) to the objective's values (n,), by the search's model."""
    return lambda poses: objective.of_functionals(field.functionals(coil, poses, didt))


def field_around(models, coil, poses, noise, *, height_mm):
    """Spline fields that hold a coil at poses, moved by the noise or as far as the map looks.

    Parameters
    ----------
    models : tuple of HarmonicField
    coil : Coil
    poses : (n, 4, 4) array
    noise : PoseNoise
    height_mm : float
        Of the lowest dipoles over the scalp, which decides the spacing.
    """
    extent = CoilExtent.of(coil)
    rays = np.concatenate([np.diag(REACH), -np.diag(REACH)])
    moved = poses[:, None] @ np.concatenate([np.eye(4)[None], motions(rays), noise.motions()])
    moved = moved.reshape(-1, 4, 4)
    spacing = SPACING_MM[closeness(height_mm)]
    centres, axes = moved[:, :3, 3], moved[:, :3, 2]
    return JointField(
        tuple(SplineField.over(model, extent, centres, axes, spacing_mm=spacing) for model in models)
    )


def robust_placements(run, found, noise, count):
    """The best distinct placements under a noise, polished with its measure.

    The objective itself is searched, whatever it is, on the functionals of the grid search: with
    exact gradients where objective and measure have them.

    Parameters
    ----------
    run : Run
    found : Found
    noise : PoseNoise
    count : int

    Returns
    -------
    list of (pose, measure)
        Best first.
    """
    picks = distinct_maxima(found, CANDIDATES)
    poses = np.stack([run.placed(found, i, j) for i, j in picks])
    field = field_around(found.models, run.coil, run.leaning(poses), noise, height_mm=run.dipole_height_mm)
    field, goal = noisy(field, found.goal, noise)
    values = goal.of_functionals(field.functionals(run.coil, poses, run.didt))
    order = np.argsort(-values, kind="stable")[:count]
    chosen = [(poses[k], float(values[k])) for k in order]
    for place, k in enumerate(order[: POLISHED if run.search.refine else 0]):
        pose, value = polish(
            field,
            run.coil,
            goal,
            run.chart(found, picks[k][0]),
            np.radians(yaw_to_midline(poses[k])),
            didt=run.didt,
            reach_mm=4 * run.search.spacing_mm,
            yaw_reach=np.radians(YAW_REACH_DEG),
            **run.limits(found, picks[k][0]),
        )
        if value > chosen[place][1]:
            chosen[place] = (pose, value)
    return distinct(chosen)


def robustness_of(run, found, pose, noise, *, optimized):
    """:class:`Robustness` of a placement of a run, by the functionals of its grid search."""
    field = field_around(found.models, run.coil, pose[None], noise, height_mm=run.dipole_height_mm)
    value = values_of(field, run.coil, found.goal, run.didt)
    return robustness(value, pose, noise, functional=run.objective_name, optimized=optimized)
