"""First-order tetrahedra: assembly by rows, field and current per element.

Gradients of the basis are computed where they are needed; storing them costs more
memory traffic than the sixty operations save.
"""

import numpy as np

from efield.kernels._jit import jit


@jit
def count_node_tets(tets, count):
    """Number of tetrahedra at each node; `count` starts as zeros."""
    for t in range(tets.shape[0]):
        for a in range(4):
            count[tets[t, a]] += 1


@jit
def fill_node_tets(tets, start, node_tets):
    """Tetrahedra at each node, ascending; `start` is a scratch copy of the row pointers."""
    for t in range(tets.shape[0]):
        for a in range(4):
            n = tets[t, a]
            node_tets[start[n]] = t
            start[n] += 1


@jit
def count_neighbours(begin, end, tets, pointers, node_tets, n_nodes, count):
    """Row lengths of the node graph, the node itself included."""
    seen = np.full(n_nodes, -1, np.int32)
    for i in range(begin, end):
        total = 0
        for p in range(pointers[i], pointers[i + 1]):
            t = node_tets[p]
            for a in range(4):
                j = tets[t, a]
                if seen[j] != i:
                    seen[j] = i
                    total += 1
        count[i] = total


@jit
def basis_gradients(nodes, tets, t, grad):
    """Write the (4, 3) basis gradients of tetrahedron `t` (1/m); return its volume (m^3)."""
    n0, n1, n2, n3 = tets[t, 0], tets[t, 1], tets[t, 2], tets[t, 3]
    ax, ay, az = nodes[n1, 0] - nodes[n0, 0], nodes[n1, 1] - nodes[n0, 1], nodes[n1, 2] - nodes[n0, 2]
    bx, by, bz = nodes[n2, 0] - nodes[n0, 0], nodes[n2, 1] - nodes[n0, 1], nodes[n2, 2] - nodes[n0, 2]
    cx, cy, cz = nodes[n3, 0] - nodes[n0, 0], nodes[n3, 1] - nodes[n0, 1], nodes[n3, 2] - nodes[n0, 2]
    ux, uy, uz = by * cz - bz * cy, bz * cx - bx * cz, bx * cy - by * cx
    vx, vy, vz = cy * az - cz * ay, cz * ax - cx * az, cx * ay - cy * ax
    wx, wy, wz = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
    det = ax * ux + ay * uy + az * uz
    inv = 1.0 / det
    grad[1, 0], grad[1, 1], grad[1, 2] = ux * inv, uy * inv, uz * inv
    grad[2, 0], grad[2, 1], grad[2, 2] = vx * inv, vy * inv, vz * inv
    grad[3, 0], grad[3, 1], grad[3, 2] = wx * inv, wy * inv, wz * inv
    for c in range(3):
        grad[0, c] = -(grad[1, c] + grad[2, c] + grad[3, c])
    return abs(det) / 6.0


@jit
def gradients(begin, end, nodes, tets, grad, volume):
    """Basis gradients (m, 4, 3), 1/m, and volumes (m,), m^3, of tetrahedra (m, 4)."""
    for t in range(begin, end):
        volume[t] = basis_gradients(nodes, tets, t, grad[t])


@jit
def six_components(begin, end, conductivity, order, out):
    """xx, yy, zz, xy, xz, yz (n, 6) of numbers (n, 1) or tensors (n, 9), taken in an order."""
    for t in range(begin, end):
        own = conductivity[order[t]]
        if own.size == 1:
            out[t, 0] = out[t, 1] = out[t, 2] = own[0]
            out[t, 3] = out[t, 4] = out[t, 5] = 0.0
        else:
            out[t, 0], out[t, 1], out[t, 2] = own[0], own[4], own[8]
            out[t, 3], out[t, 4], out[t, 5] = own[1], own[2], own[5]


@jit
def assemble_rows(begin, end, nodes, tets, sigma, pointers, node_tets, indptr, indices, stiffness, source):
    """Rows of K and of the source operator, columns ascending.

    ``K_ij = sum_t V g_i.(sigma g_j)`` and ``source_ij = sum_t V sigma g_i / 4`` (a vector per
    entry), so that ``b = -source . dadt`` is the right-hand side of the node rule.
    `sigma` is (n_tets, 6): xx, yy, zz, xy, xz, yz.
    """
    slot = np.full(nodes.shape[0], -1, np.int32)
    grad = np.empty((4, 3))
    for i in range(begin, end):
        first = indptr[i]
        fill = first
        for p in range(pointers[i], pointers[i + 1]):
            t = node_tets[p]
            for a in range(4):
                j = tets[t, a]
                if slot[j] < 0:
                    slot[j] = 0
                    k = fill  # insertion keeps the row sorted: rows are short
                    while k > first and indices[k - 1] > j:
                        indices[k] = indices[k - 1]
                        k -= 1
                    indices[k] = j
                    fill += 1
        for k in range(first, fill):
            slot[indices[k]] = k - first
            stiffness[k] = 0.0
            source[k, 0] = source[k, 1] = source[k, 2] = 0.0
        for p in range(pointers[i], pointers[i + 1]):
            t = node_tets[p]
            volume = basis_gradients(nodes, tets, t, grad)
            a = 0
            while tets[t, a] != i:
                a += 1
            gx, gy, gz = grad[a, 0], grad[a, 1], grad[a, 2]
            fx = volume * (sigma[t, 0] * gx + sigma[t, 3] * gy + sigma[t, 4] * gz)
            fy = volume * (sigma[t, 3] * gx + sigma[t, 1] * gy + sigma[t, 5] * gz)
            fz = volume * (sigma[t, 4] * gx + sigma[t, 5] * gy + sigma[t, 2] * gz)
            for b in range(4):
                k = first + slot[tets[t, b]]
                stiffness[k] += fx * grad[b, 0] + fy * grad[b, 1] + fz * grad[b, 2]
                source[k, 0] += 0.25 * fx
                source[k, 1] += 0.25 * fy
                source[k, 2] += 0.25 * fz
        for k in range(first, fill):
            slot[indices[k]] = -1


@jit
def source_times(begin, end, indptr, indices, source, dadt, out):
    """``out = -source . dadt`` for a block: `dadt` (n, 3, k), `out` (n, k)."""
    width = out.shape[1]
    for i in range(begin, end):
        row = out[i]
        for c in range(width):
            row[c] = 0.0
        for p in range(indptr[i], indptr[i + 1]):
            sx, sy, sz = source[p, 0], source[p, 1], source[p, 2]
            block = dadt[indices[p]]
            for c in range(width):
                row[c] -= sx * block[0, c] + sy * block[1, c] + sz * block[2, c]


@jit
def element_field(begin, end, nodes, tets, potential, dadt, place, out):
    """``E = -mean(dadt at the nodes) - grad v`` per tetrahedron.

    `potential` (n,), `dadt` (n, 3); that of tetrahedron t goes to row ``place[t]`` of `out` (n_tets, 3).
    """
    grad = np.empty((4, 3))
    for t in range(begin, end):
        basis_gradients(nodes, tets, t, grad)
        ex, ey, ez = 0.0, 0.0, 0.0
        for a in range(4):
            n = tets[t, a]
            v = potential[n]
            ex -= 0.25 * dadt[n, 0] + grad[a, 0] * v
            ey -= 0.25 * dadt[n, 1] + grad[a, 1] * v
            ez -= 0.25 * dadt[n, 2] + grad[a, 2] * v
        row = out[place[t]]
        row[0], row[1], row[2] = ex, ey, ez


@jit
def functional_load(nodes, tets, elements, weights, out):
    """``out_i += sum_t V_t w_t.g_i`` over `elements`; `weights` (n_elements, 3), `out` (n,)."""
    grad = np.empty((4, 3))
    for e in range(elements.shape[0]):
        t = elements[e]
        volume = basis_gradients(nodes, tets, t, grad)
        for a in range(4):
            flux = weights[e, 0] * grad[a, 0] + weights[e, 1] * grad[a, 1] + weights[e, 2] * grad[a, 2]
            out[tets[t, a]] += volume * flux


@jit
def current_sources(begin, end, nodes, tets, sigma, psi, elements, weights, out):
    """Node sources ``q_n = sum_t V_t J_t / 4`` of ``J = w - sigma grad psi`` of some functionals.

    `psi` (n, k), `weights` (k, n_elements, 3) on `elements`, `out` (n, k, 3) starts as zeros; owns the
    functionals `begin` .. `end` - 1. A m.
    """
    grad = np.empty((4, 3))
    for t in range(tets.shape[0]):
        scale = -0.25 * basis_gradients(nodes, tets, t, grad)
        for f in range(begin, end):
            px, py, pz = 0.0, 0.0, 0.0
            for a in range(4):
                value = psi[tets[t, a], f]
                px += grad[a, 0] * value
                py += grad[a, 1] * value
                pz += grad[a, 2] * value
            jx = scale * (sigma[t, 0] * px + sigma[t, 3] * py + sigma[t, 4] * pz)
            jy = scale * (sigma[t, 3] * px + sigma[t, 1] * py + sigma[t, 5] * pz)
            jz = scale * (sigma[t, 4] * px + sigma[t, 5] * py + sigma[t, 2] * pz)
            for a in range(4):
                node = out[tets[t, a], f]
                node[0] += jx
                node[1] += jy
                node[2] += jz
    for e in range(elements.shape[0]):
        t = elements[e]
        quarter = 0.25 * basis_gradients(nodes, tets, t, grad)
        for f in range(begin, end):
            for a in range(4):
                node = out[tets[t, a], f]
                for c in range(3):
                    node[c] += quarter * weights[f, e, c]
