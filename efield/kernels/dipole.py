"""Vector potential of magnetic dipoles, summed directly.

The inner loop runs over points, so it vectorises without reassociating the sum; separate
x, y, z arrays beat (n, 3). Everything in metres; a point on a dipole gives inf, which the
wrapper's check that no dipole lies in the head rules out.
"""

import numpy as np

from efield.kernels._jit import jit_estimated, jit_fused

POINT_BLOCK = 256
"""Points per pass over the dipoles: their coordinates and sums stay in the first-level cache."""

DIPOLE_CHUNK = 64
"""Dipoles summed in the working precision before the sum is added up in float64."""


@jit_fused
def vector_potential(begin, end, points, positions, moments, out):
    """``A = mu0/4pi sum_j m_j x (r - r_j) / |r - r_j|^3`` of some coils at points `begin` .. `end` - 1.

    Parameters
    ----------
    points : (3, n) array, m
        float32 halves the time; then take coordinates from a nearby origin.
    positions, moments : (n_coils, n_dipoles, 3) arrays, m and A m^2
    out : (n, 3, n_coils) array, T m; V/m where the moments are rates (A m^2 / s)
    """
    one, scale = points.dtype.type(1.0), points.dtype.type(1e-7)
    part, total = np.empty((3, POINT_BLOCK), points.dtype), np.empty((3, POINT_BLOCK))
    for first in range(begin, end, POINT_BLOCK):
        last = min(first + POINT_BLOCK, end)
        size = last - first
        px, py, pz = points[0, first:last], points[1, first:last], points[2, first:last]
        ax, ay, az = part[0, :size], part[1, :size], part[2, :size]
        for k in range(positions.shape[0]):
            total[:] = 0.0
            for chunk in range(0, positions.shape[1], DIPOLE_CHUNK):
                part[:] = 0
                for j in range(chunk, min(chunk + DIPOLE_CHUNK, positions.shape[1])):
                    qx, qy, qz = positions[k, j, 0], positions[k, j, 1], positions[k, j, 2]
                    mx, my, mz = scale * moments[k, j, 0], scale * moments[k, j, 1], scale * moments[k, j, 2]
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
            for i in range(size):
                for c in range(3):
                    out[first + i, c, k] = total[c, i]


@jit_estimated
def layered_potential(begin, end, points, poses, layers, heights, positions, moments, out):
    """The same for a coil of flat layers whose dipoles all point along its z axis, at several poses.

    Half of the work: in the coil's frame A has no z component, and the distance along z is shared.

    Parameters
    ----------
    points : (3, n) float32 array, m
    poses : (n_poses, 3, 4) float32 array
        Coil to the points' frame: rotation and origin, m.
    layers : (n_layers + 1,) int array
        Layer l holds the dipoles ``layers[l]`` to ``layers[l + 1] - 1``.
    heights : (n_layers,) float32 array, m
        z of each layer in the coil's frame.
    positions : (n_dipoles, 2) float32 array, m
        x and y in the coil's frame.
    moments : (n_dipoles,) float32 array, A m^2 / s
        Along +z.
    out : (n, 3, n_poses) array, V/m
    """
    one, scale = points.dtype.type(1.0), points.dtype.type(1e-7)
    local, part = np.empty((3, POINT_BLOCK), points.dtype), np.empty((2, POINT_BLOCK), points.dtype)
    total, along = np.empty((2, POINT_BLOCK)), np.empty(POINT_BLOCK, points.dtype)
    for first in range(begin, end, POINT_BLOCK):
        last = min(first + POINT_BLOCK, end)
        size = last - first
        px, py, pz = local[0, :size], local[1, :size], local[2, :size]
        ax, ay, z2 = part[0, :size], part[1, :size], along[:size]
        for k in range(poses.shape[0]):
            pose = poses[k]
            for i in range(size):
                x = points[0, first + i] - pose[0, 3]
                y = points[1, first + i] - pose[1, 3]
                z = points[2, first + i] - pose[2, 3]
                px[i] = pose[0, 0] * x + pose[1, 0] * y + pose[2, 0] * z
                py[i] = pose[0, 1] * x + pose[1, 1] * y + pose[2, 1] * z
                pz[i] = pose[0, 2] * x + pose[1, 2] * y + pose[2, 2] * z
            total[:] = 0.0
            for layer in range(heights.shape[0]):
                for i in range(size):
                    z2[i] = (pz[i] - heights[layer]) * (pz[i] - heights[layer])
                for chunk in range(layers[layer], layers[layer + 1], DIPOLE_CHUNK):
                    part[:] = 0
                    for j in range(chunk, min(chunk + DIPOLE_CHUNK, layers[layer + 1])):
                        qx, qy, m = positions[j, 0], positions[j, 1], scale * moments[j]
                        for i in range(size):
                            dx, dy = px[i] - qx, py[i] - qy
                            inverse = one / np.sqrt(dx * dx + (dy * dy + z2[i]))
                            w = m * (inverse * inverse) * inverse
                            ax[i] -= dy * w
                            ay[i] += dx * w
                    for c in range(2):
                        for i in range(size):
                            total[c, i] += part[c, i]
            for i in range(size):
                for c in range(3):
                    out[first + i, c, k] = pose[c, 0] * total[0, i] + pose[c, 1] * total[1, i]
