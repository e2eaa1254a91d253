"""The edge functions ``4 l_a l_b`` of second-order tetrahedra by themselves, tetrahedron by tetrahedron.

Products with the edge rows of the second-order system are sums over tetrahedra here; no row is stored.
They run over slices of `size` edges: slice s owns edges ``s size`` to ``(s + 1) size - 1`` and visits the
tetrahedra ``members[pointers[s]:pointers[s + 1]]`` that have one of them, in ascending order. g are the
gradients of l; `sigma` is (n_tets, 6): xx, yy, zz, xy, xz, yz.

The disk cache of these kernels does not see edits of `basis_gradients` and `flux_of` in other files.
"""

import numpy as np

from efield.kernels._jit import jit
from efield.kernels.edges import FIRST_END, SECOND_END
from efield.kernels.fem import basis_gradients
from efield.kernels.quadratic import flux_of


@jit
def count_members(begin, end, length, tet_edges, size, count):
    """Number of tetrahedra that each slice visits (n_chunks, n_slices), by chunks of `length` tetrahedra."""
    last = np.full(count.shape[1], -1, np.int64)
    for chunk in range(begin, end):
        count[chunk] = 0
        for t in range(chunk * length, min((chunk + 1) * length, tet_edges.shape[0])):
            for e in range(6):
                s = tet_edges[t, e] // size
                if last[s] != t:
                    last[s] = t
                    count[chunk, s] += 1


@jit
def fill_members(begin, end, length, tet_edges, size, start, members):
    """Those tetrahedra, slice by slice; `start` (n_chunks, n_slices) is a scratch copy of the pointers."""
    last = np.full(start.shape[1], -1, np.int64)
    for chunk in range(begin, end):
        for t in range(chunk * length, min((chunk + 1) * length, tet_edges.shape[0])):
            for e in range(6):
                s = tet_edges[t, e] // size
                if last[s] != t:
                    last[s] = t
                    members[start[chunk, s]] = t
                    start[chunk, s] += 1


@jit
def products_of_gradients(begin, end, nodes, tets, sigma, out):
    """``0.8 V g_a.(sigma g_b)`` (n_tets, 10): ab of 00, 11, 22, 33, 01, 02, 03, 12, 13, 23."""
    grad = np.empty((4, 3))
    for t in range(begin, end):
        volume = basis_gradients(nodes, tets, t, grad)
        for a in range(4):
            x, y, z = flux_of(sigma, t, 0.8 * volume, grad[a])
            out[t, a] = x * grad[a, 0] + y * grad[a, 1] + z * grad[a, 2]
            for e in range(6):
                if FIRST_END[e] == a:
                    b = grad[SECOND_END[e]]
                    out[t, 4 + e] = x * b[0] + y * b[1] + z * b[2]


@jit
def diagonal(begin, end, size, pointers, members, tet_edges, products, out):
    """Diagonal of ``K_ee``: ``1.6 V (G_aa + G_ab + G_bb)``, ``G_ab = g_a.(sigma g_b)``; starts as zeros."""
    for s in range(begin, end):
        first, last = s * size, min((s + 1) * size, out.size)
        for p in range(pointers[s], pointers[s + 1]):
            t = members[p]
            for e in range(6):
                k = tet_edges[t, e]
                if first <= k < last:
                    g = products[t]
                    out[k] += 2 * (g[FIRST_END[e]] + g[SECOND_END[e]] + g[4 + e])


@jit
def times(begin, end, size, pointers, members, tet_edges, products, x, out):
    """``out = K_ee x``, both (n_edges,).

    Of edge ab: ``0.8 V sum_cd x_cd (m_ac G_bd + m_ad G_bc + m_bc G_ad + m_bd G_ac)``, m being 2 on the
    diagonal and 1 off it; with ``P_cb = sum_d x_cd G_db`` that is ``P_ab + P_ba + sum_c (P_ca + P_cb)``.
    """
    for s in range(begin, end):
        first, last = s * size, min((s + 1) * size, out.size)
        out[first:last] = 0.0
        for p in range(pointers[s], pointers[s + 1]):
            t = members[p]
            g, k = products[t], tet_edges[t]
            aa, bb, cc, dd, ab, ac, ad, bc, bd, cd = (
                g[0],
                g[1],
                g[2],
                g[3],
                g[4],
                g[5],
                g[6],
                g[7],
                g[8],
                g[9],
            )
            k0, k1, k2, k3, k4, k5 = k[0], k[1], k[2], k[3], k[4], k[5]
            x0, x1, x2, x3, x4, x5 = x[k0], x[k1], x[k2], x[k3], x[k4], x[k5]
            p01, p02, p03 = (
                x0 * bb + x1 * bc + x2 * bd,
                x0 * bc + x1 * cc + x2 * cd,
                x0 * bd + x1 * cd + x2 * dd,
            )
            p10, p12, p13 = (
                x0 * aa + x3 * ac + x4 * ad,
                x0 * ac + x3 * cc + x4 * cd,
                x0 * ad + x3 * cd + x4 * dd,
            )
            p20, p21, p23 = (
                x1 * aa + x3 * ab + x5 * ad,
                x1 * ab + x3 * bb + x5 * bd,
                x1 * ad + x3 * bd + x5 * dd,
            )
            p30, p31, p32 = (
                x2 * aa + x4 * ab + x5 * ac,
                x2 * ab + x4 * bb + x5 * bc,
                x2 * ac + x4 * bc + x5 * cc,
            )
            s0 = x0 * ab + x1 * ac + x2 * ad + p10 + p20 + p30
            s1 = x0 * ab + x3 * bc + x4 * bd + p01 + p21 + p31
            s2 = x1 * ac + x3 * bc + x5 * cd + p02 + p12 + p32
            s3 = x2 * ad + x4 * bd + x5 * cd + p03 + p13 + p23
            if first <= k0 < last:
                out[k0] += p01 + p10 + s0 + s1
            if first <= k1 < last:
                out[k1] += p02 + p20 + s0 + s2
            if first <= k2 < last:
                out[k2] += p03 + p30 + s0 + s3
            if first <= k3 < last:
                out[k3] += p12 + p21 + s1 + s2
            if first <= k4 < last:
                out[k4] += p13 + p31 + s1 + s3
            if first <= k5 < last:
                out[k5] += p23 + p32 + s2 + s3


@jit
def residual_loads(begin, end, size, pointers, members, nodes, tets, sigma, tet_edges, potential, dadt, out):
    """``F_e - K_e1 v = int sigma E.grad(4 l_a l_b)`` of ``E = -dadt - grad v``, both linear in a tetrahedron.

    ``V / 5 ((S + J_a).g_b + (S + J_b).g_a)``, J_a being sigma E at the corners and S their sum. `potential`
    (n,) and `dadt` (n, 3) at the nodes; `out` (n_edges,) starts as zeros.
    """
    grad, current, total = np.empty((4, 3)), np.empty((4, 3)), np.empty(3)
    for s in range(begin, end):
        first, last = s * size, min((s + 1) * size, out.size)
        for p in range(pointers[s], pointers[s + 1]):
            t = members[p]
            volume = basis_gradients(nodes, tets, t, grad)
            for c in range(3):
                slope = 0.0
                for a in range(4):
                    slope += grad[a, c] * potential[tets[t, a]]
                for a in range(4):
                    current[a, c] = -slope - dadt[tets[t, a], c]
            for a in range(4):
                current[a, 0], current[a, 1], current[a, 2] = flux_of(sigma, t, 0.2 * volume, current[a])
            for c in range(3):
                total[c] = current[0, c] + current[1, c] + current[2, c] + current[3, c]
            for e in range(6):
                k, a, b = tet_edges[t, e], FIRST_END[e], SECOND_END[e]
                if first <= k < last:
                    load = 0.0
                    for c in range(3):
                        load += (total[c] + current[a, c]) * grad[b, c]
                        load += (total[c] + current[b, c]) * grad[a, c]
                    out[k] += load


@jit
def corner_loads(nodes, tets, sigma, tet_edges, potential, dadt, out):
    """``out_i += sum_t V g_i.(sigma E)``, E the mean of what edges alone make of it.

    `potential` (n_edges,) and `dadt` (n_edges, 3) of the edge functions, the mean of whose gradient is
    ``g_a + g_b`` and whose own mean is 1 / 5; `out` (n,).
    """
    grad = np.empty((4, 3))
    for t in range(tets.shape[0]):
        volume = basis_gradients(nodes, tets, t, grad)
        ex, ey, ez = 0.0, 0.0, 0.0
        for e in range(6):
            k, a, b = tet_edges[t, e], FIRST_END[e], SECOND_END[e]
            v = potential[k]
            ex -= 0.2 * dadt[k, 0] + v * (grad[a, 0] + grad[b, 0])
            ey -= 0.2 * dadt[k, 1] + v * (grad[a, 1] + grad[b, 1])
            ez -= 0.2 * dadt[k, 2] + v * (grad[a, 2] + grad[b, 2])
        x, y, z = flux_of(sigma, t, volume, (ex, ey, ez))
        for a in range(4):
            out[tets[t, a]] += x * grad[a, 0] + y * grad[a, 1] + z * grad[a, 2]
