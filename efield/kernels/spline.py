"""Cubic B-splines of up to sixteen functions on a regular grid, with gradients, and coils on them.

A grid point holds its coefficients in one row, so a value is the weighted sum of 64 rows.
"""

import numpy as np

from efield.kernels._jit import jit
from efield.kernels._vector import row_product

COLUMNS = 16
"""Functions that a row of coefficients holds: nine are used, and a row fills a cache line."""

POSE_BLOCK = 64
"""Neighbouring poses that read the same coefficients."""


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
def _locate(x, y, z, shape, origin, step, w, d, places):
    """Basis values `w` and derivatives `d` (3, 4) along each axis, and the rows (64,) they weigh."""
    at = (x - origin[0]) / step, (y - origin[1]) / step, (z - origin[2]) / step
    corner = 0
    for c in range(3):
        cell = int(np.floor(at[c]))
        _weights(at[c] - cell, w[c], d[c])
        corner = corner * shape[c] + cell - 1
    for a in range(4):
        for b in range(4):
            row = corner + (a * shape[1] + b) * shape[2]
            for k in range(4):
                places[16 * a + 4 * b + k] = row + k


@jit
def _product(x, y, z, weights):
    """``weights[16 a + 4 b + k] = x[a] y[b] z[k]``."""
    for a in range(4):
        for b in range(4):
            xy = x[a] * y[b]
            for k in range(4):
                weights[16 * a + 4 * b + k] = xy * z[k]


@jit
def coil_values(begin, end, coefficients, origin, step, positions, moments, poses, out):
    """Three functionals of a coil, ``sum_j m_j . B(r_j)``, at many poses.

    Parameters
    ----------
    coefficients : (nx, ny, nz, 16) float32 array
        Spline coefficients; the first nine are three vector fields B in the grid's frame.
    origin, step : (3,) array, float
        Grid point (0, 0, 0) and spacing.
    positions, moments : (n_dipoles, 3) arrays
        In the coil's frame.
    poses : (n, 3, 4) array
        Coil to grid frame.
    out : (n, 3) array
    """
    rows, shape = coefficients.reshape(-1, COLUMNS), coefficients.shape
    w, d = np.empty((3, 4)), np.empty((3, 4))
    weights, places = np.empty(64), np.empty(64, np.int64)
    field = np.empty((1, COLUMNS))  # float64: the polish compares values closely
    at, m = np.empty(3), np.empty(3)
    for i in range(begin, end):
        pose = poses[i]
        total0, total1, total2 = 0.0, 0.0, 0.0
        for j in range(positions.shape[0]):
            for c in range(3):
                at[c] = (
                    pose[c, 0] * positions[j, 0]
                    + pose[c, 1] * positions[j, 1]
                    + pose[c, 2] * positions[j, 2]
                    + pose[c, 3]
                )
                m[c] = pose[c, 0] * moments[j, 0] + pose[c, 1] * moments[j, 1] + pose[c, 2] * moments[j, 2]
            _locate(at[0], at[1], at[2], shape, origin, step, w, d, places)
            _product(w[0], w[1], w[2], weights)
            row_product(COLUMNS, weights, places, rows, 0, 64, None, None, None, field, 0)
            total0 += m[0] * field[0, 0] + m[1] * field[0, 1] + m[2] * field[0, 2]
            total1 += m[0] * field[0, 3] + m[1] * field[0, 4] + m[2] * field[0, 5]
            total2 += m[0] * field[0, 6] + m[1] * field[0, 7] + m[2] * field[0, 8]
        out[i, 0], out[i, 1], out[i, 2] = total0, total1, total2


@jit
def coil_gradients(begin, end, coefficients, origin, step, positions, moments, poses, out, gradient):
    """The same with the derivative in the pose.

    `gradient` (n, 3, 6): per functional the derivative in the translation (3) and in a
    rotation about the coil's origin (3), both in the grid's frame.
    """
    rows, shape = coefficients.reshape(-1, COLUMNS), coefficients.shape
    w, d = np.empty((3, 4)), np.empty((3, 4))
    weights, places = np.empty(64), np.empty(64, np.int64)
    field = np.empty((4, COLUMNS))  # the value and its three slopes
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
            x, y, z = arm[0] + pose[0, 3], arm[1] + pose[1, 3], arm[2] + pose[2, 3]
            _locate(x, y, z, shape, origin, step, w, d, places)
            _product(w[0], w[1], w[2], weights)
            row_product(COLUMNS, weights, places, rows, 0, 64, None, None, None, field, 0)
            _product(d[0], w[1], w[2], weights)
            row_product(COLUMNS, weights, places, rows, 0, 64, None, None, None, field, 1)
            _product(w[0], d[1], w[2], weights)
            row_product(COLUMNS, weights, places, rows, 0, 64, None, None, None, field, 2)
            _product(w[0], w[1], d[2], weights)
            row_product(COLUMNS, weights, places, rows, 0, 64, None, None, None, field, 3)
            for f in range(3):
                bx, by, bz = field[0, 3 * f], field[0, 3 * f + 1], field[0, 3 * f + 2]
                out[i, f] += m[0] * bx + m[1] * by + m[2] * bz
                for c in range(3):
                    slope = field[1 + c]
                    force[c] = (
                        m[0] * slope[3 * f] + m[1] * slope[3 * f + 1] + m[2] * slope[3 * f + 2]
                    ) / step
                    gradient[i, f, c] += force[c]
                # d(arm) = theta x arm and d(m) = theta x m
                gradient[i, f, 3] += arm[1] * force[2] - arm[2] * force[1] + m[1] * bz - m[2] * by
                gradient[i, f, 4] += arm[2] * force[0] - arm[0] * force[2] + m[2] * bx - m[0] * bz
                gradient[i, f, 5] += arm[0] * force[1] - arm[1] * force[0] + m[0] * by - m[1] * bx


@jit
def field_values(begin, end, coefficients, origin, step, points, out):
    """All functions at points (n, 3) in the grid's frame; `out` (n, 16), of the coefficients' type."""
    rows, shape = coefficients.reshape(-1, COLUMNS), coefficients.shape
    w, d = np.empty((3, 4)), np.empty((3, 4))
    weights, places = np.empty(64, coefficients.dtype), np.empty(64, np.int64)
    for i in range(begin, end):
        _locate(points[i, 0], points[i, 1], points[i, 2], shape, origin, step, w, d, places)
        _product(w[0], w[1], w[2], weights)
        row_product(COLUMNS, weights, places, rows, 0, 64, None, None, None, out, i)


@jit
def frame_values(begin, end, coefficients, origin, step, points, poses, out):
    """Three vector fields at points of a coil, along the coil's axes, at many poses.

    `points` (n_points, 3) in the coil's frame; `poses` (n, 3, 4) as in :func:`coil_values`;
    `out` (n, 3, n_points, 3), of the coefficients' type. One point at a time over a block of poses:
    of neighbouring poses it reads the same coefficients.
    """
    rows, shape = coefficients.reshape(-1, COLUMNS), coefficients.shape
    w, d = np.empty((3, 4)), np.empty((3, 4))
    weights, places = np.empty(64, coefficients.dtype), np.empty(64, np.int64)
    field = np.empty((1, COLUMNS), coefficients.dtype)
    at = np.empty(3)
    for first in range(begin, end, POSE_BLOCK):
        for j in range(points.shape[0]):
            px, py, pz = points[j, 0], points[j, 1], points[j, 2]
            for i in range(first, min(first + POSE_BLOCK, end)):
                pose = poses[i]
                for c in range(3):
                    at[c] = pose[c, 0] * px + pose[c, 1] * py + pose[c, 2] * pz + pose[c, 3]
                _locate(at[0], at[1], at[2], shape, origin, step, w, d, places)
                _product(w[0], w[1], w[2], weights)
                row_product(COLUMNS, weights, places, rows, 0, 64, None, None, None, field, 0)
                for f in range(3):
                    bx, by, bz = field[0, 3 * f], field[0, 3 * f + 1], field[0, 3 * f + 2]
                    for c in range(3):
                        out[i, f, j, c] = pose[0, c] * bx + pose[1, c] * by + pose[2, c] * bz
