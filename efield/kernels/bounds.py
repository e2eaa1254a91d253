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
    """Functions (n,) at a point of the grid's frame, their gradients (3, n), and their second
    derivatives (6, n): xx, yy, zz, xy, xz, yz."""
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
                for f in range(values.shape[0]):
                    line[0, f] += w0 * row[f]
                    line[1, f] += w1 * row[f]
                    line[2, f] += w2 * row[f]
            x0, x1, x2 = w[0, 0, a], w[0, 1, a], w[0, 2, a]
            y0, y1, y2 = w[1, 0, b], w[1, 1, b], w[1, 2, b]
            plain, by_x, by_y = x0 * y0, x1 * y0, x0 * y1
            by_xx, by_yy, by_xy = x2 * y0, x0 * y2, x1 * y1
            for f in range(values.shape[0]):
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
    """Norm over the functionals of component k of their fields."""
    total = 0.0
    for f in range(k, b.shape[0], 3):
        total += b[f] * b[f]
    return np.sqrt(total)


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
    """Bound of a quadratic form of functionals over the cell: that of pairs of its corners.

    `hessian` (6, n): entries 11, 22, 33, 12, 13, 23 in the coordinates in which the triangle has
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
            for f in range(hessian.shape[1]):
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
    """Functionals of a coil over cells of tangential placements.

    Everything is in metres and in the grid's frame.

    Parameters
    ----------
    coefficients : (nx, ny, nz, 3 n_functionals) array
        The components of each functional's field in turn.
    jerks : (nx, ny, nz, 30) array
        For each grid cell bounds of the third derivatives (xxx, xxy, xxz, xyy, xyz, xzz, yyy,
        yyz, yzz, zzz) of B_x, B_y, B_z, each the norm over the functionals.
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
    values : (n, n_functionals) array
        Functionals there.
    affine : (n, 6, n_functionals) array
        The first-order model at the cell's extreme points.
    slack : (n,) array
        The functionals of every placement of a cell lie within this (Euclidean) distance of
        the convex hull of `affine`; inf where no bound is found.
    """
    k_all = values.shape[1]
    w, line = np.empty((3, 3, 4)), np.empty((3, 3 * k_all))
    b, slopes, bent = np.empty(3 * k_all), np.empty((3, 3 * k_all)), np.empty((6, 3 * k_all))
    ways, spins = np.empty((3, 3)), np.empty((3, 3))
    hessian, corner = np.empty((6, k_all)), np.empty((6, 3))
    pushed, twisted = np.empty(3), np.empty(3)
    products, mixed, part6, sizes = np.empty((6, 6)), np.empty((6, 3, 3)), np.empty(6), np.empty(6)
    point = np.empty(3)
    shift, turn = np.empty((3, 3)), np.empty((3, 3))
    rotation, centre = np.empty((3, 3)), np.empty(3)
    arm, m, force, part = np.empty(3), np.empty(3), np.empty(3), np.empty(3)
    gradient = np.empty((k_all, 6))
    reach_x, reach_m, grow = np.empty(3), np.empty(3), np.empty(3)
    linear_x, linear_m = np.empty(3), np.empty(3)
    grow3, force3 = np.empty(3), np.empty(3)
    slope1, bent1, third = np.empty(3), np.empty((3, 3)), np.empty(30, np.float32)
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
            for f in range(k_all):
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
                for f in range(k_all):
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
                        for k in range(30):
                            third[k] = row[k] if row[k] > third[k] else third[k]

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
                            known = third[3 * TRIPLE[a, e, g] + c]
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
        for f in range(k_all):
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
