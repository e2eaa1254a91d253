"""Vector potential of straight wire segments, summed directly."""

import numpy as np

from efield.kernels._jit import jit


@jit
def segment_potential(begin, end, points, starts, ends, out):
    """A at points ``begin .. end - 1`` of segments that carry 1 A from `starts` to `ends`.

    ``A = mu0/4pi sum_j t_j ln((r1 + r2 + L) / (r1 + r2 - L))``, with L the length of segment j, t its
    direction, and r1, r2 the distances to its ends: the integral of dl / |r - r'|, exactly.

    Parameters
    ----------
    points : (n, 3) array, m
        Not on a wire.
    starts, ends : (n_segments, 3) arrays, m
        No segment of length zero.
    out : (n, 3) array, T m per ampere
    """
    for i in range(begin, end):
        x, y, z = points[i, 0], points[i, 1], points[i, 2]
        ax, ay, az = 0.0, 0.0, 0.0
        for j in range(starts.shape[0]):
            px, py, pz = x - starts[j, 0], y - starts[j, 1], z - starts[j, 2]
            qx, qy, qz = x - ends[j, 0], y - ends[j, 1], z - ends[j, 2]
            tx, ty, tz = px - qx, py - qy, pz - qz
            length = np.sqrt(tx * tx + ty * ty + tz * tz)
            around = np.sqrt(px * px + py * py + pz * pz) + np.sqrt(qx * qx + qy * qy + qz * qz)
            weight = np.log1p(2 * length / (around - length)) / length
            ax += weight * tx
            ay += weight * ty
            az += weight * tz
        out[i, 0] = 1e-7 * ax
        out[i, 1] = 1e-7 * ay
        out[i, 2] = 1e-7 * az
