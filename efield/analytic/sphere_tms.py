"""Electric field that a TMS coil induces in a spherically symmetric conductor."""

import numpy as np

from efield.errors import PlacementError
from efield.units import MU0_OVER_4PI

_CHUNK_PAIRS = 2_000_000
"""Dipole-point pairs held at once: 16 MB per temporary."""


def tms_field(dipoles, dmdt, points, center=(0.0, 0.0, 0.0)):
    """Electric field of magnetic dipoles in a sphere whose conductivity depends on radius only.

    The field neither depends on the conductivities and radii of the shells nor on the outer
    radius; it has no radial component. With ``r`` the point, ``r2`` the dipole, both from
    the centre, ``a = r2 - r`` and ``m`` the change of the moment::

        F = a (r2 a + r2.a)
        G = (a^2/r2 + 2 a + 2 r2 + r2.a/a) r2 - (a + 2 r2 + r2.a/a) r
        E = -(mu0 / 4 pi) r x [ m / F - (m.G) r2 / F^2 ]

    Parameters
    ----------
    dipoles : (n_dipoles, 3) array, m
        Positions, outside the conductor.
    dmdt : (n_dipoles, 3) array, A m^2 / s
        Change of the dipole moments.
    points : (n_points, 3) array, m
        Where the field is wanted, inside the conductor.
    center : (3,) array, m
        Centre of the sphere.

    Returns
    -------
    (n_points, 3) array, V/m

    Raises
    ------
    PlacementError
        A dipole is no farther from the centre than the outermost point.

    References
    ----------
    Heller and van Hulsteyn 1992, Biophys J 63:129.
    """
    center = np.asarray(center, dtype=np.float64)
    sources = np.atleast_2d(np.asarray(dipoles, dtype=np.float64)) - center
    moments = np.atleast_2d(np.asarray(dmdt, dtype=np.float64))
    points = np.atleast_2d(np.asarray(points, dtype=np.float64)) - center
    _check_outside(sources, points)
    field = np.empty_like(points)
    step = max(1, _CHUNK_PAIRS // len(sources))
    for start in range(0, len(points), step):
        part = slice(start, start + step)
        field[part] = _tms_field(sources, moments, points[part])
    return field


def _tms_field(r2, m, r):
    r2_norm = np.linalg.norm(r2, axis=1)
    a = np.sqrt(sum((r2[:, k] - r[:, k, None]) ** 2 for k in range(3)))
    r2_a = r2_norm**2 - r @ r2.T
    f = a * (r2_norm * a + r2_a)
    ratio = 2 * r2_norm + r2_a / a
    m_g = (a**2 / r2_norm + 2 * a + ratio) * np.einsum("ij,ij->i", m, r2) - (a + ratio) * (r @ m.T)
    return -MU0_OVER_4PI * np.cross(r, (1 / f) @ m - (m_g / f**2) @ r2)


def _check_outside(sources, points):
    nearest = np.linalg.norm(sources, axis=1)
    farthest = np.linalg.norm(points, axis=1).max(initial=0.0)
    if nearest.min() <= farthest:
        bad = int(np.argmin(nearest))
        raise PlacementError(
            f"dipole {bad} lies {nearest[bad]:.6g} m from the centre, a point lies at {farthest:.6g} m; "
            "the closed form needs every dipole outside the conductor"
        )
