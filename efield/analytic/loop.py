"""Vector potential of a circular current loop, in closed form."""

import numpy as np
from scipy.special import ellipe, ellipk

from efield.units import MU0_OVER_4PI

__all__ = ["loop_vector_potential"]

SMALL_K2 = 1e-4
"""Below this the bracket cancels; its series is then good to 1e-8."""


def loop_vector_potential(radius, height, points):
    """A of a loop of 1 A about the z axis, anticlockwise seen from +z.

    J. D. Jackson, Classical Electrodynamics (3rd ed.), equation 5.37:
    ``A_phi = mu0/4pi 4 a / s [(2 - k^2) K(k) - 2 E(k)] / k^2`` with
    ``s^2 = (a + rho)^2 + z^2`` and ``k^2 = 4 a rho / s^2``.

    Parameters
    ----------
    radius : float
        a, metres.
    height : float
        z of the loop's plane, metres.
    points : (n, 3) array
        Metres; not on the wire.

    Returns
    -------
    (n, 3) array
        T m per ampere.
    """
    x, y, z = np.asarray(points, dtype=np.float64).T
    rho = np.hypot(x, y)
    s2 = (radius + rho) ** 2 + (z - height) ** 2
    k2 = 4 * radius * rho / s2
    with np.errstate(invalid="ignore", divide="ignore"):
        bracket = ((2 - k2) * ellipk(k2) - 2 * ellipe(k2)) / k2
    bracket = np.where(k2 < SMALL_K2, np.pi / 16 * k2 * (1 + 0.75 * k2), bracket)
    per_rho = MU0_OVER_4PI * 4 * radius / np.sqrt(s2) * bracket / np.where(rho > 0, rho, 1.0)
    return np.stack([-per_rho * y, per_rho * x, np.zeros_like(x)], axis=1)
