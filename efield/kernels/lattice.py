"""Second-order functions on the eight pieces of cut tetrahedra, tetrahedron by tetrahedron.

The unknowns of a cut tetrahedron lie on its lattice of 35 points (:mod:`efield.adjoint.lattice`). On a piece
with corners a and edges ab they are values x_a and excesses h_ab over the mean of the ends, so the gradient
at corner v is ``sum_a c_va grad l_a`` with ``c_va = x_a - x_v + 4 h_va``, and linear between the corners.
Blocks of tetrahedra are worked through point by point: then loops over them vectorise.
"""

import numpy as np

from efield.kernels._jit import jit, jit_fused

BLOCK = 64
"""Tetrahedra at a time: their values stay in the first-level cache."""


@jit_fused
def tet_products(begin, end, numbers, products, places, shares, x, out):
    """``out = K x`` of each tetrahedron by itself.

    Parameters
    ----------
    numbers : (35, m) int array
        Unknowns at the lattice points.
    products : (6, m) float32 array
        ``V / 160 g_a.(sigma g_b)`` of the gradients of the first three barycentric coordinates: 00, 11, 22,
        01, 02, 12.
    places : (8, 10) int array
        Lattice points of the corners and midpoints of each piece.
    shares : (8, 4, 3) float32 array
        A piece's gradients of its barycentric coordinates, in those three.
    x : (n,) float32 array
    out : (35, m) float32 array
    """
    n_points = numbers.shape[0]
    values, sums = np.empty((n_points, BLOCK), x.dtype), np.empty((n_points, BLOCK), x.dtype)
    # one after the other at distances that the compiler knows: only so does _piece vectorise
    there, product = np.empty(10 * BLOCK, x.dtype), np.empty(10 * BLOCK, x.dtype)
    own = np.empty(6 * BLOCK, x.dtype)
    for first in range(begin, end, BLOCK):
        size = min(first + BLOCK, end) - first
        for n in range(n_points):
            for i in range(size):
                values[n, i] = x[numbers[n, first + i]]
                sums[n, i] = 0
        for k in range(6):
            for i in range(size):
                own[k * BLOCK + i] = products[k, first + i]
        for p in range(places.shape[0]):
            for n in range(10):
                row = values[places[p, n]]
                for i in range(size):
                    there[n * BLOCK + i] = row[i]
            _piece(size, shares[p], own, there, product)
            for n in range(10):
                row = sums[places[p, n]]
                for i in range(size):
                    row[i] += product[n * BLOCK + i]
        for n in range(n_points):
            for i in range(size):
                out[n, first + i] = sums[n, i]


@jit_fused
def _piece(size, share, own, x, out):
    """``out = K x`` of one piece of each tetrahedron, at its corners and midpoints 01, 02, 03, 12, 13, 23."""
    a = share[0, 0], share[0, 1], share[0, 2]
    b = share[1, 0], share[1, 1], share[1, 2]
    c = share[2, 0], share[2, 1], share[2, 2]
    d = share[3, 0], share[3, 1], share[3, 2]
    four = x.dtype.type(4)
    for i in range(size):
        x0, x1, x2, x3 = x[i], x[BLOCK + i], x[2 * BLOCK + i], x[3 * BLOCK + i]
        h01, h02, h03 = four * x[4 * BLOCK + i], four * x[5 * BLOCK + i], four * x[6 * BLOCK + i]
        h12, h13, h23 = four * x[7 * BLOCK + i], four * x[8 * BLOCK + i], four * x[9 * BLOCK + i]
        u0, v0, w0 = _combined(b, c, d, x1 - x0 + h01, x2 - x0 + h02, x3 - x0 + h03)
        u1, v1, w1 = _combined(a, c, d, x0 - x1 + h01, x2 - x1 + h12, x3 - x1 + h13)
        u2, v2, w2 = _combined(a, b, d, x0 - x2 + h02, x1 - x2 + h12, x3 - x2 + h23)
        u3, v3, w3 = _combined(a, b, c, x0 - x3 + h03, x1 - x3 + h13, x2 - x3 + h23)
        u, v, w = u0 + u1 + u2 + u3, v0 + v1 + v2 + v3, w0 + w1 + w2 + w3
        g = (
            own[i],
            own[BLOCK + i],
            own[2 * BLOCK + i],
            own[3 * BLOCK + i],
            own[4 * BLOCK + i],
            own[5 * BLOCK + i],
        )
        p01, p02, p03 = _against(b, c, d, g, u + u0, v + v0, w + w0)
        p10, p12, p13 = _against(a, c, d, g, u + u1, v + v1, w + w1)
        p20, p21, p23 = _against(a, b, d, g, u + u2, v + v2, w + w2)
        p30, p31, p32 = _against(a, b, c, g, u + u3, v + v3, w + w3)
        out[i] = p10 + p20 + p30 - (p01 + p02 + p03)
        out[BLOCK + i] = p01 + p21 + p31 - (p10 + p12 + p13)
        out[2 * BLOCK + i] = p02 + p12 + p32 - (p20 + p21 + p23)
        out[3 * BLOCK + i] = p03 + p13 + p23 - (p30 + p31 + p32)
        out[4 * BLOCK + i] = four * (p01 + p10)
        out[5 * BLOCK + i] = four * (p02 + p20)
        out[6 * BLOCK + i] = four * (p03 + p30)
        out[7 * BLOCK + i] = four * (p12 + p21)
        out[8 * BLOCK + i] = four * (p13 + p31)
        out[9 * BLOCK + i] = four * (p23 + p32)


@jit_fused
def _combined(a, b, c, x, y, z):
    """``a x + b y + c z`` of three vectors."""
    return (
        a[0] * x + b[0] * y + c[0] * z,
        a[1] * x + b[1] * y + c[1] * z,
        a[2] * x + b[2] * y + c[2] * z,
    )


@jit_fused
def _against(a, b, c, g, u, v, w):
    """Products of three vectors with ``g (u, v, w)``."""
    p, q, r = g[0] * u + g[3] * v + g[4] * w, g[3] * u + g[1] * v + g[5] * w, g[4] * u + g[5] * v + g[2] * w
    return (
        a[0] * p + a[1] * q + a[2] * r,
        b[0] * p + b[1] * q + b[2] * r,
        c[0] * p + c[1] * q + c[2] * r,
    )


@jit
def sums_of_places(begin, end, pointers, places, values, out):
    """``out[i] = sum_p values[places[p]]`` over p in ``pointers[i]`` to ``pointers[i + 1] - 1``."""
    for i in range(begin, end):
        total = values[places[pointers[i]]]
        for p in range(pointers[i] + 1, pointers[i + 1]):
            total += values[places[p]]
        out[i] = total


@jit
def fill_places(numbers, start, places):
    """Places in `numbers` (k,) of each unknown, ascending; `start` is a scratch copy of the pointers."""
    for k in range(numbers.shape[0]):
        i = numbers[k]
        places[start[i]] = k
        start[i] += 1
