"""dA/dt of a coil at points in the head."""

import numpy as np

from efield.kernels import dipole
from efield.kernels._jit import run_chunks
from efield.units import to_m


def dipoles_in_head(coil, placement):
    """Dipole positions (m) and moments (m^2 per coil ampere) in the head's frame."""
    pose = placement.matsimnibs
    rotation = pose[:3, :3]
    positions = coil.positions @ rotation.T + to_m(pose[:3, 3])
    return positions, coil.moments @ rotation.T


def dadt(points, positions, rates):
    """dA/dt at points, directly summed.

    In float32, with coordinates from the points' centre: an error of about 1e-6 of the largest
    value, four orders below what the discretization makes of it.

    Parameters
    ----------
    points : (n, 3) array, m
    positions : (n_dipoles, 3) array, m
    rates : (n_dipoles, 3) array, A m^2 / s
        Moments times dI/dt.

    Returns
    -------
    (n, 3) float32 array, V/m
    """
    centre = points.mean(axis=0)
    x, y, z = np.ascontiguousarray((points - centre).T, dtype=np.float32)
    out = np.empty((3, len(points)), np.float32)
    run_chunks(
        dipole.vector_potential,
        len(points),
        x,
        y,
        z,
        np.ascontiguousarray(positions - centre, dtype=np.float32),
        np.ascontiguousarray(rates, dtype=np.float32),
        *out,
    )
    return out.T
