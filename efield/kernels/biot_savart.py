"""Magnetic field of point currents, for up to three functionals at a time.

``B(r) = mu0/4pi sum_n q_n x (r - x_n) / |r - x_n|^3``; the factor mu0/4pi and the unit of q
are the caller's. The inner loop runs over a block of points, so it vectorises.
"""

import numpy as np

from efield.kernels._jit import jit_fused

POINT_BLOCK = 128
"""Points per pass over the sources: their sums stay in the first-level cache."""

SOURCE_CHUNK = 1024
"""Sources summed in the working precision before the sum is added up in float64."""


@jit_fused
def field_of_currents(begin, end, points, nodes, currents, out):
    """Field of node currents at points ``begin .. end - 1``.

    Parameters
    ----------
    points : (3, n) array
    nodes : (n_nodes, 3) array
        Never at a point.
    currents : (n_nodes, 9) array
        Three functionals side by side.
    out : (n, 9) float64 array
    """
    part = np.empty((9, POINT_BLOCK), points.dtype)
    one = points.dtype.type(1)
    for first in range(begin, end, POINT_BLOCK):
        last = min(first + POINT_BLOCK, end)
        size = last - first
        px, py, pz = points[0, first:last], points[1, first:last], points[2, first:last]
        s0, s1, s2 = part[0, :size], part[1, :size], part[2, :size]
        s3, s4, s5 = part[3, :size], part[4, :size], part[5, :size]
        s6, s7, s8 = part[6, :size], part[7, :size], part[8, :size]
        out[first:last] = 0.0
        for chunk in range(0, nodes.shape[0], SOURCE_CHUNK):
            part[:] = 0
            for n in range(chunk, min(chunk + SOURCE_CHUNK, nodes.shape[0])):
                x, y, z = nodes[n, 0], nodes[n, 1], nodes[n, 2]
                ax, ay, az = currents[n, 0], currents[n, 1], currents[n, 2]
                bx, by, bz = currents[n, 3], currents[n, 4], currents[n, 5]
                cx, cy, cz = currents[n, 6], currents[n, 7], currents[n, 8]
                for i in range(size):
                    dx, dy, dz = px[i] - x, py[i] - y, pz[i] - z
                    r2 = dx * dx + dy * dy + dz * dz
                    w = one / (r2 * np.sqrt(r2))
                    dx *= w
                    dy *= w
                    dz *= w
                    s0[i] += ay * dz - az * dy
                    s1[i] += az * dx - ax * dz
                    s2[i] += ax * dy - ay * dx
                    s3[i] += by * dz - bz * dy
                    s4[i] += bz * dx - bx * dz
                    s5[i] += bx * dy - by * dx
                    s6[i] += cy * dz - cz * dy
                    s7[i] += cz * dx - cx * dz
                    s8[i] += cx * dy - cy * dx
            for c in range(9):
                for i in range(size):
                    out[first + i, c] += part[c, i]
