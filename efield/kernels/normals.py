"""Bounds of a surface's smoothed normals over whole triangles; the derivation is in docs/certificate.md."""

import numpy as np

from efield.kernels._jit import jit


@jit
def _dot(a, b):
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@jit
def _plane(triangle, plane):
    """Two orthonormal directions (2, 3) of a triangle's plane."""
    for c in range(3):
        plane[0, c] = triangle[1, c] - triangle[0, c]
        plane[1, c] = triangle[2, c] - triangle[0, c]
    plane[0] /= np.sqrt(_dot(plane[0], plane[0]))
    plane[1] -= _dot(plane[0], plane[1]) * plane[0]
    plane[1] /= np.sqrt(_dot(plane[1], plane[1]))


@jit
def _normal_sum(point, centroids, area_normals, radius, total, change, bend, plane):
    """Weighted sum of area normals, its derivative, and its second derivatives in a plane."""
    total[:] = 0.0
    change[:] = 0.0
    bend[:] = 0.0
    for f in range(centroids.shape[0]):
        dx, dy, dz = point[0] - centroids[f, 0], point[1] - centroids[f, 1], point[2] - centroids[f, 2]
        s = np.sqrt(dx * dx + dy * dy + dz * dz) / radius
        if s >= 1.0:
            continue
        rest = 1.0 - s
        weight = rest**4 * (4.0 * s + 1.0)
        rate = -20.0 * rest**3 / (radius * radius)
        outer = 60.0 * rest * rest / (radius**4 * max(s, 1e-12))
        x = dx * plane[0, 0] + dy * plane[0, 1] + dz * plane[0, 2]
        y = dx * plane[1, 0] + dy * plane[1, 1] + dz * plane[1, 2]
        for c in range(3):
            area = area_normals[f, c]
            total[c] += weight * area
            change[c, 0] += area * rate * dx
            change[c, 1] += area * rate * dy
            change[c, 2] += area * rate * dz
            bend[c, 0] += area * (rate + outer * x * x)
            bend[c, 1] += area * (rate + outer * y * y)
            bend[c, 2] += area * outer * x * y


@jit
def _third_derivatives(point, reach, centroids, area_normals, radius, normal):
    """Bounds along and across `normal` of the third derivatives of the weighted sum in reach.

    That of the weight is at most ``120 / R^3 (1 - s) max(1 - s, |1 - 2 s|)``.
    """
    along, across = 0.0, 0.0
    for f in range(centroids.shape[0]):
        dx, dy, dz = point[0] - centroids[f, 0], point[1] - centroids[f, 1], point[2] - centroids[f, 2]
        s = np.sqrt(dx * dx + dy * dy + dz * dz)
        near, far = max(s - reach, 0.0) / radius, min((s + reach) / radius, 1.0)
        if near >= 1.0:
            continue
        most = 120.0 * (1.0 - near) * max(1.0 - near, 2.0 * far - 1.0) / radius**3
        part, whole = _dot(normal, area_normals[f]), _dot(area_normals[f], area_normals[f])
        along += most * abs(part)
        across += most * np.sqrt(max(whole - part * part, 0.0))
    return along, across


@jit
def normal_bounds(begin, end, triangles, finest, centroids, area_normals, radius, normals, slopes, rests):
    """Smoothed normals at the middle of triangles, and how far they are from linear over them.

    At a point s away from the middle, within the triangle, the normal is ``(n + u) / |n + u|``,
    u across n, with ``|u - slope s| <= rest``. With S the weighted sum of area normals, u is
    the part of S across n over that along n. It is expanded in pieces of the triangle.

    Parameters
    ----------
    triangles : (n, 3, 3) array
    finest : float
        Reach below which pieces are not divided further.
    centroids, area_normals : (n_triangles, 3) arrays
        Of the surface: every triangle that the normals feel, at least.
    radius : float
        Of the smoothing.
    normals, slopes, rests : (n, 3), (n, 3, 3), (n,) arrays
        Outputs; `rests` is inf where no bound is found.
    """
    plane, middle, point, part = np.empty((2, 3)), np.empty(3), np.empty(3), np.empty(3)
    total, change, bend = np.empty(3), np.empty((3, 3)), np.empty((3, 3))
    u, rate, steps = np.empty(3), np.empty((3, 3)), np.empty((3, 3))
    for i in range(begin, end):
        corners, normal, slope = triangles[i], normals[i], slopes[i]
        _plane(corners, plane)
        for c in range(3):
            middle[c] = (corners[0, c] + corners[1, c] + corners[2, c]) / 3.0
        reach = 0.0
        for v in range(3):
            for c in range(3):
                part[c] = corners[v, c] - middle[c]
            reach = max(reach, np.sqrt(_dot(part, part)))
        _normal_sum(middle, centroids, area_normals, radius, total, change, bend, plane)
        size = np.sqrt(_dot(total, total))
        rests[i] = np.inf
        if size == 0.0:
            normal[:] = 0.0
            slope[:] = 0.0
            continue
        for c in range(3):
            normal[c] = total[c] / size
        for d in range(3):
            along = normal[0] * change[0, d] + normal[1] * change[1, d] + normal[2] * change[2, d]
            for c in range(3):
                slope[c, d] = (change[c, d] - normal[c] * along) / size
        n = int(np.ceil(reach / finest))
        reach /= n
        worst = 0.0
        for p in range(n):
            for q in range(2 * (n - p) - 1):  # upright pieces, then those upside down
                upright = q < n - p
                e, turn = (q, 1.0) if upright else (q - (n - p), -1.0)
                third = 1.0 / 3.0 if upright else 2.0 / 3.0
                for c in range(3):
                    steps[0, c] = (corners[1, c] - corners[0, c]) / n
                    steps[1, c] = (corners[2, c] - corners[0, c]) / n
                    point[c] = corners[0, c] + (p + third) * steps[0, c] + (e + third) * steps[1, c]
                _normal_sum(point, centroids, area_normals, radius, total, change, bend, plane)
                along = _dot(normal, total)
                if along <= 0.0:
                    worst = np.inf
                    continue
                for c in range(3):
                    u[c] = total[c] / along - normal[c]
                across0 = along * np.sqrt(_dot(u, u))
                for d in range(3):
                    up = normal[0] * change[0, d] + normal[1] * change[1, d] + normal[2] * change[2, d]
                    for c in range(3):
                        rate[c, d] = (change[c, d] - (normal[c] + u[c]) * up) / along
                # sizes, in the plane, of the derivatives of the parts of S along and across n
                along1, across1, along2, across2 = 0.0, 0.0, 0.0, 0.0
                for k in range(2):
                    whole, up = 0.0, 0.0
                    for c in range(3):
                        one = _dot(change[c], plane[k])
                        whole += one * one
                        up += normal[c] * one
                    along1 += up * up
                    across1 += max(whole - up * up, 0.0)
                for k in range(3):
                    times = 2.0 if k == 2 else 1.0
                    whole = bend[0, k] ** 2 + bend[1, k] ** 2 + bend[2, k] ** 2
                    up = normal[0] * bend[0, k] + normal[1] * bend[1, k] + normal[2] * bend[2, k]
                    along2 += times * up * up
                    across2 += times * max(whole - up * up, 0.0)
                along3, across3 = _third_derivatives(point, reach, centroids, area_normals, radius, normal)
                along1, across1 = np.sqrt(along1), np.sqrt(across1)
                a2, t2 = np.sqrt(along2) + along3 * reach, np.sqrt(across2) + across3 * reach
                a1, t1 = along1 + a2 * reach, across1 + t2 * reach
                t0 = across0 + across1 * reach + 0.5 * t2 * reach * reach
                least = along - along1 * reach - 0.5 * a2 * reach * reach
                if least <= 0.0:
                    worst = np.inf
                    continue
                second = t2 / least + 2.0 * t1 * a1 / least**2
                second += t0 * (a2 / least**2 + 2.0 * a1 * a1 / least**3)
                # the linear pieces against the linear whole, at the corners of the piece
                for v in range(3):
                    one = turn * ((2.0 if v == 0 else -1.0) / 3.0)
                    two = turn * ((2.0 if v == 1 else -1.0) / 3.0)
                    for c in range(3):
                        part[c] = one * steps[0, c] + two * steps[1, c]
                    off = 0.0
                    for c in range(3):
                        apart = u[c]
                        for d in range(3):
                            apart += rate[c, d] * part[d] - slope[c, d] * (point[d] - middle[d] + part[d])
                        off += apart * apart
                    worst = max(worst, np.sqrt(off) + 0.5 * second * reach * reach)
        rests[i] = worst
