"""Plain NumPy twins of the kernels: same arguments, the same outputs in place, none of the tricks."""

import numpy as np
import scipy.sparse
from oracles import biot_savart, dipole_a, p1_gradients

# --- dipoles


def vector_potential(begin, end, points, positions, moments, out):
    for k in range(len(positions)):
        out[begin:end, :, k] = dipole_a(positions[k], moments[k], points[:, begin:end].T)


# --- pieces of second-order tetrahedra


def tet_products(begin, end, numbers, products, places, shares, x, out):
    """By the matrix of each piece: gradients at its corners, linear between them."""
    mass, product = np.ones((4, 4)) + np.eye(4), np.zeros((6, 3, 3))
    for k, (a, b) in enumerate([(0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)]):
        product[k, a, b] = product[k, b, a] = 1.0
    out[:, begin:end] = 0.0
    for own, share in zip(places, shares.astype(float), strict=True):
        slope = np.zeros((4, 3, 10))
        for e, (v, a) in enumerate([(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]):
            for here, other in ((v, a), (a, v)):
                slope[here, :, other] += share[other]
                slope[here, :, here] -= share[other]
                slope[here, :, 4 + e] += 4 * share[other]
        matrix = np.einsum("vw,vam,kab,wbn->kmn", mass, slope, product, slope)
        for t in range(begin, end):
            np.add.at(out[:, t], own, np.einsum("k,kmn,n->m", products[:, t], matrix, x[numbers[own, t]]))


def sums_of_places(begin, end, pointers, places, values, out):
    for i in range(begin, end):
        out[i] = values[places[pointers[i] : pointers[i + 1]]].sum()


def fill_places(numbers, start, places):
    order = np.argsort(numbers, kind="stable")
    places[:] = order
    start += np.bincount(numbers, minlength=len(start))


# --- one vector


def advance(begin, end, alpha, p, q, weight, x, r, z, partial):
    part = slice(begin * 4096, end * 4096)
    x[part] += alpha * p[part]
    r[part] -= alpha * q[part]
    z[part] = weight[part] * r[part]
    dot(begin, end, z, r, partial)


def dot(begin, end, x, y, partial):
    for chunk in range(begin, end):
        part = slice(4096 * chunk, 4096 * (chunk + 1))
        partial[chunk] = x[part] @ y[part]


# --- wires


def segment_potential(begin, end, points, starts, ends, out):
    """The line integral of dl / |r - r'| by Gauss's rule."""
    nodes, weights = np.polynomial.legendre.leggauss(40)
    for i in range(begin, end):
        out[i] = 0.0
        for node, weight in zip(nodes, weights, strict=True):
            where = (starts + ends) / 2 + node / 2 * (ends - starts)
            distance = np.linalg.norm(points[i] - where, axis=1)
            out[i] += 1e-7 * (weight / 2 * (ends - starts) / distance[:, None]).sum(axis=0)


def layered_potential(begin, end, points, poses, layers, heights, positions, moments, out):
    solid = np.column_stack([positions, np.repeat(heights, np.diff(layers))])
    for k, pose in enumerate(poses):
        turned = solid @ pose[:, :3].T + pose[:, 3]
        out[begin:end, :, k] = dipole_a(turned, np.outer(moments, pose[:, 2]), points[:, begin:end].T)


# --- first-order elements


def count_node_tets(tets, count):
    np.add.at(count, tets, 1)


def fill_node_tets(tets, start, node_tets):
    tet_of_entry = np.repeat(np.arange(len(tets)), 4)
    order = np.argsort(tets.ravel(), kind="stable")
    count = np.bincount(tets.ravel(), minlength=len(start))
    node_tets[:] = tet_of_entry[order]
    start += count.astype(start.dtype)


def count_neighbours(begin, end, tets, pointers, node_tets, n_nodes, count):
    for i in range(begin, end):
        count[i] = len(np.unique(tets[node_tets[pointers[i] : pointers[i + 1]]]))


def basis_gradients(nodes, tets, t, grad):
    gradients, volumes = p1_gradients(nodes, tets[t : t + 1])
    grad[:] = gradients[0]
    return volumes[0]


def gradients(begin, end, nodes, tets, grad, volume):
    grad[begin:end], volume[begin:end] = p1_gradients(nodes, tets[begin:end])


def six_components(begin, end, conductivity, order, out):
    own = conductivity[order[begin:end]]
    if own.shape[1] == 1:
        own = own[:, :, None] * np.eye(3)
    full = own.reshape(-1, 3, 3)
    for k, (a, b) in enumerate([(0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)]):
        out[begin:end, k] = full[:, a, b]


def _tensors(sigma):
    return sigma[:, [[0, 3, 4], [3, 1, 5], [4, 5, 2]]]


def assemble_rows(begin, end, nodes, tets, sigma, pointers, node_tets, indptr, indices, stiffness, source):
    gradients, volumes = p1_gradients(nodes, tets)
    flux = volumes[:, None, None] * np.einsum("tij,taj->tai", _tensors(sigma), gradients)
    dense = np.zeros((len(nodes), len(nodes), 4))
    for t, corners in enumerate(tets):
        for a in range(4):
            for b in range(4):
                dense[corners[a], corners[b], 0] += flux[t, a] @ gradients[t, b]
                dense[corners[a], corners[b], 1:] += flux[t, a] / 4
    for i in range(begin, end):
        columns = np.unique(tets[np.any(tets == i, axis=1)])
        row = slice(indptr[i], indptr[i + 1])
        indices[row] = columns
        stiffness[row] = dense[i, columns, 0]
        source[row] = dense[i, columns, 1:]


def source_times(begin, end, indptr, indices, source, dadt, out):
    for i in range(begin, end):
        row = slice(indptr[i], indptr[i + 1])
        out[i] = -np.einsum("pj,pjc->c", source[row], dadt[indices[row]])


def element_field(begin, end, nodes, tets, potential, dadt, place, out):
    tets = tets[begin:end]
    gradients, _ = p1_gradients(nodes, tets)
    out[place[begin:end]] = -dadt[tets].mean(axis=1) - np.einsum("ta,tai->ti", potential[tets], gradients)


def functional_load(nodes, tets, elements, weights, out):
    gradients, volumes = p1_gradients(nodes, tets[elements])
    np.add.at(out, tets[elements], volumes[:, None] * np.einsum("ti,tai->ta", weights, gradients))


def current_sources(begin, end, nodes, tets, sigma, psi, elements, weights, out):
    gradients, volumes = p1_gradients(nodes, tets)
    for f in range(begin, end):
        current = -np.einsum("tij,ta,taj->ti", _tensors(sigma), psi[tets, f], gradients)
        np.add.at(current, elements, weights[f])
        np.add.at(out[:, f], tets, (volumes[:, None] * current / 4)[:, None, :])


# --- recovery


def fit_patches(begin, end, points, centres, volumes, values, pointers, patch, inner, poly):
    for i in range(begin, end):
        some = patch[pointers[i] : pointers[i + 1]]
        poly[i, 0] = np.average(values[some], axis=0, weights=volumes[some])
        if inner[i]:
            root = np.sqrt(volumes[some])[:, None]
            basis = np.column_stack([np.ones(len(some)), centres[some] - points[i]])
            poly[i] = np.linalg.lstsq(root * basis, root * values[some], rcond=None)[0]


def extend_fits(begin, end, points, corners, pointers, patch, inner, poly, out):
    for i in range(begin, end):
        around = np.unique(corners[patch[pointers[i] : pointers[i + 1]]])
        fitted = around[inner[around]]
        out[i] = poly[i, 0]
        if not inner[i] and len(fitted):
            out[i] = np.mean([poly[j, 0] + (points[i] - points[j]) @ poly[j, 1:] for j in fitted], axis=0)


# --- sparse blocks


def smoothed_rows(begin, end, indptr, indices, data, member, weight, n_columns, counts):
    n = len(member)
    matrix = scipy.sparse.csr_array((data, indices, indptr), shape=(n, n)).toarray()
    joined = np.eye(n_columns)[member]
    smoothed = joined - weight[:, None] * (matrix @ joined)
    columns, values = [], []
    for i in range(begin, end):
        around = indices[indptr[i] : indptr[i + 1]]
        row = list(dict.fromkeys([member[i], *member[around]]))  # in the order in which they appear
        counts[i] = len(row)
        columns += row
        values += smoothed[i, row].tolist()
    return columns, values


def _strong(i, indptr, indices, data, root):
    row = slice(indptr[i], indptr[i + 1])
    return indices[row][(indices[row] == i) | (np.abs(data[row]) >= root[i] * root[indices[row]])]


def count_strong(begin, end, indptr, indices, data, root, count):
    for i in range(begin, end):
        count[i] = len(_strong(i, indptr, indices, data, root))


def take_strong(begin, end, indptr, indices, data, root, pointers, out):
    for i in range(begin, end):
        row = _strong(i, indptr, indices, data, root)
        out[pointers[i] : pointers[i] + len(row)] = row


def galerkin_rows(
    begin, end, r_ptr, r_columns, r, a_ptr, a_columns, a, p_ptr, p_columns, p, n_columns, counts
):
    indices, data = [], []
    for i in range(begin, end):
        middle, row = {}, {}  # keep the order in which columns appear
        for q in range(r_ptr[i], r_ptr[i + 1]):
            part = slice(a_ptr[r_columns[q]], a_ptr[r_columns[q] + 1])
            for column, value in zip(a_columns[part], a[part], strict=True):
                middle[column] = middle.get(column, 0) + r[q] * value
        for j, weight in middle.items():
            part = slice(p_ptr[j], p_ptr[j + 1])
            for column, value in zip(p_columns[part], p[part], strict=True):
                row[column] = row.get(column, 0) + weight * value
        counts[i] = len(row)
        indices += row
        data += row.values()
    return indices, data


def scale_rows(begin, end, weight, b, x):
    x[begin:end] = weight[begin:end, None] * b[begin:end]


def add_scaled_rows(begin, end, weight, b, x):
    x[begin:end] += weight[begin:end, None] * b[begin:end]


def scale_columns(begin, end, x, scale, y):
    y[begin:end] = x[begin:end] * scale


def move_scaled(begin, end, y, scale, x):
    x[begin:end] += y[begin:end] * scale
    y[begin:end] = 0


def update_direction(begin, end, z, beta, p):
    p[begin:end] = z[begin:end] + beta * p[begin:end]


def update_solution(begin, end, alpha, p, q, x, r):
    x[begin:end] += alpha * p[begin:end]
    r[begin:end] -= alpha * q[begin:end]


def partial_dots(begin, end, x, y, partial):
    for chunk in range(begin, end):
        rows = slice(chunk * 4096, (chunk + 1) * 4096)
        partial[chunk] = np.einsum("ic,ic->c", x[rows].astype(float), y[rows].astype(float))


# --- triangles


def ray_hits(begin, end, origins, directions, triangles, low, size, shape, starts, order, nearest, face):
    """Every ray against every triangle."""
    for i in range(begin, end):
        nearest[i], face[i] = np.inf, -1
        for f, (a, b, c) in enumerate(triangles):
            system = np.stack([b - a, c - a, -directions[i]], axis=-1)
            if np.linalg.det(system) == 0:
                continue
            u, v, t = np.linalg.solve(system, origins[i] - a)
            if min(u, v, 1 - u - v) >= -1e-12 and 0 <= t < nearest[i]:
                nearest[i], face[i] = t, f


def crossings(begin, end, points, triangles, corner, size, shape, starts, order, inside):
    """Parity of the crossings of one slanted ray."""
    direction = np.array([0.3, 0.5, 0.81])
    for i in range(begin, end):
        count = 0
        for a, b, c in triangles:
            u, v, t = np.linalg.solve(np.stack([b - a, c - a, -direction], axis=-1), points[i] - a)
            count += u >= 0 and v >= 0 and u + v <= 1 and t >= 0
        inside[i] = count % 2 == 1


def closest_on_triangle(px, py, pz, triangle):
    """Least squares on the face, then on each edge; the nearest that is inside wins."""
    p = np.array([px, py, pz])
    a, b, c = triangle
    candidates = []
    for start, end in ((a, b), (b, c), (c, a)):
        s = np.clip((p - start) @ (end - start) / ((end - start) @ (end - start)), 0, 1)
        candidates.append(start + s * (end - start))
    basis = np.stack([b - a, c - a], axis=-1)
    u, v = np.linalg.lstsq(basis, p - a, rcond=None)[0]
    if u >= 0 and v >= 0 and u + v <= 1:
        candidates.append(a + basis @ (u, v))
    return tuple(min(candidates, key=lambda q: np.linalg.norm(q - p)))


def closest_points(begin, end, points, reach, triangles, low, size, shape, starts, order, out, face):
    for i in range(begin, end):
        found = [np.array(closest_on_triangle(*points[i], triangle)) for triangle in triangles]
        best = int(np.argmin([np.linalg.norm(q - points[i]) for q in found]))
        out[i], face[i] = found[best], best


def thin(points, spacing2, kept):
    count = 0
    for i, point in enumerate(points):
        if np.all(np.sum((points[kept[:count]] - point) ** 2, axis=1) >= spacing2):
            kept[count] = i
            count += 1
    return count


def smooth_normals(
    begin, end, points, centroids, area_normals, radius, low, size, shape, starts, order, normals, jacobians
):
    for i in range(begin, end):
        offset = points[i] - centroids
        s = np.minimum(np.linalg.norm(offset, axis=1) / radius, 1)
        total = ((1 - s) ** 4 * (4 * s + 1)) @ area_normals
        slope = area_normals.T @ ((-20 / radius**2) * (1 - s[:, None]) ** 3 * offset)
        length = np.linalg.norm(total)
        normals[i] = total / length
        jacobians[i] = (np.eye(3) - np.outer(normals[i], normals[i])) @ slope / length


def raster_heights(corners, origin_x, origin_y, step, heights, slopes):
    """The highest crossing of each vertical line with a triangle that faces up."""
    nx, ny = heights.shape
    x, y = np.meshgrid(origin_x + step * np.arange(nx), origin_y + step * np.arange(ny), indexing="ij")
    start = np.stack([x, y, np.zeros_like(x)], axis=-1)
    for a, b, c in corners:
        normal = np.cross(b - a, c - a)
        if normal[2] <= 0:
            continue
        to_crossing = np.linalg.inv(np.stack([b - a, c - a, [0, 0, -1.0]], axis=-1))
        u, v, height = np.moveaxis((start - a) @ to_crossing.T, -1, 0)
        higher = (u >= 0) & (v >= 0) & (u + v <= 1) & (height > heights)
        heights[higher], slopes[higher] = height[higher], normal[2] / np.linalg.norm(normal)


# --- tetrahedra


def keeps_off(begin, end, poses, points, cosines, sines, heights, slopes, origin, step, least, clear):
    for i in range(begin, end):
        for j, (c, s) in enumerate(zip(cosines, sines, strict=True)):
            turned = points @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]).T
            local = turned @ poses[i, :, :3].T + poses[i, :, 3]
            x, y = np.round((local[:, :2] - origin[:2]) / step).astype(int).T
            clear[i, j] &= np.min((local[:, 2] - heights[x, y]) * slopes[x, y]) >= least


def signed_volumes(begin, end, nodes, tets, out):
    edges = nodes[tets[begin:end, 1:]] - nodes[tets[begin:end, :1]]
    out[begin:end] = np.linalg.det(edges) / 6


def barycentres(begin, end, nodes, tets, out):
    out[begin:end] = nodes[tets[begin:end]].mean(axis=1)


def shapes(begin, end, nodes, tets, quality, mean_edge):
    for t in range(begin, end):
        corners = nodes[tets[t]]
        first, second = np.triu_indices(4, 1)
        mean_edge[t] = np.linalg.norm(corners[first] - corners[second], axis=1).mean()
        edges = corners[1:] - corners[0]
        circumcentre = np.linalg.solve(2 * edges, np.sum(edges**2, axis=1))
        faces = [np.delete(corners, k, axis=0) for k in range(4)]
        area = sum(np.linalg.norm(np.cross(b - a, c - a)) / 2 for a, b, c in faces)
        inradius = abs(np.linalg.det(edges)) / 2 / area
        quality[t] = 3 * inradius / np.linalg.norm(circumcentre)


def relabel(begin, end, tets, position, out, smallest):
    out[begin:end] = position[tets[begin:end]]
    smallest[begin:end] = out[begin:end].min(axis=1)


def sort_by_count(keys, start, order):
    order[:] = np.argsort(keys, kind="stable")
    start += np.bincount(keys, minlength=len(start))


def take_tets(begin, end, tets, order, out):
    out[begin:end] = tets[order[begin:end]]


def flood(neighbour, tags, piece):
    """Smallest label among equal neighbours, until nothing changes."""
    label = np.arange(len(tags))
    while True:
        other = np.where(neighbour >= 0, neighbour, 0)
        same = (neighbour >= 0) & (tags[other] == tags[:, None])
        lowest = np.minimum(label, np.where(same, label[other], len(tags)).min(axis=1))
        if np.array_equal(lowest, label):
            break
        label = lowest
    piece[:] = np.unique(label, return_inverse=True)[1]
    return piece.max() + 1


def face_neighbours(tets):
    """(n_tets, 4) tetrahedron across the face opposite each corner; -1 none, -2 several."""
    across = {}
    for t, corners in enumerate(tets):
        for f in range(4):
            across.setdefault(frozenset(np.delete(corners, f).tolist()), []).append((t, f))
    out = np.full(tets.shape, -1)
    for sides in across.values():
        for t, f in sides:
            if len(sides) == 2:
                out[t, f] = sides[0][0] + sides[1][0] - t
            elif len(sides) > 2:
                out[t, f] = -2
    return out


# --- fields outside the head


def field_of_currents(begin, end, points, nodes, currents, out):
    for k in range(3):
        q = currents[:, 3 * k : 3 * k + 3]
        out[begin:end, 3 * k : 3 * k + 3] = biot_savart(nodes, q, points.T[begin:end]) / 1e-7


def potentials(begin, end, points, charges, strengths, nearest2, out):
    squared = np.sum((points.T[begin:end, None] - charges) ** 2, axis=-1)
    out[begin:end] = np.maximum(squared, nearest2) ** -0.5 @ strengths


def inverse_distances(begin, end, points, charges, out):
    out[begin:end] = 1 / np.linalg.norm(points[begin:end, None] - charges, axis=-1)


def _bspline(u):
    """Cardinal cubic B-spline and its derivative."""
    r = np.abs(u)
    value = np.where(r < 1, 2 / 3 - r**2 + r**3 / 2, np.where(r < 2, (2 - r) ** 3 / 6, 0))
    slope = np.where(r < 1, -2 * r + 1.5 * r**2, np.where(r < 2, -((2 - r) ** 2) / 2, 0))
    return value, slope * np.sign(u)


def _spline_field(coefficients, origin, step, point):
    """Three vectors B (3, 3) and their derivatives [axis, functional, component] at a point."""
    axes = [_bspline((point[c] - origin[c]) / step - np.arange(coefficients.shape[c])) for c in range(3)]
    value = np.einsum("a,b,c,abcf->f", *(w for w, _ in axes), coefficients[..., :9])
    slopes = [
        np.einsum("a,b,c,abcf->f", *(axes[c][c == axis] for c in range(3)), coefficients[..., :9]) / step
        for axis in range(3)
    ]
    return value.reshape(3, 3), np.reshape(slopes, (3, 3, 3))


def coil_values(begin, end, coefficients, origin, step, positions, moments, poses, out):
    for i in range(begin, end):
        turn, shift = poses[i, :, :3], poses[i, :, 3]
        out[i] = sum(
            _spline_field(coefficients, origin, step, turn @ r + shift)[0] @ (turn @ m)
            for r, m in zip(positions, moments, strict=True)
        )


def coil_gradients(begin, end, coefficients, origin, step, positions, moments, poses, out, gradient):
    coil_values(begin, end, coefficients, origin, step, positions, moments, poses, out)
    for i in range(begin, end):
        turn, shift = poses[i, :, :3], poses[i, :, 3]
        gradient[i] = 0
        for r, m in zip(positions @ turn.T, moments @ turn.T, strict=True):
            b, slopes = _spline_field(coefficients, origin, step, r + shift)
            force = (slopes @ m).T  # [functional, axis]
            gradient[i] += np.concatenate([force, np.cross(r, force) + np.cross(m, b)], axis=1)


def field_values(begin, end, coefficients, origin, step, points, out):
    for i in range(begin, end):
        for part in (slice(0, 9), slice(7, 16)):  # nine at a time
            out[i, part] = _spline_field(coefficients[..., part], origin, step, points[i])[0].ravel()


def frame_values(begin, end, coefficients, origin, step, points, poses, out):
    for i in range(begin, end):
        turn, shift = poses[i, :, :3], poses[i, :, 3]
        for j, point in enumerate(points):
            out[i, :, j] = _spline_field(coefficients, origin, step, turn @ point + shift)[0] @ turn


# --- |E| from the coefficients of modes


def mean_magnitudes(begin, end, coefficients, fields, weights, out):
    for i in range(begin, end):
        out[i] = weights @ np.linalg.norm(np.tensordot(coefficients[i], fields, 1), axis=0)


def percentiles(begin, end, coefficients, fields, weights, share, out):
    for i in range(begin, end):
        size = np.linalg.norm(np.tensordot(coefficients[i], fields, 1), axis=0)
        order = np.argsort(size)
        reached = np.cumsum(weights[order]) >= share * weights.sum() * (1 - 1e-9)
        out[i] = size[order][np.argmax(reached)]


def absolute_row_sums(begin, end, indptr, indices, data, first_column, out):
    n_columns = indices.max() + 1
    matrix = scipy.sparse.csr_matrix((data, indices, indptr), shape=(len(indptr) - 1, n_columns))
    out[begin:end] = abs(matrix.toarray()[begin:end, first_column:]).sum(axis=1)
