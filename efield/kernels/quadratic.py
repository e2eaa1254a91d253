"""Second-order tetrahedra, straight-sided, in the hierarchical basis.

Corner functions are the linear ones, ``l_a``; edge functions are ``4 l_a l_b``, 1 at the midpoint of
their edge and 0 at all other nodes. So the first-order system is the corner block, and the unknown of
an edge is by how much the solution at its midpoint exceeds the mean of its ends. Notation:
``G_ab = V g_a.(sigma g_b)``, g the gradients of l.

The disk cache of these kernels does not see edits of `basis_gradients` in another file: clear it after one.
"""

import numpy as np

from efield.kernels._jit import jit
from efield.kernels.edges import FIRST_END, SECOND_END
from efield.kernels.fem import basis_gradients


@jit
def count_row_entries(begin, end, tets, tet_edges, pointers, edge_tets, count):
    """Row lengths of the edge rows: corners and edges of the tetrahedra around each edge."""
    most = 0
    for k in range(begin, end):
        most = max(most, pointers[k + 1] - pointers[k])
    ring = np.empty(2 * most, np.int32)  # two nodes of each tetrahedron are off the edge
    for k in range(begin, end):
        n_ring = 0
        for p in range(pointers[k], pointers[k + 1]):
            t = edge_tets[p]
            e = 0
            while tet_edges[t, e] != k:
                e += 1
            for a in range(4):
                if a == FIRST_END[e] or a == SECOND_END[e]:
                    continue
                j = tets[t, a]
                q = 0
                while q < n_ring and ring[q] != j:
                    q += 1
                if q == n_ring:
                    ring[n_ring] = j
                    n_ring += 1
        # ends, ring nodes; the edge, its ends' edges to the ring, one opposite edge a tetrahedron
        count[k] = 3 + 3 * n_ring + pointers[k + 1] - pointers[k]


@jit
def assemble_edge_rows(
    begin, end, nodes, tets, sigma, tet_edges, pointers, edge_tets, n_nodes, indptr, indices, data
):
    """Rows of the edges: ``K_e1`` on columns below `n_nodes`, ``K_ee`` beyond; the diagonal comes first.

    With ab the row's edge: ``G_ac + G_bc`` for a corner c and
    ``0.8 (m_ac G_bd + m_ad G_bc + m_bc G_ad + m_bd G_ac)`` for an edge cd, m being 2 on the diagonal and 1
    off it. `sigma` is (n_tets, 6): xx, yy, zz, xy, xz, yz.
    """
    slot = np.full(n_nodes + pointers.shape[0] - 1, -1, np.int32)
    grad, from_a, from_b = np.empty((4, 3)), np.empty(4), np.empty(4)
    for k in range(begin, end):
        first = indptr[k]
        indices[first], data[first] = n_nodes + k, 0.0
        slot[n_nodes + k] = 0
        fill = first + 1
        for p in range(pointers[k], pointers[k + 1]):
            t = edge_tets[p]
            e = 0
            while tet_edges[t, e] != k:
                e += 1
            a, b = FIRST_END[e], SECOND_END[e]
            volume = basis_gradients(nodes, tets, t, grad)
            ax, ay, az = flux_of(sigma, t, volume, grad[a])
            bx, by, bz = flux_of(sigma, t, volume, grad[b])
            for c in range(4):
                from_a[c] = ax * grad[c, 0] + ay * grad[c, 1] + az * grad[c, 2]
                from_b[c] = bx * grad[c, 0] + by * grad[c, 1] + bz * grad[c, 2]
            for c in range(4):
                j = tets[t, c]
                if slot[j] < 0:
                    slot[j] = fill - first
                    indices[fill], data[fill] = j, 0.0
                    fill += 1
                data[first + slot[j]] += from_a[c] + from_b[c]
            for f in range(6):
                c, d = FIRST_END[f], SECOND_END[f]
                j = n_nodes + tet_edges[t, f]
                if slot[j] < 0:
                    slot[j] = fill - first
                    indices[fill], data[fill] = j, 0.0
                    fill += 1
                value = from_b[d] + from_b[c] + from_a[d] + from_a[c]
                if a == c:
                    value += from_b[d]
                if a == d:
                    value += from_b[c]
                if b == c:
                    value += from_a[d]
                if b == d:
                    value += from_a[c]
                data[first + slot[j]] += 0.8 * value
        for q in range(first, fill):
            slot[indices[q]] = -1


@jit
def flux_of(sigma, t, volume, g):
    """``V sigma g``."""
    return (
        volume * (sigma[t, 0] * g[0] + sigma[t, 3] * g[1] + sigma[t, 4] * g[2]),
        volume * (sigma[t, 3] * g[0] + sigma[t, 1] * g[1] + sigma[t, 5] * g[2]),
        volume * (sigma[t, 4] * g[0] + sigma[t, 5] * g[1] + sigma[t, 2] * g[2]),
    )


@jit
def count_corner_columns(n_nodes, indices, count):
    """Entries of `K_e1` in each corner's column; `count` starts as zeros."""
    for p in range(indices.shape[0]):
        if indices[p] < n_nodes:
            count[indices[p]] += 1


@jit
def fill_corner_rows(begin, end, n_nodes, indptr, indices, data, start, columns, values):
    """``K_1e``, the transpose of ``K_e1``; its columns are those of the whole system. `start` is scratch."""
    for k in range(indptr.shape[0] - 1):
        for p in range(indptr[k], indptr[k + 1]):
            i = indices[p]
            if begin <= i < end:
                columns[start[i]] = n_nodes + k
                values[start[i]] = data[p]
                start[i] += 1


@jit
def source_load(begin, end, nodes, tets, sigma, tet_edges, dadt, out):
    """``out_i = -int (sigma dadt).grad N_i`` for columns `begin` to `end` of a block.

    dadt is the quadratic interpolation of its values (n_nodes + n_edges, 3, k) at nodes and midpoints;
    `out` (n_nodes + n_edges, k) starts as zeros. With ``P_a = int dadt l_a``: corners get
    ``-g_a.sigma sum_b P_b``, edges ``-4 (g_b.sigma P_a + g_a.sigma P_b)``.
    """
    n_nodes = nodes.shape[0]
    grad, moment = np.empty((4, 3)), np.empty((4, 3))
    for t in range(tets.shape[0]):
        volume = basis_gradients(nodes, tets, t, grad)
        for col in range(begin, end):
            corner_moments(tets, tet_edges, n_nodes, t, volume, dadt, col, moment)
            for a in range(4):
                moment[a, 0], moment[a, 1], moment[a, 2] = flux_of(sigma, t, 1.0, moment[a])
            sx = moment[0, 0] + moment[1, 0] + moment[2, 0] + moment[3, 0]
            sy = moment[0, 1] + moment[1, 1] + moment[2, 1] + moment[3, 1]
            sz = moment[0, 2] + moment[1, 2] + moment[2, 2] + moment[3, 2]
            for a in range(4):
                out[tets[t, a], col] -= grad[a, 0] * sx + grad[a, 1] * sy + grad[a, 2] * sz
            for e in range(6):
                a, b = FIRST_END[e], SECOND_END[e]
                total = 0.0
                for c in range(3):
                    total += grad[b, c] * moment[a, c] + grad[a, c] * moment[b, c]
                out[n_nodes + tet_edges[t, e], col] -= 4.0 * total


@jit
def corner_moments(tets, tet_edges, n_nodes, t, volume, dadt, col, moment):
    """``int dadt l_a`` (4, 3) of a tetrahedron.

    Of the nodal functions: ``int l_a (2 l_a - 1) l_b = -V / 60`` and 0 for b = a;
    ``int 4 l_a l_b l_c = V / 15`` where c is an end of the edge, else ``V / 30``.
    """
    for c in range(3):
        corners = 0.0
        for a in range(4):
            corners += dadt[tets[t, a], c, col]
        edges = 0.0
        for a in range(4):
            moment[a, c] = -volume / 60.0 * (corners - dadt[tets[t, a], c, col])
        for e in range(6):
            value = volume / 30.0 * dadt[n_nodes + tet_edges[t, e], c, col]
            edges += value
            moment[FIRST_END[e], c] += value
            moment[SECOND_END[e], c] += value
        for a in range(4):
            moment[a, c] += edges


@jit
def element_field(begin, end, nodes, tets, tet_edges, potential, dadt, place, out):
    """Mean of ``E = -dadt - grad v`` over each tetrahedron, dadt interpolated quadratically.

    `potential` (n_nodes + n_edges,) in the hierarchical basis, `dadt` (n_nodes + n_edges, 3) values; that of
    tetrahedron t goes to row ``place[t]`` of `out`.
    """
    n_nodes = nodes.shape[0]
    grad = np.empty((4, 3))
    for t in range(begin, end):
        basis_gradients(nodes, tets, t, grad)
        ex, ey, ez = 0.0, 0.0, 0.0
        for a in range(4):
            n = tets[t, a]
            v = potential[n]
            ex += 0.05 * dadt[n, 0] - grad[a, 0] * v
            ey += 0.05 * dadt[n, 1] - grad[a, 1] * v
            ez += 0.05 * dadt[n, 2] - grad[a, 2] * v
        for e in range(6):
            n, a, b = n_nodes + tet_edges[t, e], FIRST_END[e], SECOND_END[e]
            v = potential[n]
            ex -= 0.2 * dadt[n, 0] + (grad[a, 0] + grad[b, 0]) * v
            ey -= 0.2 * dadt[n, 1] + (grad[a, 1] + grad[b, 1]) * v
            ez -= 0.2 * dadt[n, 2] + (grad[a, 2] + grad[b, 2]) * v
        row = out[place[t]]
        row[0], row[1], row[2] = ex, ey, ez


@jit
def functional_load(nodes, tets, tet_edges, elements, weights, out):
    """``out_i += sum_t int_t w_t.grad N_i`` over `elements`; `weights` (n_elements, 3)."""
    n_nodes = nodes.shape[0]
    grad, flux = np.empty((4, 3)), np.empty(4)
    for k in range(elements.shape[0]):
        t = elements[k]
        volume = basis_gradients(nodes, tets, t, grad)
        for a in range(4):
            flux[a] = weights[k, 0] * grad[a, 0] + weights[k, 1] * grad[a, 1] + weights[k, 2] * grad[a, 2]
            out[tets[t, a]] += volume * flux[a]
        for e in range(6):
            out[n_nodes + tet_edges[t, e]] += volume * (flux[FIRST_END[e]] + flux[SECOND_END[e]])


@jit
def current_sources(begin, end, nodes, tets, sigma, tet_edges, psi, elements, weights, out):
    """Node sources ``q_n = sum_t int_t J N_n`` of ``J = w - sigma grad psi``, N the ten nodal functions.

    J is linear in a tetrahedron. `psi` (n_nodes + n_edges, k) in the hierarchical basis, `weights`
    (k, n_elements, 3), `out` (n_nodes + n_edges, k, 3) starts as zeros; owns the functionals `begin` ..
    `end` - 1. A m.
    """
    n_nodes = nodes.shape[0]
    grad, flux = np.empty((4, 3)), np.empty((4, 3))
    for f in range(begin, end):
        own, potential = out[:, f], psi[:, f]
        for t in range(tets.shape[0]):
            volume = basis_gradients(nodes, tets, t, grad)
            for c in range(3):
                linear = 0.0
                for a in range(4):
                    linear += potential[tets[t, a]] * grad[a, c]
                for a in range(4):
                    flux[a, c] = -linear
                for e in range(6):
                    value = 4.0 * potential[n_nodes + tet_edges[t, e]]
                    flux[FIRST_END[e], c] -= value * grad[SECOND_END[e], c]
                    flux[SECOND_END[e], c] -= value * grad[FIRST_END[e], c]
            for a in range(4):
                flux[a, 0], flux[a, 1], flux[a, 2] = flux_of(sigma, t, volume, flux[a])
            _add_sources(tets, tet_edges, n_nodes, t, flux, own)
        for k in range(elements.shape[0]):
            t = elements[k]
            volume = basis_gradients(nodes, tets, t, grad)
            for a in range(4):
                for c in range(3):
                    flux[a, c] = volume * weights[f, k, c]
            _add_sources(tets, tet_edges, n_nodes, t, flux, own)


@jit
def _add_sources(tets, tet_edges, n_nodes, t, flux, out):
    """Add ``int J N_n`` of one tetrahedron; `flux` (4, 3) is V J at the corners."""
    for c in range(3):
        total = flux[0, c] + flux[1, c] + flux[2, c] + flux[3, c]
        for a in range(4):
            out[tets[t, a], c] -= (total - flux[a, c]) / 60.0
        for e in range(6):
            ends = flux[FIRST_END[e], c] + flux[SECOND_END[e], c]
            out[n_nodes + tet_edges[t, e], c] += (total + ends) / 30.0


@jit
def second_moments(begin, end, nodes, ends, currents, out):
    """``h^2`` times the sum of the sizes of an edge's currents (n_edges, k, 3), h its length."""
    for e in range(begin, end):
        a, b = ends[e, 0], ends[e, 1]
        square = 0.0
        for c in range(3):
            square += (nodes[a, c] - nodes[b, c]) ** 2
        total = 0.0
        for f in range(currents.shape[1]):
            q = currents[e, f]
            total += np.sqrt(q[0] * q[0] + q[1] * q[1] + q[2] * q[2])
        out[e] = square * total


@jit
def move_to_ends(kept, ends, currents, corners):
    """Add currents (n_edges, k, 3) of edges that are not `kept` to those of their ends, half each."""
    for e in range(kept.shape[0]):
        if not kept[e]:
            for f in range(currents.shape[1]):
                for c in range(3):
                    half = 0.5 * currents[e, f, c]
                    corners[ends[e, 0], f, c] += half
                    corners[ends[e, 1], f, c] += half
