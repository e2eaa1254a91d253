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
    """dA/dt at points, directly summed in float64.

    Parameters
    ----------
    points : (n, 3) array, m
    positions : (n_dipoles, 3) array, m
    rates : (n_dipoles, 3) array, A m^2 / s
        Moments times dI/dt.

    Returns
    -------
    (n, 3) array, V/m
    """
    x, y, z = (np.ascontiguousarray(points[:, c]) for c in range(3))
    out = np.empty((3, len(points)))
    run_chunks(
        dipole.vector_potential,
        len(points),
        x,
        y,
        z,
        np.ascontiguousarray(positions),
        np.ascontiguousarray(rates),
        *out,
    )
    return out.T
