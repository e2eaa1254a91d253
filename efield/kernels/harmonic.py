"""Fields of point charges: harmonic functions outside the head, nine at a time."""

import numpy as np

from efield.kernels._jit import jit_fused

POINT_BLOCK = 128
"""Points per pass over the charges: their sums stay in the first-level cache."""


@jit_fused
def potentials(begin, end, points, charges, strengths, nearest2, out):
    """``out[i, c] = sum_s strengths[s, c] / |r_i - x_s|`` for nine functions c.

    Parameters
    ----------
    points : (3, n) array
    charges : (n_charges, 3) array
    strengths : (n_charges, 9) array
    nearest2 : float
        Squared distance below which a charge counts as this far: keeps values finite at
        points inside the head, where nobody reads them.
    out : (n, 9) array
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
        part[:] = 0
        for s in range(charges.shape[0]):
            x, y, z = charges[s, 0], charges[s, 1], charges[s, 2]
            q0, q1, q2 = strengths[s, 0], strengths[s, 1], strengths[s, 2]
            q3, q4, q5 = strengths[s, 3], strengths[s, 4], strengths[s, 5]
            q6, q7, q8 = strengths[s, 6], strengths[s, 7], strengths[s, 8]
            for i in range(size):
                dx, dy, dz = px[i] - x, py[i] - y, pz[i] - z
                w = one / np.sqrt(max(dx * dx + dy * dy + dz * dz, nearest2))
                s0[i] += q0 * w
                s1[i] += q1 * w
                s2[i] += q2 * w
                s3[i] += q3 * w
                s4[i] += q4 * w
                s5[i] += q5 * w
                s6[i] += q6 * w
                s7[i] += q7 * w
                s8[i] += q8 * w
        for c in range(9):
            for i in range(size):
                out[first + i, c] = part[c, i]


@jit_fused
def inverse_distances(begin, end, points, charges, out):
    """``out[i, s] = 1 / |r_i - x_s|``: the fit's matrix; `points` (n, 3)."""
    for i in range(begin, end):
        x, y, z = points[i, 0], points[i, 1], points[i, 2]
        row = out[i]
        for s in range(charges.shape[0]):
            dx, dy, dz = x - charges[s, 0], y - charges[s, 1], z - charges[s, 2]
            row[s] = 1.0 / np.sqrt(dx * dx + dy * dy + dz * dz)
