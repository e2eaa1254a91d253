"""Vector potential of magnetic dipoles, summed directly.

The inner loop runs over points, so it vectorises without reassociating the sum; separate
x, y, z arrays beat (n, 3). Everything in metres; a point on a dipole gives inf, which the
wrapper's check that no dipole lies in the head rules out.
"""

import numpy as np

from efield.kernels._jit import jit

POINT_BLOCK = 256
"""Points per pass over the dipoles: their coordinates and sums stay in the first-level cache."""


@jit
def vector_potential(begin, end, x, y, z, positions, moments, out_x, out_y, out_z):
    """``A = mu0/4pi sum_j m_j x (r - r_j) / |r - r_j|^3`` at points `begin` .. `end` - 1.

    Parameters
    ----------
    x, y, z : (n,) arrays, m
    positions, moments : (n_dipoles, 3) arrays, m and A m^2
    out_x, out_y, out_z : (n,) arrays, T m; V/m where the moments are rates (A m^2 / s)
    """
    for first in range(begin, end, POINT_BLOCK):
        last = min(first + POINT_BLOCK, end)
        px, py, pz = x[first:last], y[first:last], z[first:last]
        ax, ay, az = out_x[first:last], out_y[first:last], out_z[first:last]
        for i in range(px.size):
            ax[i], ay[i], az[i] = 0.0, 0.0, 0.0
        for j in range(positions.shape[0]):
            qx, qy, qz = positions[j, 0], positions[j, 1], positions[j, 2]
            mx, my, mz = 1e-7 * moments[j, 0], 1e-7 * moments[j, 1], 1e-7 * moments[j, 2]
            for i in range(px.size):
                dx, dy, dz = px[i] - qx, py[i] - qy, pz[i] - qz
                r2 = dx * dx + dy * dy + dz * dz
                inverse = 1.0 / (r2 * np.sqrt(r2))
                ax[i] += (my * dz - mz * dy) * inverse
                ay[i] += (mz * dx - mx * dz) * inverse
                az[i] += (mx * dy - my * dx) * inverse
