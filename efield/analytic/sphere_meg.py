"""Magnetic field outside a spherically symmetric conductor with a current dipole inside."""

import numpy as np

from efield.errors import TargetError
from efield.units import MU0_OVER_4PI


def meg_field(dipole, moment, points, center=(0.0, 0.0, 0.0)):
    """Magnetic field of a current dipole and of the currents it drives in the sphere.

    It does not depend on the conductivities of the shells nor on the outer radius. With
    ``r`` the point, ``r0`` the dipole, both from the centre, and ``a = r - r0``::

        F = a (r a + r^2 - r0.r)
        grad F = (a^2/r + a.r/a + 2 a + 2 r) r - (a + 2 r + a.r/a) r0
        B = mu0 / (4 pi F^2) (F Q x r0 - (Q x r0).r grad F)

    Parameters
    ----------
    dipole : (3,) array, m
        Position of the current dipole.
    moment : (3,) array, A m
        Its moment Q.
    points : (n_points, 3) array, m
        Outside the conductor.
    center : (3,) array, m
        Centre of the sphere.

    Returns
    -------
    (n_points, 3) array, T

    Raises
    ------
    TargetError
        The dipole is no closer to the centre than the innermost point.

    References
    ----------
    Sarvas 1987, Phys Med Biol 32:11, eq. 25.
    """
    center = np.asarray(center, dtype=np.float64)
    r0 = np.asarray(dipole, dtype=np.float64) - center
    points = np.atleast_2d(np.asarray(points, dtype=np.float64)) - center
    r = np.linalg.norm(points, axis=1, keepdims=True)
    if np.linalg.norm(r0) >= r.min():
        raise TargetError(
            f"the current dipole lies {np.linalg.norm(r0):.6g} m from the centre, a point only "
            f"{r.min():.6g} m; the points must lie outside the conductor"
        )
    a_vec = points - r0
    a = np.linalg.norm(a_vec, axis=1, keepdims=True)
    ratio = np.einsum("ij,ij->i", a_vec, points)[:, None] / a
    f = a * (r * a + r**2 - (points @ r0)[:, None])
    grad_f = (a**2 / r + ratio + 2 * a + 2 * r) * points - (a + 2 * r + ratio) * r0
    q_r0 = np.cross(moment, r0)
    return MU0_OVER_4PI / f**2 * (f * q_r0 - (points @ q_r0)[:, None] * grad_f)
