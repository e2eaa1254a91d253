"""Tetrahedra of ten nodes cut into pieces: values on the pieces from those at the ten nodes."""

from efield.kernels._jit import jit


@jit
def at_places(begin, end, ten, shares, stands, out):
    """``out[i] = sum_a shares[p, a] ten[t, a]``, place i being place p of tetrahedron t.

    ``stands[i] = t n_places + p``; `shares` is (n_places, 10), `ten` (m, 10, k), `out` (n, k).
    """
    n_places, n_nodes = shares.shape
    for i in range(begin, end):
        t, p = stands[i] // n_places, stands[i] % n_places
        for col in range(out.shape[1]):
            total = 0.0
            for a in range(n_nodes):
                total += shares[p, a] * ten[t, a, col]
            out[i, col] = total
