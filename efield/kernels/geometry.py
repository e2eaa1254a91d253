"""Rays, distances and inside tests against triangles."""

import numpy as np

from efield.kernels._jit import jit


@jit
def ray_hits(begin, end, origins, directions, triangles, low, size, shape, starts, order, nearest, face):
    """First crossing of each ray at a parameter >= 0.

    The ray is followed from cell to cell (Amanatides and Woo 1987); cell c holds the triangles that touch
    it, ``order[starts[c]:starts[c + 1]]``. `triangles` (n_faces, 3, 3); `nearest` (n,) receives the ray
    parameter (inf without a crossing), `face` (n,) the triangle (-1 without one).
    """
    cell, step = np.empty(3, np.int64), np.empty(3, np.int64)
    leave, across = np.empty(3), np.empty(3)
    for i in range(begin, end):
        best, which = np.inf, -1
        enter, last = 0.0, np.inf
        for c in range(3):
            high = low[c] + size * shape[c]
            if directions[i, c] == 0.0:
                if origins[i, c] < low[c] or origins[i, c] > high:
                    last = -1.0
                continue
            t0 = (low[c] - origins[i, c]) / directions[i, c]
            t1 = (high - origins[i, c]) / directions[i, c]
            enter, last = max(enter, min(t0, t1)), min(last, max(t0, t1))
        for c in range(3):
            x = (origins[i, c] + enter * directions[i, c] - low[c]) / size if enter <= last else 0.0
            cell[c] = max(0, min(shape[c] - 1, int(np.floor(x))))
            step[c] = 1 if directions[i, c] >= 0.0 else -1
            if directions[i, c] == 0.0:
                leave[c] = across[c] = np.inf
            else:
                edge = low[c] + size * (cell[c] + (step[c] + 1) // 2)
                leave[c] = (edge - origins[i, c]) / directions[i, c]
                across[c] = size / abs(directions[i, c])
        while enter <= last:
            row = (cell[0] * shape[1] + cell[1]) * shape[2] + cell[2]
            for k in range(starts[row], starts[row + 1]):
                t = _crossing(origins[i], directions[i], triangles[order[k]])
                if t < best:
                    best, which = t, order[k]
            axis = 0
            for c in range(1, 3):
                if leave[c] < leave[axis]:
                    axis = c
            if best <= leave[axis]:
                break
            cell[axis] += step[axis]
            leave[axis] += across[axis]
            if cell[axis] < 0 or cell[axis] >= shape[axis]:
                break
        nearest[i], face[i] = best, which


@jit
def _crossing(origin, direction, triangle):
    """Parameter >= 0 at which a ray crosses one triangle, or inf (Moller and Trumbore 1997)."""
    ax, ay, az = (
        triangle[1, 0] - triangle[0, 0],
        triangle[1, 1] - triangle[0, 1],
        triangle[1, 2] - triangle[0, 2],
    )
    bx, by, bz = (
        triangle[2, 0] - triangle[0, 0],
        triangle[2, 1] - triangle[0, 1],
        triangle[2, 2] - triangle[0, 2],
    )
    dx, dy, dz = direction[0], direction[1], direction[2]
    px, py, pz = dy * bz - dz * by, dz * bx - dx * bz, dx * by - dy * bx
    det = ax * px + ay * py + az * pz
    if det == 0.0:
        return np.inf
    tx, ty, tz = origin[0] - triangle[0, 0], origin[1] - triangle[0, 1], origin[2] - triangle[0, 2]
    u = (tx * px + ty * py + tz * pz) / det
    if u < -1e-12 or u > 1.0 + 1e-12:
        return np.inf
    qx, qy, qz = ty * az - tz * ay, tz * ax - tx * az, tx * ay - ty * ax
    v = (dx * qx + dy * qy + dz * qz) / det
    if v < -1e-12 or u + v > 1.0 + 1e-12:
        return np.inf
    t = (bx * qx + by * qy + bz * qz) / det
    return t if t >= 0.0 else np.inf


@jit
def crossings(begin, end, points, triangles, corner, size, shape, starts, order, inside):
    """Inside test: an odd number of crossings of the ray from a point along +z.

    Edges are taken half open and from their lower end, so a ray through an edge or a vertex
    counts its triangles once. `triangles` (n_faces, 3, 3) closed, `inside` (n,) bool. Column c of
    `shape` columns along z touches the triangles ``order[starts[c]:starts[c + 1]]``.
    """
    for i in range(begin, end):
        x, y, z = points[i, 0], points[i, 1], points[i, 2]
        odd = False
        cx, cy = int(np.floor((x - corner[0]) / size)), int(np.floor((y - corner[1]) / size))
        if not (0 <= cx < shape[0] and 0 <= cy < shape[1]):
            inside[i] = False
            continue
        column = cx * shape[1] + cy
        for k in range(starts[column], starts[column + 1]):
            f = order[k]
            over = False
            for a in range(3):
                b = a + 1 if a < 2 else 0
                ya, yb = triangles[f, a, 1], triangles[f, b, 1]
                if (ya > y) != (yb > y):
                    low, high = (a, b) if ya < yb else (b, a)
                    yl, xl = triangles[f, low, 1], triangles[f, low, 0]
                    slope = (triangles[f, high, 0] - xl) / (triangles[f, high, 1] - yl)
                    if x < xl + (y - yl) * slope:
                        over = not over
            if over and _height(triangles[f], x, y) > z:
                odd = not odd
        inside[i] = odd


@jit
def _height(triangle, x, y):
    """z of a triangle's plane over (x, y)."""
    ux, uy, uz = (
        triangle[1, 0] - triangle[0, 0],
        triangle[1, 1] - triangle[0, 1],
        triangle[1, 2] - triangle[0, 2],
    )
    vx, vy, vz = (
        triangle[2, 0] - triangle[0, 0],
        triangle[2, 1] - triangle[0, 1],
        triangle[2, 2] - triangle[0, 2],
    )
    nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
    return triangle[0, 2] - (nx * (x - triangle[0, 0]) + ny * (y - triangle[0, 1])) / nz


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
def closest_points(begin, end, points, reach, triangles, low, size, shape, starts, order, out, face):
    """Closest point on triangles whose centroids lie within `reach` of each point.

    The centroids are sorted into cells: cell c holds ``order[starts[c]:starts[c + 1]]``.
    """
    for i in range(begin, end):
        best, which = np.inf, -1
        x0, x1 = _cell_range(points[i, 0], reach[i], low[0], size, shape[0])
        y0, y1 = _cell_range(points[i, 1], reach[i], low[1], size, shape[1])
        z0, z1 = _cell_range(points[i, 2], reach[i], low[2], size, shape[2])
        for cx in range(x0, x1):
            for cy in range(y0, y1):
                row = (cx * shape[1] + cy) * shape[2]
                for k in range(starts[row + z0], starts[row + z1]):
                    f = order[k]
                    x, y, z = closest_on_triangle(points[i, 0], points[i, 1], points[i, 2], triangles[f])
                    d = (x - points[i, 0]) ** 2 + (y - points[i, 1]) ** 2 + (z - points[i, 2]) ** 2
                    if d < best:
                        best, which = d, f
                        out[i, 0], out[i, 1], out[i, 2] = x, y, z
        face[i] = which


@jit
def _cell_range(x, reach, low, size, n):
    """First and past-last cell that an interval touches along one axis."""
    first = int(np.floor((x - reach - low) / size))
    last = int(np.floor((x + reach - low) / size)) + 1
    return max(0, min(first, n)), max(0, min(last, n))


@jit
def thin(points, spacing2, kept):
    """Indices of a greedy subset at least ``sqrt(spacing2)`` apart; returns their number."""
    count = 0
    for i in range(points.shape[0]):
        alone = True
        for k in range(count - 1, -1, -1):  # what was kept last mostly lies nearest
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
def smooth_normals(
    begin,
    end,
    points,
    centroids,
    area_normals,
    radius,
    low,
    size,
    shape,
    starts,
    order,
    normals,
    jacobians,
):
    """Weighted mean of area normals and its derivative; nan where no triangle is near.

    The weight is the Wendland function ``(1 - s)^4 (4 s + 1)``, ``s = distance / radius``, whose
    gradient is ``-20 (1 - s)^3 offset / radius^2``.
    """
    total, slope = np.empty(3), np.empty((3, 3))
    for i in range(begin, end):
        total[:] = 0.0
        slope[:] = 0.0
        x0, x1 = _cell_range(points[i, 0], radius, low[0], size, shape[0])
        y0, y1 = _cell_range(points[i, 1], radius, low[1], size, shape[1])
        z0, z1 = _cell_range(points[i, 2], radius, low[2], size, shape[2])
        for cx in range(x0, x1):
            for cy in range(y0, y1):
                row = (cx * shape[1] + cy) * shape[2]
                for k in range(starts[row + z0], starts[row + z1]):
                    f = order[k]
                    dx = points[i, 0] - centroids[f, 0]
                    dy = points[i, 1] - centroids[f, 1]
                    dz = points[i, 2] - centroids[f, 2]
                    s = np.sqrt(dx * dx + dy * dy + dz * dz) / radius
                    if s >= 1.0:
                        continue
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


@jit
def raster_heights(corners, origin_x, origin_y, step, heights, slopes):
    """Largest height of triangles over the points of a grid, and the triangle's slope there.

    `corners` (n, 3, 3) in a frame whose third axis is up; `heights` starts at -inf, `slopes`
    receives the cosine between the triangle's normal and up.
    """
    nx, ny = heights.shape
    for f in range(corners.shape[0]):
        ax, ay, az = corners[f, 0]
        ux, uy, uz = corners[f, 1, 0] - ax, corners[f, 1, 1] - ay, corners[f, 1, 2] - az
        vx, vy, vz = corners[f, 2, 0] - ax, corners[f, 2, 1] - ay, corners[f, 2, 2] - az
        det = ux * vy - uy * vx
        if det <= 0.0:  # faces down, or seen edge on
            continue
        tilt_x, tilt_y = uy * vz - uz * vy, uz * vx - ux * vz
        slope = det / np.sqrt(tilt_x * tilt_x + tilt_y * tilt_y + det * det)
        x0 = max(0, int(np.ceil((min(ax, ax + ux, ax + vx) - origin_x) / step)))
        x1 = min(nx - 1, int(np.floor((max(ax, ax + ux, ax + vx) - origin_x) / step)))
        y0 = max(0, int(np.ceil((min(ay, ay + uy, ay + vy) - origin_y) / step)))
        y1 = min(ny - 1, int(np.floor((max(ay, ay + uy, ay + vy) - origin_y) / step)))
        for i in range(x0, x1 + 1):
            for j in range(y0, y1 + 1):
                px, py = origin_x + i * step - ax, origin_y + j * step - ay
                s, t = (px * vy - py * vx) / det, (ux * py - uy * px) / det
                if s >= -1e-9 and t >= -1e-9 and s + t <= 1.0 + 1e-9:
                    height = az + s * uz + t * vz
                    if height > heights[i, j]:
                        heights[i, j], slopes[i, j] = height, slope


@jit
def keeps_off(begin, end, poses, points, cosines, sines, heights, slopes, origin, step, least, clear):
    """Whether a coil's points keep a height over a height field, at every position and turn of the coil.

    Parameters
    ----------
    poses : (n, 3, 4) array
        Coil to the field's frame, before the turn.
    points : (n_points, 3) array
        In the coil's frame; those looked at first are the first.
    cosines, sines : (n_turns,) arrays
        Of turns about the coil's z axis.
    heights, slopes : (nx, ny) arrays
        As :func:`raster_heights` leaves them; grid point (0, 0) lies at `origin` (3,).
    least : float
        Of the height over the surface times the slope under it: the distance to a plane.
    clear : (n, n_turns) bool array
        Looked at where it is true, and left true where all points keep off.
    """
    for i in range(begin, end):
        pose = poses[i]
        for j in range(cosines.size):
            k = 0 if clear[i, j] else points.shape[0]
            while k < points.shape[0]:
                x = cosines[j] * points[k, 0] - sines[j] * points[k, 1]
                y = sines[j] * points[k, 0] + cosines[j] * points[k, 1]
                z = points[k, 2]
                u = pose[0, 0] * x + pose[0, 1] * y + pose[0, 2] * z + pose[0, 3]
                v = pose[1, 0] * x + pose[1, 1] * y + pose[1, 2] * z + pose[1, 3]
                w = pose[2, 0] * x + pose[2, 1] * y + pose[2, 2] * z + pose[2, 3]
                a, b = int(np.rint((u - origin[0]) / step)), int(np.rint((v - origin[1]) / step))
                if not (w - heights[a, b]) * slopes[a, b] >= least:
                    clear[i, j] = False
                    break
                k += 1
