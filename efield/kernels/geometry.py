"""Rays, distances and inside tests against triangles, by brute force over short lists."""

import numpy as np

from efield.kernels._jit import jit


@jit
def ray_hits(begin, end, origins, directions, corner, edge1, edge2, nearest, face):
    """First crossing of each ray at a parameter >= 0 (Moller and Trumbore 1997).

    `corner`, `edge1`, `edge2` (n_faces, 3); `nearest` (n,) receives the ray parameter (inf
    without a crossing), `face` (n,) the triangle (-1 without one).
    """
    for i in range(begin, end):
        ox, oy, oz = origins[i, 0], origins[i, 1], origins[i, 2]
        dx, dy, dz = directions[i, 0], directions[i, 1], directions[i, 2]
        best, which = np.inf, -1
        for f in range(corner.shape[0]):
            ax, ay, az = edge1[f, 0], edge1[f, 1], edge1[f, 2]
            bx, by, bz = edge2[f, 0], edge2[f, 1], edge2[f, 2]
            px, py, pz = dy * bz - dz * by, dz * bx - dx * bz, dx * by - dy * bx
            det = ax * px + ay * py + az * pz
            if det == 0.0:
                continue
            tx, ty, tz = ox - corner[f, 0], oy - corner[f, 1], oz - corner[f, 2]
            u = (tx * px + ty * py + tz * pz) / det
            if u < -1e-12 or u > 1.0 + 1e-12:
                continue
            qx, qy, qz = ty * az - tz * ay, tz * ax - tx * az, tx * ay - ty * ax
            v = (dx * qx + dy * qy + dz * qz) / det
            if v < -1e-12 or u + v > 1.0 + 1e-12:
                continue
            t = (bx * qx + by * qy + bz * qz) / det
            if 0.0 <= t < best:
                best, which = t, f
        nearest[i], face[i] = best, which


@jit
def winding(begin, end, points, triangles, inside):
    """Inside test by the generalised winding number (van Oosterom and Strackee 1983).

    `triangles` (n_faces, 3, 3) closed and outward oriented; `inside` (n,) bool.
    """
    for i in range(begin, end):
        x, y, z = points[i, 0], points[i, 1], points[i, 2]
        total = 0.0
        for f in range(triangles.shape[0]):
            ax, ay, az = triangles[f, 0, 0] - x, triangles[f, 0, 1] - y, triangles[f, 0, 2] - z
            bx, by, bz = triangles[f, 1, 0] - x, triangles[f, 1, 1] - y, triangles[f, 1, 2] - z
            cx, cy, cz = triangles[f, 2, 0] - x, triangles[f, 2, 1] - y, triangles[f, 2, 2] - z
            a = np.sqrt(ax * ax + ay * ay + az * az)
            b = np.sqrt(bx * bx + by * by + bz * bz)
            c = np.sqrt(cx * cx + cy * cy + cz * cz)
            triple = ax * (by * cz - bz * cy) + ay * (bz * cx - bx * cz) + az * (bx * cy - by * cx)
            ab, bc, ca = (
                ax * bx + ay * by + az * bz,
                bx * cx + by * cy + bz * cz,
                cx * ax + cy * ay + cz * az,
            )
            total += np.arctan2(triple, a * b * c + ab * c + bc * a + ca * b)
        inside[i] = abs(total) > np.pi  # the solid angle is twice this sum: 4 pi inside, 0 outside


@jit
def closest_on_triangle(px, py, pz, triangle):
    """Closest point of one (3, 3) triangle (Ericson 2005, section 5.1.5)."""
    ax, ay, az = triangle[0, 0], triangle[0, 1], triangle[0, 2]
    ux, uy, uz = triangle[1, 0] - ax, triangle[1, 1] - ay, triangle[1, 2] - az
    vx, vy, vz = triangle[2, 0] - ax, triangle[2, 1] - ay, triangle[2, 2] - az
    wx, wy, wz = px - ax, py - ay, pz - az
    d1, d2 = ux * wx + uy * wy + uz * wz, vx * wx + vy * wy + vz * wz
    if d1 <= 0.0 and d2 <= 0.0:
        return ax, ay, az
    uu, uv, vv = ux * ux + uy * uy + uz * uz, ux * vx + uy * vy + uz * vz, vx * vx + vy * vy + vz * vz
    d3, d4 = d1 - uu, d2 - uv
    if d3 >= 0.0 and d4 <= d3:
        return ax + ux, ay + uy, az + uz
    vc = d1 * d4 - d3 * d2
    if vc <= 0.0 and d1 >= 0.0 and d3 <= 0.0:
        s = d1 / (d1 - d3)
        return ax + s * ux, ay + s * uy, az + s * uz
    d5, d6 = d1 - uv, d2 - vv
    if d6 >= 0.0 and d5 <= d6:
        return ax + vx, ay + vy, az + vz
    vb = d5 * d2 - d1 * d6
    if vb <= 0.0 and d2 >= 0.0 and d6 <= 0.0:
        s = d2 / (d2 - d6)
        return ax + s * vx, ay + s * vy, az + s * vz
    va = d3 * d6 - d5 * d4
    if va <= 0.0 and d4 - d3 >= 0.0 and d5 - d6 >= 0.0:
        s = (d4 - d3) / ((d4 - d3) + (d5 - d6))
        return ax + ux + s * (vx - ux), ay + uy + s * (vy - uy), az + uz + s * (vz - uz)
    total = va + vb + vc
    s, t = vb / total, vc / total
    return ax + s * ux + t * vx, ay + s * uy + t * vy, az + s * uz + t * vz


@jit
def closest_points(begin, end, points, triangles, starts, lists, out, face):
    """Closest point among listed triangles: point i looks at ``lists[starts[i]:starts[i + 1]]``."""
    for i in range(begin, end):
        best, which = np.inf, -1
        for k in range(starts[i], starts[i + 1]):
            f = lists[k]
            x, y, z = closest_on_triangle(points[i, 0], points[i, 1], points[i, 2], triangles[f])
            d = (x - points[i, 0]) ** 2 + (y - points[i, 1]) ** 2 + (z - points[i, 2]) ** 2
            if d < best:
                best, which = d, f
                out[i, 0], out[i, 1], out[i, 2] = x, y, z
        face[i] = which


@jit
def thin(points, spacing2, kept):
    """Indices of a greedy subset at least ``sqrt(spacing2)`` apart; returns their number."""
    count = 0
    for i in range(points.shape[0]):
        alone = True
        for k in range(count):
            j = kept[k]
            dx, dy, dz = (
                points[i, 0] - points[j, 0],
                points[i, 1] - points[j, 1],
                points[i, 2] - points[j, 2],
            )
            if dx * dx + dy * dy + dz * dz < spacing2:
                alone = False
                break
        if alone:
            kept[count] = i
            count += 1
    return count


@jit
def smooth_normals(begin, end, points, centroids, area_normals, radius, starts, lists, normals, jacobians):
    """Weighted mean of area normals and its derivative; nan where no triangle is listed.

    The weight is the Wendland function ``(1 - s)^4 (4 s + 1)``, ``s = distance / radius``, whose
    gradient is ``-20 (1 - s)^3 offset / radius^2``.
    """
    total, slope = np.empty(3), np.empty((3, 3))
    for i in range(begin, end):
        total[:] = 0.0
        slope[:] = 0.0
        for k in range(starts[i], starts[i + 1]):
            f = lists[k]
            dx, dy, dz = (
                points[i, 0] - centroids[f, 0],
                points[i, 1] - centroids[f, 1],
                points[i, 2] - centroids[f, 2],
            )
            s = np.sqrt(dx * dx + dy * dy + dz * dz) / radius
            rest = 1.0 - s
            weight = rest**4 * (4.0 * s + 1.0)
            change = -20.0 * rest**3 / (radius * radius)
            for c in range(3):
                total[c] += weight * area_normals[f, c]
                slope[c, 0] += area_normals[f, c] * change * dx
                slope[c, 1] += area_normals[f, c] * change * dy
                slope[c, 2] += area_normals[f, c] * change * dz
        length = np.sqrt(total[0] ** 2 + total[1] ** 2 + total[2] ** 2)
        if length == 0.0:
            normals[i] = np.nan
            continue
        for c in range(3):
            normals[i, c] = total[c] / length
        for d in range(3):
            along = normals[i, 0] * slope[0, d] + normals[i, 1] * slope[1, d] + normals[i, 2] * slope[2, d]
            for c in range(3):
                jacobians[i, c, d] = (slope[c, d] - normals[i, c] * along) / length
