"""Bounds of a coil's functionals over whole cells of placements; the derivation is in docs/certificate.md.

A cell is a triangle of scalp times an interval of yaw. Its placements are reached from one
reference by a translation t and a rotation; the functionals are expanded to second order there,
and the rest is bounded through the third derivatives of the spline.
"""

import numpy as np

from efield.kernels._jit import jit

PAIR_A, PAIR_B = np.array([0, 1, 2, 0, 0, 1]), np.array([0, 1, 2, 1, 2, 2])
"""Axes of second derivatives in their order: xx, yy, zz, xy, xz, yz."""

PAIR = np.array([[0, 3, 4], [3, 1, 5], [4, 5, 2]])
"""Place of two axes in that order."""

TRIPLE = np.array(
    [
        [[0, 1, 2], [1, 3, 4], [2, 4, 5]],
        [[1, 3, 4], [3, 6, 7], [4, 7, 8]],
        [[2, 4, 5], [4, 7, 8], [5, 8, 9]],
    ]
)
"""Place of three axes among xxx, xxy, xxz, xyy, xyz, xzz, yyy, yyz, yzz, zzz."""


@jit
def _cubic(t, step, w):
    """Values, first and second derivatives (3, 4) of the four cubic B-splines at fraction `t`."""
    u = 1.0 - t
    w[0, 0], w[0, 3] = u * u * u / 6.0, t * t * t / 6.0
    w[0, 1] = (3.0 * t * t * t - 6.0 * t * t + 4.0) / 6.0
    w[0, 2] = (3.0 * u * u * u - 6.0 * u * u + 4.0) / 6.0
    w[1, 0], w[1, 3] = -0.5 * u * u / step, 0.5 * t * t / step
    w[1, 1], w[1, 2] = (1.5 * t * t - 2.0 * t) / step, (-1.5 * u * u + 2.0 * u) / step
    w[2, 0], w[2, 3] = u / step**2, t / step**2
    w[2, 1], w[2, 2] = (3.0 * t - 2.0) / step**2, (3.0 * u - 2.0) / step**2


@jit
def _field_at(coefficients, origin, step, x, y, z, w, line, values, slopes, bent):
    """Nine functions at a point of the grid's frame, their gradients (3, 9), and their second
    derivatives (6, 9): xx, yy, zz, xy, xz, yz."""
    i = int(np.floor((x - origin[0]) / step))
    j = int(np.floor((y - origin[1]) / step))
    k = int(np.floor((z - origin[2]) / step))
    _cubic((x - origin[0]) / step - i, step, w[0])
    _cubic((y - origin[1]) / step - j, step, w[1])
    _cubic((z - origin[2]) / step - k, step, w[2])
    values[:] = 0.0
    slopes[:] = 0.0
    bent[:] = 0.0
    for a in range(4):
        for b in range(4):
            column = coefficients[i + a - 1, j + b - 1]
            line[:] = 0.0
            for c in range(4):
                row = column[k + c - 1]
                w0, w1, w2 = w[2, 0, c], w[2, 1, c], w[2, 2, c]
                for f in range(9):
                    line[0, f] += w0 * row[f]
                    line[1, f] += w1 * row[f]
                    line[2, f] += w2 * row[f]
            x0, x1, x2 = w[0, 0, a], w[0, 1, a], w[0, 2, a]
            y0, y1, y2 = w[1, 0, b], w[1, 1, b], w[1, 2, b]
            plain, by_x, by_y = x0 * y0, x1 * y0, x0 * y1
            by_xx, by_yy, by_xy = x2 * y0, x0 * y2, x1 * y1
            for f in range(9):
                values[f] += plain * line[0, f]
                slopes[0, f] += by_x * line[0, f]
                slopes[1, f] += by_y * line[0, f]
                slopes[2, f] += plain * line[1, f]
                bent[0, f] += by_xx * line[0, f]
                bent[1, f] += by_yy * line[0, f]
                bent[2, f] += plain * line[2, f]
                bent[3, f] += by_xy * line[0, f]
                bent[4, f] += by_x * line[1, f]
                bent[5, f] += by_y * line[1, f]


@jit
def _cross(a, b, out):
    out[0] = a[1] * b[2] - a[2] * b[1]
    out[1] = a[2] * b[0] - a[0] * b[2]
    out[2] = a[0] * b[1] - a[1] * b[0]


@jit
def _dot(a, b):
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@jit
def _size(b, k):
    """Norm over three functionals of component k of nine functions."""
    return np.sqrt(b[k] ** 2 + b[3 + k] ** 2 + b[6 + k] ** 2)


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


@jit
def _frame(normal, central, yaw, rotation):
    """Coil axes at a normal: the central frame carried over by the smallest rotation, then yaw."""
    axis = np.empty(3)
    turned, again = np.empty(3), np.empty(3)
    outward = -central[:, 2]
    _cross(outward, normal, axis)
    share = 1.0 / (1.0 + _dot(outward, normal))
    cosine, sine = np.cos(yaw), np.sin(yaw)
    for column in range(3):
        if column == 0:
            v = cosine * central[:, 0] + sine * central[:, 1]
        elif column == 1:
            v = cosine * central[:, 1] - sine * central[:, 0]
        else:
            v = central[:, 2].copy()
        _cross(axis, v, turned)
        _cross(axis, turned, again)
        for c in range(3):
            rotation[c, column] = v[c] + turned[c] + share * again[c]


@jit
def _second_turn(turn, normal, p, q, v, one, two, out):
    """The acceleration of a vector that the path's turns p and q bring about; 2 is yaw, made first."""
    if p == 2:
        _cross(normal, v, one)
        _cross(normal, one, out)
    elif q == 2:
        _cross(normal, v, one)
        _cross(turn[p], one, out)
    else:
        _cross(turn[q], v, one)
        _cross(turn[p], one, out)
        _cross(turn[p], v, one)
        _cross(turn[q], one, two)
        for c in range(3):
            out[c] = 0.5 * (out[c] + two[c])


@jit
def _largest_form(hessian, wide, corner):
    """Bound of a quadratic form of three functionals over the cell: that of pairs of its corners.

    `hessian` (6, 3): entries 11, 22, 33, 12, 13, 23 in the coordinates in which the triangle has
    the corners (1, 0), (0, 1), (-1, -1) and yaw lies within `wide`.
    """
    for k in range(6):
        v = k // 2
        corner[k, 0] = 1.0 if v == 0 else (0.0 if v == 1 else -1.0)
        corner[k, 1] = 0.0 if v == 0 else (1.0 if v == 1 else -1.0)
        corner[k, 2] = wide if k % 2 else -wide
    largest = 0.0
    for p in range(6):
        for q in range(p, 6):
            u, v = corner[p], corner[q]
            total = 0.0
            for f in range(3):
                form = (
                    u[0] * v[0] * hessian[0, f]
                    + u[1] * v[1] * hessian[1, f]
                    + u[2] * v[2] * hessian[2, f]
                    + (u[0] * v[1] + u[1] * v[0]) * hessian[3, f]
                    + (u[0] * v[2] + u[2] * v[0]) * hessian[4, f]
                    + (u[1] * v[2] + u[2] * v[1]) * hessian[5, f]
                )
                total += form * form
            largest = max(largest, total)
    return np.sqrt(largest)


@jit
def cell_bounds(
    begin,
    end,
    coefficients,
    jerks,
    origin,
    step,
    positions,
    moments,
    extent,
    distance,
    central,
    corners,
    normals,
    rates,
    rests,
    yaw,
    half_yaw,
    poses,
    values,
    affine,
    slack,
):
    """Three functionals of a coil over cells of tangential placements.

    Everything is in metres and in the grid's frame.

    Parameters
    ----------
    coefficients : (nx, ny, nz, 9 or more) array
        Three functionals' nine components come first in a row.
    jerks : (nx, ny, nz, 30) array
        For each grid cell bounds of the third derivatives (xxx, xxy, xxz, xyy, xyz, xzz, yyy,
        yyz, yzz, zzz) of B_x, B_y, B_z, each the norm over the three functionals.
    origin, step : (3,) array, float
    positions, moments : (n_dipoles, 3) arrays
        In the coil's frame.
    extent : (3,) array
        Radius, lowest and highest z of the dipoles in the coil's frame.
    distance : float
        Coil origin to scalp.
    central : (3, 3) array
        Coil axes over the middle of the region, from which yaw is carried over.
    corners, normals, rates, rests : (n, 3, 3), (n, 3), (n, 3, 3), (n,) arrays
        The cells' triangles, and what :func:`normal_bounds` says of them.
    yaw, half_yaw : (n,) arrays
    poses : (n, 3, 4) array
        The reference placement of each cell.
    values : (n, 3) array
        Functionals there.
    affine : (n, 6, 3) array
        The first-order model at the cell's extreme points.
    slack : (n,) array
        The functionals of every placement of a cell lie within this (Euclidean) distance of
        the convex hull of `affine`; inf where no bound is found.
    """
    w, line = np.empty((3, 3, 4)), np.empty((3, 9))
    b, slopes, bent = np.empty(9), np.empty((3, 9)), np.empty((6, 9))
    ways, spins = np.empty((3, 3)), np.empty((3, 3))
    hessian, corner = np.empty((6, 3)), np.empty((6, 3))
    pushed, twisted = np.empty(3), np.empty(3)
    products, mixed, part6, sizes = np.empty((6, 6)), np.empty((6, 3, 3)), np.empty(6), np.empty(6)
    point = np.empty(3)
    shift, turn = np.empty((3, 3)), np.empty((3, 3))
    rotation, centre = np.empty((3, 3)), np.empty(3)
    arm, m, force, part = np.empty(3), np.empty(3), np.empty(3), np.empty(3)
    gradient = np.empty((3, 6))
    reach_x, reach_m, grow = np.empty(3), np.empty(3), np.empty(3)
    linear_x, linear_m = np.empty(3), np.empty(3)
    grow3, force3 = np.empty(3), np.empty(3)
    slope1, bent1, third = np.empty(3), np.empty((3, 3)), np.empty((3, 10))
    low, high = np.empty(3, np.int64), np.empty(3, np.int64)
    spin = np.empty(3)
    shape = coefficients.shape
    far = np.sqrt(extent[0] ** 2 + max(abs(extent[1]), abs(extent[2])) ** 2)
    for i in range(begin, end):
        slack[i] = np.inf
        values[i], affine[i], poses[i] = 0.0, 0.0, 0.0
        for c in range(3):
            point[c] = (corners[i, 0, c] + corners[i, 1, c] + corners[i, 2, c]) / 3.0
        normal, slope, rest = normals[i], rates[i], rests[i]
        if not rest < 0.5:
            continue
        # extreme translations and rotations of the linear model, and what it leaves over
        tilt, move = 0.0, 0.0
        for v in range(3):
            for c in range(3):
                part[c] = 0.0
                for e in range(3):
                    part[c] += slope[c, e] * (corners[i, v, e] - point[e])
            for c in range(3):
                shift[v, c] = corners[i, v, c] - point[c] + distance * part[c]
            _cross(normal, part, turn[v])
            tilt = max(tilt, np.sqrt(_dot(part, part)))
            move = max(move, np.sqrt(_dot(shift[v], shift[v])))
        tilt += rest
        if tilt > 0.5:
            continue
        rest_shift = distance * (rest + 0.5 * tilt * tilt)
        rest_turn = rest + tilt**3 / 3.0
        lean = np.arccos(min(1.0, max(-1.0, -_dot(normal, central[:, 2]))))
        if lean + tilt > 2.0:
            continue
        wide = half_yaw[i] + tilt * np.tan(0.5 * (lean + tilt))  # with the yaw that transport adds

        _frame(normal, central, yaw[i], rotation)
        inside = True
        for c in range(3):
            centre[c] = point[c] + distance * normal[c]
            across = extent[0] * np.sqrt(max(0.0, 1.0 - rotation[c, 2] ** 2)) + move + rest_shift + tilt * far
            one, other = extent[1] * rotation[c, 2], extent[2] * rotation[c, 2]
            first = (centre[c] + min(one, other) - across - origin[c]) / step
            last = (centre[c] + max(one, other) + across - origin[c]) / step
            inside = inside and first >= 1.0 and last <= shape[c] - 3.0
            for e in range(3):
                poses[i, c, e] = rotation[c, e]
            poses[i, c, 3] = centre[c]
        if not inside:
            continue

        gradient[:] = 0.0
        hessian[:] = 0.0
        left = 0.0
        angle = tilt + wide
        twist = tilt * tilt + 2.0 * tilt * wide + tilt * wide * wide
        twist3 = angle**3 - wide**3 + tilt * wide**3
        for j in range(positions.shape[0]):
            for c in range(3):
                arm[c] = _dot(rotation[c], positions[j])
                m[c] = _dot(rotation[c], moments[j])
            x, y, z = arm[0] + centre[0], arm[1] + centre[1], arm[2] + centre[2]
            _field_at(coefficients, origin, step, x, y, z, w, line, b, slopes, bent)
            # velocities of dipole and moment towards two corners of the triangle, and in yaw
            for k in range(2):
                _cross(turn[k], arm, ways[k])
                _cross(turn[k], m, spins[k])
                for c in range(3):
                    ways[k, c] += shift[k, c]
            _cross(normal, arm, ways[2])
            _cross(normal, m, spins[2])
            for k in range(6):
                p, q = PAIR_A[k], PAIR_B[k]
                for e in range(6):
                    one, other = PAIR_A[e], PAIR_B[e]
                    products[k, e] = ways[p, one] * ways[q, other]
                    if one != other:
                        products[k, e] += ways[p, other] * ways[q, one]
                for a in range(3):
                    for e in range(3):
                        mixed[k, a, e] = spins[p, a] * ways[q, e] + spins[q, a] * ways[p, e]
            for f in range(3):
                bx, by, bz = b[3 * f], b[3 * f + 1], b[3 * f + 2]
                values[i, f] += m[0] * bx + m[1] * by + m[2] * bz
                for c in range(3):
                    force[c] = (
                        m[0] * slopes[c, 3 * f] + m[1] * slopes[c, 3 * f + 1] + m[2] * slopes[c, 3 * f + 2]
                    )
                    gradient[f, c] += force[c]
                gradient[f, 3] += arm[1] * force[2] - arm[2] * force[1] + m[1] * bz - m[2] * by
                gradient[f, 4] += arm[2] * force[0] - arm[0] * force[2] + m[2] * bx - m[0] * bz
                gradient[f, 5] += arm[0] * force[1] - arm[1] * force[0] + m[0] * by - m[1] * bx
                for e in range(6):
                    h = bent[e]
                    part6[e] = m[0] * h[3 * f] + m[1] * h[3 * f + 1] + m[2] * h[3 * f + 2]
                for k in range(6):
                    total = 0.0
                    for e in range(6):
                        total += products[k, e] * part6[e]
                    for a in range(3):
                        for e in range(3):
                            total += mixed[k, a, e] * slopes[e, 3 * f + a]
                    hessian[k, f] += total
            for k in range(6):  # the accelerations: both turns in a row, or their mean in either order
                p, q = PAIR_A[k], PAIR_B[k]
                _second_turn(turn, normal, p, q, arm, spin, part, pushed)
                _second_turn(turn, normal, p, q, m, spin, part, twisted)
                for f in range(3):
                    for a in range(3):
                        hessian[k, f] += twisted[a] * b[3 * f + a]
                        for c in range(3):
                            hessian[k, f] += pushed[a] * m[c] * slopes[a, 3 * f + c]

            # how far the dipole and its moment move along the way to any placement of the cell
            length, strength = np.sqrt(_dot(arm, arm)), np.sqrt(_dot(m, m))
            arm_up, m_up = _dot(arm, normal), _dot(m, normal)
            arm_flat = np.sqrt(max(length * length - arm_up * arm_up, 0.0))
            m_flat = np.sqrt(max(strength * strength - m_up * m_up, 0.0))
            rest_x, rest_m = rest_shift + rest_turn * length, rest_turn * strength
            for c in range(3):
                flat = np.sqrt(max(0.0, 1.0 - normal[c] * normal[c]))
                grow[c] = twist * length + flat * wide * wide * arm_flat
                force[c] = twist * strength + flat * wide * wide * m_flat
                grow3[c] = twist3 * length + flat * wide**3 * arm_flat
                force3[c] = twist3 * strength + flat * wide**3 * m_flat
                most_x = max(abs(ways[0, c]), abs(ways[1, c]), abs(ways[0, c] + ways[1, c]))
                most_m = max(abs(spins[0, c]), abs(spins[1, c]), abs(spins[0, c] + spins[1, c]))
                linear_x[c] = most_x + wide * abs(ways[2, c])
                linear_m[c] = most_m + wide * abs(spins[2, c])
                reach_x[c] = linear_x[c] + rest_x + grow[c]
                reach_m[c] = linear_m[c] + rest_m + force[c]

            # the largest third derivatives of the spline where the dipole passes
            for c in range(3):
                x = arm[c] + centre[c] - origin[c]
                low[c] = max(1, int(np.floor((x - reach_x[c]) / step)))
                high[c] = min(shape[c] - 3, int(np.floor((x + reach_x[c]) / step)))
            third[:] = 0.0
            for p in range(low[0], high[0] + 1):
                for q in range(low[1], high[1] + 1):
                    for r in range(low[2], high[2] + 1):
                        row = jerks[p, q, r]
                        for k in range(10):
                            for c in range(3):
                                third[c, k] = max(third[c, k], row[3 * k + c])

            second_rest = (2.0 * angle + rest_turn) * rest_turn
            for c in range(3):
                # bounds over the way: of B, its first and its second derivatives
                largest = abs(m[c]) + reach_m[c]
                size = _size(b, c)
                here = size
                along1, along2, along3, mixed2, mixed3 = 0.0, 0.0, 0.0, 0.0, 0.0
                for e in range(6):
                    sizes[e] = _size(bent[e], c)
                for a in range(3):
                    slope1[a] = _size(slopes[a], c)
                    here += reach_x[a] * slope1[a]
                    along1 += slope1[a]
                for a in range(3):
                    for e in range(3):
                        known = sizes[PAIR[a, e]]
                        mixed2 += known * (2.0 * linear_x[a] + rest_x)
                        bent1[a, e] = known
                        here += 0.5 * reach_x[a] * reach_x[e] * known
                # what the rests change in the second-order term
                left += 0.5 * rest_x * abs(m[c]) * mixed2
                left += along1 * (linear_m[c] + rest_m) * rest_x + 0.5 * second_rest * strength * size
                for a in range(3):
                    left += rest_m * linear_x[a] * slope1[a]
                    left += 0.5 * abs(m[c]) * second_rest * length * slope1[a]
                for a in range(3):
                    for e in range(3):
                        slope1[a] += reach_x[e] * bent1[a, e]
                for a in range(3):
                    for e in range(3):
                        for g in range(3):
                            known = third[c, TRIPLE[a, e, g]]
                            slope1[a] += 0.5 * reach_x[e] * reach_x[g] * known
                            bent1[a, e] += reach_x[g] * known
                            mixed3 += reach_x[a] * reach_x[e] * reach_x[g] * known
                here += mixed3 / 6.0
                for a in range(3):
                    along2 += reach_x[a] * slope1[a]
                    along3 += grow[a] * slope1[a]
                # third derivative along the way
                jerk = force3[c] * here + 3.0 * force[c] * along2 + 3.0 * reach_m[c] * along3
                jerk += largest * mixed3
                for a in range(3):
                    jerk += largest * grow3[a] * slope1[a]
                    for e in range(3):
                        both = reach_m[c] * reach_x[a] * reach_x[e] + largest * reach_x[a] * grow[e]
                        jerk += 3.0 * both * bent1[a, e]
                left += jerk / 6.0

        shifts, turns = 0.0, 0.0
        for f in range(3):
            for c in range(3):
                shifts += gradient[f, c] ** 2
                turns += gradient[f, 3 + c] ** 2
            swing = wide * (
                gradient[f, 3] * normal[0] + gradient[f, 4] * normal[1] + gradient[f, 5] * normal[2]
            )
            for v in range(3):
                there = values[i, f]
                for c in range(3):
                    there += gradient[f, c] * shift[v, c] + gradient[f, 3 + c] * turn[v, c]
                affine[i, 2 * v, f] = there - swing
                affine[i, 2 * v + 1, f] = there + swing
        slack[i] = rest_shift * np.sqrt(shifts) + rest_turn * np.sqrt(turns) + left
        slack[i] += 0.5 * _largest_form(hessian, wide, corner)
