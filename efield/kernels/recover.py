"""Linear fits over patches of tetrahedra around nodes, and their extension to a border."""

import numpy as np

from efield.kernels._jit import jit

FLAT = 1e-8
"""A patch is flat where a pivot of its second moments falls below this part of their trace."""


@jit
def fit_patches(begin, end, points, centres, volumes, values, pointers, patch, inner, poly):
    """Volume-weighted linear least-squares fit about every inner node, the mean about the others.

    Parameters
    ----------
    points : (n, 3) array
        The nodes.
    centres, volumes, values : (n_tets, 3), (n_tets,), (n_tets, 3) arrays
        A value holds at the centre of its tetrahedron.
    pointers, patch : int arrays
        Node i has the tetrahedra ``patch[pointers[i]:pointers[i + 1]]``.
    inner : (n,) bool array
        Unset where the patch is flat.
    poly : (n, 4, 3) array
        Value at the node, then the derivative of the three components along x, y and z.
    """
    moment, slope = np.empty((3, 3)), np.empty((3, 3))
    middle, mean, offset = np.empty(3), np.empty(3), np.empty(3)
    for i in range(begin, end):
        total = 0.0
        middle[:] = 0.0
        mean[:] = 0.0
        for p in range(pointers[i], pointers[i + 1]):
            t = patch[p]
            total += volumes[t]
            for c in range(3):
                middle[c] += volumes[t] * (centres[t, c] - points[i, c])
                mean[c] += volumes[t] * values[t, c]
        for c in range(3):
            middle[c] /= total
            mean[c] /= total
            poly[i, 0, c] = mean[c]
        if not inner[i]:
            continue
        moment[:] = 0.0
        slope[:] = 0.0
        for p in range(pointers[i], pointers[i + 1]):
            t = patch[p]
            for c in range(3):
                offset[c] = centres[t, c] - points[i, c] - middle[c]
            for a in range(3):
                along = volumes[t] * offset[a]
                for c in range(3):
                    moment[a, c] += along * offset[c]
                    slope[a, c] += along * (values[t, c] - mean[c])
        if not _solve_in_place(moment, slope):
            inner[i] = False
            continue
        for c in range(3):
            for a in range(3):
                poly[i, 1 + a, c] = slope[a, c]
                poly[i, 0, c] -= middle[a] * slope[a, c]


@jit
def _solve_in_place(matrix, rhs):
    """Solve a symmetric 3 x 3 system by elimination; False where a pivot is too small."""
    least = FLAT * (matrix[0, 0] + matrix[1, 1] + matrix[2, 2])
    for k in range(3):
        if not matrix[k, k] > least:
            return False
        for row in range(k + 1, 3):
            factor = matrix[row, k] / matrix[k, k]
            for c in range(3):
                matrix[row, c] -= factor * matrix[k, c]
                rhs[row, c] -= factor * rhs[k, c]
    for k in range(2, -1, -1):
        for c in range(3):
            for later in range(k + 1, 3):
                rhs[k, c] -= matrix[k, later] * rhs[later, c]
            rhs[k, c] /= matrix[k, k]
    return True


@jit
def extend_fits(begin, end, points, corners, pointers, patch, inner, poly, out):
    """Values (n, 3) at the nodes: an inner node's own, else the mean of what the fits of its inner
    neighbours give there, else the mean over its patch.

    `corners` (n_tets, 4) are the nodes of the tetrahedra; the others as :func:`fit_patches` leaves them.
    """
    seen = np.full(points.shape[0], -1, np.int32)
    for i in range(begin, end):
        count = 0
        out[i] = 0.0
        if not inner[i]:
            for p in range(pointers[i], pointers[i + 1]):
                for a in range(4):
                    j = corners[patch[p], a]
                    if inner[j] and seen[j] != i:
                        seen[j] = i
                        count += 1
                        for c in range(3):
                            out[i, c] += poly[j, 0, c]
                            for d in range(3):
                                out[i, c] += (points[i, d] - points[j, d]) * poly[j, 1 + d, c]
        for c in range(3):
            out[i, c] = out[i, c] / count if count > 0 else poly[i, 0, c]
