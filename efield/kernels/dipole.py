"""Vector potential of magnetic dipoles, summed directly.

The inner loop runs over points, so it vectorises without reassociating the sum; separate
x, y, z arrays beat (n, 3). Everything in metres; a point on a dipole gives inf, which the
wrapper's check that no dipole lies in the head rules out.
"""

import numpy as np

from efield.kernels._jit import jit

POINT_BLOCK = 256
"""Points per pass over the dipoles: their coordinates and sums stay in the first-level cache."""

DIPOLE_CHUNK = 64
"""Dipoles summed in the working precision before the sum is added up in float64."""


@jit
def vector_potential(begin, end, x, y, z, positions, moments, out_x, out_y, out_z):
    """``A = mu0/4pi sum_j m_j x (r - r_j) / |r - r_j|^3`` at points `begin` .. `end` - 1.

    Parameters
    ----------
    x, y, z : (n,) arrays, m
        float32 halves the time; then take coordinates from a nearby origin.
    positions, moments : (n_dipoles, 3) arrays, m and A m^2
    out_x, out_y, out_z : (n,) arrays, T m; V/m where the moments are rates (A m^2 / s)
    """
    one, scale = x.dtype.type(1.0), x.dtype.type(1e-7)
    part, total = np.empty((3, POINT_BLOCK), x.dtype), np.empty((3, POINT_BLOCK))
    for first in range(begin, end, POINT_BLOCK):
        last = min(first + POINT_BLOCK, end)
        size = last - first
        px, py, pz = x[first:last], y[first:last], z[first:last]
        ax, ay, az = part[0, :size], part[1, :size], part[2, :size]
        total[:] = 0.0
        for chunk in range(0, positions.shape[0], DIPOLE_CHUNK):
            part[:] = 0
            for j in range(chunk, min(chunk + DIPOLE_CHUNK, positions.shape[0])):
                qx, qy, qz = positions[j, 0], positions[j, 1], positions[j, 2]
                mx, my, mz = scale * moments[j, 0], scale * moments[j, 1], scale * moments[j, 2]
                for i in range(size):
                    dx, dy, dz = px[i] - qx, py[i] - qy, pz[i] - qz
                    r2 = dx * dx + dy * dy + dz * dz
                    inverse = one / (r2 * np.sqrt(r2))
                    ax[i] += (my * dz - mz * dy) * inverse
                    ay[i] += (mz * dx - mx * dz) * inverse
                    az[i] += (mx * dy - my * dx) * inverse
            for c in range(3):
                for i in range(size):
                    total[c, i] += part[c, i]
        out_x[first:last] = total[0, :size]
        out_y[first:last] = total[1, :size]
        out_z[first:last] = total[2, :size]
