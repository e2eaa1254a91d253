"""A handful of dipoles recovered from samples of their vector potential.

Test coils and single-dipole models have so few sources that their samples tell exactly where these are,
which no fit on a sheet does where they lie a millimetre from the head's side. Dipoles are added one at a
time, each near the largest of what the others leave, and all move to the least squares of the samples
(Levenberg-Marquardt). They count only if *every* sample, most of which no fit saw, is theirs to `EXACT`:
a coil of more sources is not mistaken for few.
"""

import numpy as np
from scipy.optimize import least_squares

from efield.model.coil import dipole_a_field
from efield.units import MU0_OVER_4PI, to_m, to_mm

__all__ = ["few_dipoles", "potential_matrix"]

MOST = 8
"""More are left to the sheet."""

EXACT = 1e-5
"""Largest difference relative to |A| at any sample: some hundred times the rounding of float32."""

FAINT = 1e-2
"""Part of the median |A| below which a sample is held to that level: dipoles may cancel there."""

SAMPLES = 1500
"""At most so many are fitted to, half of them the strongest, which lie nearest to the sources."""

STEPS = 40
"""Evaluations in one least-squares fit."""


def few_dipoles(points_mm, field, step_mm):
    """The dipoles that `field` is of, if they are few.

    Parameters
    ----------
    points_mm : (n, 3) array
    field : (n, 3) array
        A at the points, T m per ampere.
    step_mm : float
        Between points.

    Returns
    -------
    (positions_mm, moments) : (k, 3) arrays, or None
        None where no set of at most `MOST` dipoles reproduces every sample.
    """
    points, step = to_m(points_mm), step_mm * 1e-3
    size = np.linalg.norm(field, axis=1)
    used = _used(size)
    level = np.maximum(size, FAINT * np.median(size))
    found, left, misfit = np.empty((0, 6)), field, np.inf
    for _ in range(min(MOST, len(used) // 12)):
        found = np.vstack([found, _next(points, left, step)])
        # Steep fields: the square root lets near and far samples count both; at last all count alike.
        found = _refined(found, points[used], field[used], level[used] ** -0.5)
        left = field - dipole_a_field(*_split(found), points_mm)
        if not np.linalg.norm(left) < misfit:
            return None
        misfit = np.linalg.norm(left)
        exact = _refined(found, points[used], field[used], 1 / level[used])
        if (np.linalg.norm(field - dipole_a_field(*_split(exact), points_mm), axis=1) <= EXACT * level).all():
            return _split(exact)
    return None


def _split(dipoles):
    """Positions, mm, and moments."""
    return to_mm(dipoles[:, :3]), dipoles[:, 3:]


def _used(size):
    """Indices of samples to fit to; at least as many are left to check with."""
    count = min(SAMPLES, len(size) // 2)
    order = np.argsort(-size)
    rest = np.random.default_rng(2).permutation(order[count // 2 :])
    return np.concatenate([order[: count // 2], rest[: count - count // 2]])


def _next(points, left, step):
    """(6,) position and moment of one dipole near the largest of what is left, on an even background."""
    peak = points[np.argmax(np.linalg.norm(left, axis=1))]
    near = np.linalg.norm(points - peak, axis=1) < 3.1 * step
    points, left = points[near], left[near]
    weight = np.maximum(np.linalg.norm(left, axis=1), 1e-300) ** -0.5
    side = np.linspace(-1.5, 1.5, 10) * step  # never at a sample
    places = np.stack(np.meshgrid(side, side, side), axis=-1).reshape(-1, 3) + peak
    background = np.broadcast_to(np.eye(3) / step**2, (len(points), 3, 3))
    best = (np.inf, None)
    for place in places:
        columns = np.concatenate(
            [potential_matrix(place[None], points).reshape(-1, 3, 3), background], axis=2
        )
        columns = (columns * weight[:, None, None]).reshape(-1, 6)
        scale = 1 / np.linalg.norm(columns, axis=0)
        wanted = (left * weight[:, None]).ravel()
        values = scale * np.linalg.lstsq(columns * scale, wanted, rcond=1e-10)[0]
        misfit = np.linalg.norm(columns @ values - wanted)
        best = min(best, (misfit, (*place, *values[:3])))
    return np.array(best[1])


def _refined(dipoles, points, field, weight):
    """(k, 6) dipoles moved to the weighted least squares of A."""

    def residual(x):
        return (weight[:, None] * (_a_field(x.reshape(-1, 6), points) - field)).ravel()

    def jacobian(x):
        return np.repeat(weight, 3)[:, None] * _jacobian(x.reshape(-1, 6), points)

    start = dipoles.ravel()
    tight = {"ftol": 1e-15, "xtol": 1e-15, "gtol": 1e-15}
    fit = least_squares(residual, start, jacobian, method="lm", x_scale="jac", max_nfev=STEPS, **tight)
    return fit.x.reshape(-1, 6)


def _a_field(dipoles, points):
    return (potential_matrix(dipoles[:, :3], points) @ dipoles[:, 3:].ravel()).reshape(-1, 3)


def _jacobian(dipoles, points):
    """(3 n_points, 6 k): A = mu0/4pi m x d / |d|^3, d = point - position, by position and moment."""
    position, moment = dipoles[:, :3], dipoles[:, 3:]
    d = points[:, None] - position
    square = np.einsum("ijk,ijk->ij", d, d)[..., None]
    across, cube = np.cross(moment, d), square**1.5
    matrix = np.empty((len(points), 3, len(dipoles), 6))
    for j, axis in enumerate(np.eye(3)):
        slope = 3 * across * d[..., j : j + 1] / square - np.cross(moment, axis)
        matrix[:, :, :, j] = np.moveaxis(MU0_OVER_4PI * slope / cube, 2, 1)
    matrix[:, :, :, 3:] = potential_matrix(position, points).reshape(len(points), 3, -1, 3)
    return matrix.reshape(3 * len(points), -1)


def potential_matrix(positions, points):
    """(3 n_points, 3 n_dipoles): A = mu0/4pi m x d / |d|^3 as a matrix; metres."""
    d = points[:, None] - positions
    k = MU0_OVER_4PI * d / (np.einsum("ijk,ijk->ij", d, d) ** 1.5)[..., None]
    matrix = np.zeros((len(points), 3, len(positions), 3))
    for i in range(3):
        j, c = (i + 1) % 3, (i + 2) % 3
        matrix[:, i, :, j], matrix[:, i, :, c] = k[..., c], -k[..., j]
    return matrix.reshape(3 * len(points), 3 * len(positions))
