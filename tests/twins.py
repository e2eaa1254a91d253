"""Plain NumPy twins of the kernels: same arguments, the same outputs in place, none of the tricks."""

import numpy as np
from oracles import biot_savart, dipole_a, p1_gradients

# --- dipoles


def vector_potential(begin, end, x, y, z, positions, moments, out_x, out_y, out_z):
    part = slice(begin, end)
    points = np.stack([x[part], y[part], z[part]], axis=-1)
    out_x[part], out_y[part], out_z[part] = dipole_a(positions, moments, points).T


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


def element_field(begin, end, nodes, tets, potential, dadt, out):
    tets = tets[begin:end]
    gradients, _ = p1_gradients(nodes, tets)
    out[begin:end] = -dadt[tets].mean(axis=1) - np.einsum("ta,tai->ti", potential[tets], gradients)


def functional_load(nodes, tets, elements, weights, out):
    gradients, volumes = p1_gradients(nodes, tets[elements])
    np.add.at(out, tets[elements], volumes[:, None] * np.einsum("ti,tai->ta", weights, gradients))


def current_sources(nodes, tets, sigma, psi, elements, weights, out):
    gradients, volumes = p1_gradients(nodes, tets)
    current = -np.einsum("tij,ta,taj->ti", _tensors(sigma), psi[tets], gradients)
    np.add.at(current, elements, weights)
    np.add.at(out, tets, (volumes[:, None] * current / 4)[:, None, :])


# --- sparse blocks


def spmm(begin, end, indptr, indices, data, x, y):
    for i in range(begin, end):
        row = slice(indptr[i], indptr[i + 1])
        y[i] = data[row] @ x[indices[row]]


def scale_rows(begin, end, weight, b, x):
    x[begin:end] = weight[begin:end, None] * b[begin:end]


def subtract(begin, end, b, y):
    y[begin:end] = b[begin:end] - y[begin:end]


def add(begin, end, y, x):
    x[begin:end] += y[begin:end]


def add_jacobi(begin, end, weight, b, y, x):
    x[begin:end] += weight[begin:end, None] * (b[begin:end] - y[begin:end])


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


def ray_hits(begin, end, origins, directions, corner, edge1, edge2, nearest, face):
    for i in range(begin, end):
        nearest[i], face[i] = np.inf, -1
        for f in range(len(corner)):
            system = np.stack([edge1[f], edge2[f], -directions[i]], axis=-1)
            if np.linalg.det(system) == 0:
                continue
            u, v, t = np.linalg.solve(system, origins[i] - corner[f])
            if min(u, v, 1 - u - v) >= -1e-12 and 0 <= t < nearest[i]:
                nearest[i], face[i] = t, f


def winding(begin, end, points, triangles, inside):
    """Parity of the crossings of one slanted ray."""
    direction = np.array([0.3, 0.5, 0.81])
    for i in range(begin, end):
        crossings = 0
        for a, b, c in triangles:
            u, v, t = np.linalg.solve(np.stack([b - a, c - a, -direction], axis=-1), points[i] - a)
            crossings += u >= 0 and v >= 0 and u + v <= 1 and t >= 0
        inside[i] = crossings % 2 == 1


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


def closest_points(begin, end, points, triangles, starts, lists, out, face):
    for i in range(begin, end):
        listed = lists[starts[i] : starts[i + 1]]
        found = [np.array(closest_on_triangle(*points[i], triangles[f])) for f in listed]
        best = int(np.argmin([np.linalg.norm(q - points[i]) for q in found]))
        out[i], face[i] = found[best], listed[best]


# --- Biot-Savart


def flux_density(begin, end, points, positions, currents, out):
    out[begin:end] = biot_savart(positions, currents, points[begin:end])
