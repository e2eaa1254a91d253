"""Every yaw angle at one position from one azimuthal expansion.

Turning a coil about its own axis multiplies the azimuthal harmonics of the field round that
axis by phases. A few rings of sample points determine those harmonics at all dipoles, so the
functionals at every yaw follow from one set of field values per position. The rings lie
where the coil's dipoles do, so they keep off the head as the coil does, and their weights are
fitted to the charges of the exterior model, as they lie under the coil at the positions of the
search. Auxiliary dipoles do the same in Gomez et al. 2021 (10.1016/j.neuroimage.2020.117696).
"""

from dataclasses import dataclass

import numpy as np
import scipy.linalg

from efield.units import to_m

N_RINGS = 20
"""Rings kept of the candidates; more do not help."""

N_ANGLES = 20
"""Sample points on a ring; harmonics up to one less than half of this are carried."""

N_YAW = 32
"""Yaw angles the weights give directly; all others are trigonometric interpolation."""

RIDGE = 3e-5
"""Ridge of the weights relative to the largest singular value: they must not amplify."""

N_TRAINING = 300
"""Charges that train the weights, each seen from a position of its own."""

CANDIDATE_MM = 2.0
"""Candidate rings are the dipoles' own, one in a cell of this size in radius and height."""

POINTS_AT_ONCE = 16
"""Points whose distances to the training charges are held at once: they fit a core's cache."""


@dataclass(frozen=True, eq=False)
class YawExpansion:
    """Sample points in the coil's frame, and the weights that turn field values into yaw curves.

    Attributes
    ----------
    points : (n, 3) array, m
        In the frame of the coil at yaw 0.
    weights : (N_YAW, n, 3) array, m^2
        ``sum(weights[i] * B(points))`` is ``sum_j m_j.B(r_j)`` of the coil turned by
        ``2 pi i / N_YAW``, with B in the frame of the coil at yaw 0.
    """

    points: np.ndarray
    weights: np.ndarray

    @classmethod
    def of(cls, coil, charges, base_poses):
        """Expansion for a coil and the fields of some charges.

        Parameters
        ----------
        coil : Coil
        charges : (n, 3) array, m
            Of the exterior model, in the head's frame.
        base_poses : (n, 4, 4) array
            Positions at which the coil is to be tried.
        """
        azimuth = np.arctan2(coil.positions[:, 1], coil.positions[:, 0])
        dipoles = _radius_and_height(coil.positions)
        orders = np.arange(N_ANGLES // 2)
        sources = _training_rings(charges, base_poses)
        rings = _choose_rings(orders, dipoles, sources)
        at_rings = _harmonics(orders, rings, sources)
        at_dipoles = _harmonics(orders, dipoles, sources)
        flat = coil.moments[:, 0] - 1j * coil.moments[:, 1]  # conjugate of m_x + i m_y
        angles = 2 * np.pi * np.arange(N_ANGLES) / N_ANGLES
        yaw = 2 * np.pi * np.arange(N_YAW) / N_YAW
        in_plane = np.zeros((N_YAW, len(rings), N_ANGLES), complex)
        along = np.zeros((N_YAW, len(rings), N_ANGLES), complex)
        for k in range(-orders[-1], len(orders)):
            spin = np.exp(1j * k * azimuth)
            wanted = np.stack([flat * spin, coil.moments[:, 2] * spin]) @ at_dipoles[abs(k)]
            ring_weights = _ridge(at_rings[abs(k)].T, wanted.T).T
            phase = np.exp(1j * k * (yaw[:, None] - angles)) / N_ANGLES
            in_plane += ring_weights[0][:, None] * (np.exp(-1j * yaw)[:, None] * phase)[:, None]
            along += ring_weights[1][:, None] * phase[:, None]
        weights = np.stack([in_plane.real, -in_plane.imag, along.real], axis=-1)
        ring_points = np.stack(
            np.broadcast_arrays(rings[:, :1] * np.cos(angles), rings[:, :1] * np.sin(angles), rings[:, 1:]),
            axis=-1,
        )
        return cls(ring_points.reshape(-1, 3), weights.reshape(N_YAW, -1, 3))

    def functionals(self, field, base_poses, yaw_deg, didt):
        """Target functionals at every yaw of some positions.

        Parameters
        ----------
        field : SplineField or AdjointCurrents
        base_poses : (n, 4, 4) array
            matsimnibs at yaw 0.
        yaw_deg : (n_yaw,) array
        didt : float, A/s

        Returns
        -------
        (n, n_yaw, k) array
        """
        values = field.in_frames(self.points, base_poses)
        n, k = values.shape[:2]
        sampled = values.reshape(n * k, -1) @ self.weights.reshape(N_YAW, -1).T.astype(values.dtype)
        return -didt * interpolate_yaw(sampled.reshape(n, k, N_YAW).swapaxes(1, 2), yaw_deg)


def interpolate_yaw(samples, yaw_deg):
    """Functionals (n, n_yaw, k) at some angles from samples (n, n_samples, k) round the circle from 0.

    In the samples' precision; in memory yaw comes last, which is how one product of matrices gives them.
    """
    n, n_samples, k = samples.shape
    between = fourier_interpolation(n_samples, np.radians(yaw_deg)).astype(samples.dtype)
    curves = samples.swapaxes(1, 2).reshape(n * k, n_samples) @ between.T
    return curves.reshape(n, k, -1).swapaxes(1, 2)


def fourier_interpolation(n_samples, angles):
    """(N_ANGLES, n_samples) matrix of trigonometric interpolation from equispaced samples."""
    half = n_samples // 2
    delta = angles[:, None] - 2 * np.pi * np.arange(n_samples) / n_samples
    orders = np.arange(1, half)
    kernel = 1.0 + 2.0 * np.cos(delta[..., None] * orders).sum(axis=-1) + np.cos(half * delta)
    return kernel / n_samples


def _radius_and_height(points):
    """(n, 2) distance from the z axis and height of points (n, 3)."""
    return np.stack([np.hypot(points[:, 0], points[:, 1]), points[:, 2]], axis=1)


def _training_rings(charges, base_poses):
    """(N_TRAINING, 2) radius and height of charges as the coil sees them from its positions, m."""
    rng = np.random.default_rng(0)
    seen = charges[np.resize(rng.permutation(len(charges)), N_TRAINING)]
    poses = base_poses[rng.integers(0, len(base_poses), N_TRAINING)]
    return _radius_and_height(np.einsum("ni,nij->nj", seen - to_m(poses[:, :3, 3]), poses[:, :3, :3]))


def _choose_rings(orders, dipoles, sources):
    """(N_RINGS, 2) radius and height of the dipoles' rings that tell most, by pivoted QR."""
    cells = np.round(dipoles / to_m(CANDIDATE_MM)).astype(int)
    candidates = dipoles[np.unique(cells, axis=0, return_index=True)[1]]
    table = np.concatenate(list(_harmonics(orders, candidates, sources).swapaxes(1, 2)))
    return candidates[scipy.linalg.qr(table, mode="r", pivoting=True)[1][:N_RINGS]]


def _harmonics(orders, points, sources):
    """(n_orders, n_points, n_sources) azimuthal harmonics of 1/distance between rings.

    `points` and `sources` are (n, 2) radii and heights.
    """
    n = 4 * len(orders)
    angle = np.pi * (np.arange(n) + 0.5) / n  # half the circle: the other half is its mirror image
    transform, out = np.cos(np.outer(angle, orders)) / n, np.empty((len(orders), len(points), len(sources)))
    reach, depth = sources.T
    for begin in range(0, len(points), POINTS_AT_ONCE):
        radius, height = points[begin : begin + POINTS_AT_ONCE].T[:, :, None]
        mean2 = radius**2 + reach**2 + (height - depth) ** 2
        distance = np.sqrt(mean2[..., None] - 2 * (radius * reach)[..., None] * np.cos(angle))
        out[:, begin : begin + POINTS_AT_ONCE] = np.moveaxis((1.0 / distance) @ transform, -1, 0)
    return out


def _ridge(matrix, wanted):
    """Least squares (n_sources, n_rings) x = wanted with a small ridge, by singular values."""
    u, s, vt = np.linalg.svd(matrix, full_matrices=False)
    damped = s / (s**2 + (RIDGE * s[0]) ** 2)
    return vt.T @ (damped[:, None] * (u.T @ wanted))
