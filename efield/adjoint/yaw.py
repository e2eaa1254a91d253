"""Every yaw angle at one position from one azimuthal expansion.

Turning a coil about its own axis multiplies the azimuthal harmonics of the field round that
axis by phases. A few rings of sample points determine those harmonics at all dipoles, so the
functionals at every yaw follow from one set of field values per position. The rings' weights
are fitted to charges under a sphere that touches the scalp under the coil's origin: the
fields that a head can produce, and flatter than any head. Auxiliary dipoles do the same in
Gomez et al. 2021 (10.1016/j.neuroimage.2020.117696).
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import scipy.linalg

from efield.units import to_m

N_RINGS = 20
"""Rings kept of the candidates; more do not help, for their weights grow."""

N_ANGLES = 16
"""Sample points on a ring; harmonics up to one less than half of this are carried."""

N_YAW = 32
"""Yaw angles the weights give directly; all others are trigonometric interpolation."""

HEAD_RADIUS_MM = 120.0
"""Radius of the sphere whose charges train the weights."""

RIDGE = 3e-4
"""Ridge of the weights relative to the largest singular value: they must not amplify."""

TRAINING_DEPTHS_MM = (3.0, 6.0, 12.0, 25.0, 50.0)
"""Depths of the training charges under that sphere's surface."""


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
    @lru_cache(maxsize=4)
    def of(cls, coil, distance_mm):
        """Expansion for a coil whose origin lies `distance_mm` above the scalp."""
        radius = np.hypot(coil.positions[:, 0], coil.positions[:, 1])
        azimuth = np.arctan2(coil.positions[:, 1], coil.positions[:, 0])
        height = coil.positions[:, 2]
        orders = np.arange(N_ANGLES // 2)
        sources = _training_rings(to_m(distance_mm))
        rings = _choose_rings(orders, radius, height, sources)[:N_RINGS]
        at_rings = _harmonics(orders, *rings.T, sources)
        at_dipoles = _harmonics(orders, radius, height, sources)
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
        field : SplineField
        base_poses : (n, 4, 4) array
            matsimnibs at yaw 0.
        yaw_deg : (n_yaw,) array
        didt : float, A/s

        Returns
        -------
        (n, n_yaw, k) array
        """
        rotations = base_poses[:, :3, :3]
        points = self.points @ rotations.swapaxes(1, 2) + to_m(base_poses[:, None, :3, 3])
        values = field.field(points.reshape(-1, 3)).reshape(len(base_poses), len(self.points), -1, 3)
        local = np.einsum("npkc,ncd->nkpd", values, rotations, optimize=True)
        n, k = local.shape[:2]
        sampled = local.reshape(n * k, -1) @ self.weights.reshape(N_YAW, -1).T
        curves = sampled @ fourier_interpolation(N_YAW, np.radians(yaw_deg)).T
        return -didt * curves.reshape(n, k, -1).swapaxes(1, 2)


def fourier_interpolation(n_samples, angles):
    """(N_ANGLES, n_samples) matrix of trigonometric interpolation from equispaced samples."""
    half = n_samples // 2
    delta = angles[:, None] - 2 * np.pi * np.arange(n_samples) / n_samples
    orders = np.arange(1, half)
    kernel = 1.0 + 2.0 * np.cos(delta[..., None] * orders).sum(axis=-1) + np.cos(half * delta)
    return kernel / n_samples


def _training_rings(distance):
    """(n, 2) radius and height of charge rings under the scalp, coil frame, m."""
    polar = np.radians(np.concatenate([np.linspace(0, 60, 31), np.linspace(66, 150, 10)]))
    rings = []
    for depth in to_m(TRAINING_DEPTHS_MM):
        inner = to_m(HEAD_RADIUS_MM) - depth
        rings.append(
            np.stack([inner * np.sin(polar), distance + to_m(HEAD_RADIUS_MM) - inner * np.cos(polar)], axis=1)
        )
    return np.concatenate(rings)


def _choose_rings(orders, radius, height, sources):
    """(n, 2) radius and height of candidate rings, those that tell most first, by pivoted QR."""
    levels = np.linspace(height.min(), height.max(), 4 if np.ptp(height) > 1e-3 else 1)
    radii = radius.max() * np.linspace(0.02, 1.0, 40)
    candidates = np.stack(np.meshgrid(radii, levels, indexing="ij"), axis=-1).reshape(-1, 2)
    table = np.concatenate(list(_harmonics(orders, *candidates.T, sources).swapaxes(1, 2)))
    pivots = scipy.linalg.qr(table, mode="r", pivoting=True)[1]
    return candidates[pivots]


def _harmonics(orders, radius, height, sources):
    """(n_orders, n_points, n_sources) azimuthal harmonics of 1/distance to ring charges."""
    n = 8 * len(orders)
    cosine = np.cos(2 * np.pi * np.arange(n) / n)
    distance2 = (radius[:, None] ** 2 + sources[:, 0] ** 2 + (height[:, None] - sources[:, 1]) ** 2)[
        ..., None
    ] - 2 * (radius[:, None] * sources[:, 0])[..., None] * cosine
    spectrum = np.fft.rfft(1.0 / np.sqrt(distance2), axis=-1).real / n
    return np.moveaxis(spectrum[..., orders], -1, 0)


def _ridge(matrix, wanted):
    """Least squares (n_sources, n_rings) x = wanted with a small ridge, by singular values."""
    u, s, vt = np.linalg.svd(matrix, full_matrices=False)
    damped = s / (s**2 + (RIDGE * s[0]) ** 2)
    return vt.T @ (damped[:, None] * (u.T @ wanted))
