"""Cubic B-splines of nine functions on a regular grid, with gradients, and coils on them."""

import numpy as np

from efield.kernels._jit import jit


@jit
def _weights(t, w, d):
    """Values `w` and derivatives `d` of the four B-splines at fraction `t` of a cell."""
    u = 1.0 - t
    w[0] = u * u * u / 6.0
    w[1] = (3.0 * t * t * t - 6.0 * t * t + 4.0) / 6.0
    w[2] = (3.0 * u * u * u - 6.0 * u * u + 4.0) / 6.0
    w[3] = t * t * t / 6.0
    d[0] = -0.5 * u * u
    d[1] = 1.5 * t * t - 2.0 * t
    d[2] = -1.5 * u * u + 2.0 * u
    d[3] = 0.5 * t * t


@jit
def coil_values(begin, end, coefficients, origin, step, positions, moments, poses, out):
    """Three functionals of a coil, ``sum_j m_j . B(r_j)``, at many poses.

    Parameters
    ----------
    coefficients : (nx, ny, nz, 9) array
        Spline coefficients of three vector fields B in the grid's frame.
    origin, step : (3,) array, float
        Grid point (0, 0, 0) and spacing.
    positions, moments : (n_dipoles, 3) arrays
        In the coil's frame.
    poses : (n, 3, 4) array
        Coil to grid frame.
    out : (n, 3) array
    """
    w, d = np.empty((3, 4)), np.empty(4)
    sums = np.empty(9)
    cell = np.empty(3, np.int64)
    for i in range(begin, end):
        pose = poses[i]
        total0, total1, total2 = 0.0, 0.0, 0.0
        for j in range(positions.shape[0]):
            px, py, pz = positions[j, 0], positions[j, 1], positions[j, 2]
            for c in range(3):
                r = pose[c, 0] * px + pose[c, 1] * py + pose[c, 2] * pz + pose[c, 3]
                s = (r - origin[c]) / step
                cell[c] = int(np.floor(s))
                _weights(s - cell[c], w[c], d)
            sums[:] = 0.0
            for a in range(4):
                for b in range(4):
                    wab = w[0, a] * w[1, b]
                    line = coefficients[cell[0] + a - 1, cell[1] + b - 1]
                    for k in range(4):
                        weight = wab * w[2, k]
                        values = line[cell[2] + k - 1]
                        for c in range(9):
                            sums[c] += weight * values[c]
            ax, ay, az = moments[j, 0], moments[j, 1], moments[j, 2]
            mx = pose[0, 0] * ax + pose[0, 1] * ay + pose[0, 2] * az
            my = pose[1, 0] * ax + pose[1, 1] * ay + pose[1, 2] * az
            mz = pose[2, 0] * ax + pose[2, 1] * ay + pose[2, 2] * az
            total0 += mx * sums[0] + my * sums[1] + mz * sums[2]
            total1 += mx * sums[3] + my * sums[4] + mz * sums[5]
            total2 += mx * sums[6] + my * sums[7] + mz * sums[8]
        out[i, 0], out[i, 1], out[i, 2] = total0, total1, total2


@jit
def coil_gradients(begin, end, coefficients, origin, step, positions, moments, poses, out, gradient):
    """The same with the derivative in the pose.

    `gradient` (n, 3, 6): per functional the derivative in the translation (3) and in a
    rotation about the coil's origin (3), both in the grid's frame.
    """
    w, d = np.empty((3, 4)), np.empty((3, 4))
    sums, slopes = np.empty(9), np.empty((3, 9))
    cell = np.empty(3, np.int64)
    arm, m, force = np.empty(3), np.empty(3), np.empty(3)
    for i in range(begin, end):
        pose = poses[i]
        out[i] = 0.0
        gradient[i] = 0.0
        for j in range(positions.shape[0]):
            for c in range(3):
                arm[c] = (
                    pose[c, 0] * positions[j, 0] + pose[c, 1] * positions[j, 1] + pose[c, 2] * positions[j, 2]
                )
                m[c] = pose[c, 0] * moments[j, 0] + pose[c, 1] * moments[j, 1] + pose[c, 2] * moments[j, 2]
                s = (arm[c] + pose[c, 3] - origin[c]) / step
                cell[c] = int(np.floor(s))
                _weights(s - cell[c], w[c], d[c])
            sums[:] = 0.0
            slopes[:] = 0.0
            for a in range(4):
                for b in range(4):
                    line = coefficients[cell[0] + a - 1, cell[1] + b - 1]
                    for k in range(4):
                        values = line[cell[2] + k - 1]
                        weight = w[0, a] * w[1, b] * w[2, k]
                        weight_x = d[0, a] * w[1, b] * w[2, k] / step
                        weight_y = w[0, a] * d[1, b] * w[2, k] / step
                        weight_z = w[0, a] * w[1, b] * d[2, k] / step
                        for c in range(9):
                            sums[c] += weight * values[c]
                            slopes[0, c] += weight_x * values[c]
                            slopes[1, c] += weight_y * values[c]
                            slopes[2, c] += weight_z * values[c]
            for f in range(3):
                bx, by, bz = sums[3 * f], sums[3 * f + 1], sums[3 * f + 2]
                out[i, f] += m[0] * bx + m[1] * by + m[2] * bz
                for c in range(3):
                    force[c] = (
                        m[0] * slopes[c, 3 * f] + m[1] * slopes[c, 3 * f + 1] + m[2] * slopes[c, 3 * f + 2]
                    )
                    gradient[i, f, c] += force[c]
                # d(arm) = theta x arm and d(m) = theta x m
                gradient[i, f, 3] += arm[1] * force[2] - arm[2] * force[1] + m[1] * bz - m[2] * by
                gradient[i, f, 4] += arm[2] * force[0] - arm[0] * force[2] + m[2] * bx - m[0] * bz
                gradient[i, f, 5] += arm[0] * force[1] - arm[1] * force[0] + m[0] * by - m[1] * bx


@jit
def field_values(begin, end, coefficients, origin, step, points, out):
    """Nine functions at points (n, 3) in the grid's frame; `out` (n, 9)."""
    w, d = np.empty((3, 4)), np.empty(4)
    cell = np.empty(3, np.int64)
    for i in range(begin, end):
        for c in range(3):
            s = (points[i, c] - origin[c]) / step
            cell[c] = int(np.floor(s))
            _weights(s - cell[c], w[c], d)
        row = out[i]
        for c in range(9):
            row[c] = 0.0
        for a in range(4):
            for b in range(4):
                wab = w[0, a] * w[1, b]
                line = coefficients[cell[0] + a - 1, cell[1] + b - 1]
                for k in range(4):
                    weight = wab * w[2, k]
                    values = line[cell[2] + k - 1]
                    for c in range(9):
                        row[c] += weight * values[c]
