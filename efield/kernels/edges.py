"""Edges of a tetrahedral mesh, numbered by their smaller node, then by their larger one.

Where nodes follow a space-filling curve, so do the edges.
"""

from efield.kernels._jit import jit

FIRST_END = (0, 0, 0, 1, 1, 2)
SECOND_END = (1, 2, 3, 2, 3, 3)
"""Local nodes of a tetrahedron's six edges."""


@jit
def count_edge_ends(tets, count):
    """Number of (tetrahedron, edge) pairs whose smaller node is each node; `count` starts as zeros."""
    for t in range(tets.shape[0]):
        for e in range(6):
            count[min(tets[t, FIRST_END[e]], tets[t, SECOND_END[e]])] += 1


@jit
def fill_edge_ends(tets, start, ends):
    """Larger node of each such pair, grouped by the smaller; `start` is a scratch copy of the pointers."""
    for t in range(tets.shape[0]):
        for e in range(6):
            i, j = tets[t, FIRST_END[e]], tets[t, SECOND_END[e]]
            low = min(i, j)
            ends[start[low]] = max(i, j)
            start[low] += 1


@jit
def sort_unique(begin, end, pointers, ends, count):
    """Sort each node's row of `ends`, its different entries first, and count these."""
    for i in range(begin, end):
        first = pointers[i]
        fill = first
        for p in range(first, pointers[i + 1]):
            j = ends[p]
            k = fill
            while k > first and ends[k - 1] > j:
                k -= 1
            if k > first and ends[k - 1] == j:
                continue
            for q in range(fill, k, -1):
                ends[q] = ends[q - 1]
            ends[k] = j
            fill += 1
        count[i] = fill - first


@jit
def pack_edges(begin, end, pointers, ends, indptr, edges):
    """The different entries of each row as edges (n_edges, 2)."""
    for i in range(begin, end):
        for k in range(indptr[i + 1] - indptr[i]):
            edges[indptr[i] + k, 0] = i
            edges[indptr[i] + k, 1] = ends[pointers[i] + k]


@jit
def edges_of_tets(begin, end, tets, indptr, edges, out):
    """Numbers (n_tets, 6) of the edges of each tetrahedron."""
    for t in range(begin, end):
        for e in range(6):
            i, j = tets[t, FIRST_END[e]], tets[t, SECOND_END[e]]
            low, high = min(i, j), max(i, j)
            p = indptr[low]
            while edges[p, 1] != high:
                p += 1
            out[t, e] = p


@jit
def count_edge_tets(tet_edges, count):
    """Number of tetrahedra at each edge; `count` starts as zeros."""
    for t in range(tet_edges.shape[0]):
        for e in range(6):
            count[tet_edges[t, e]] += 1


@jit
def fill_edge_tets(tet_edges, start, edge_tets):
    """Tetrahedra at each edge, ascending; `start` is a scratch copy of the row pointers."""
    for t in range(tet_edges.shape[0]):
        for e in range(6):
            k = tet_edges[t, e]
            edge_tets[start[k]] = t
            start[k] += 1


@jit
def means_of_ends(begin, end, ends, values, out):
    """``out[e] = (values[a] + values[b]) / 2`` for edges e from a to b; `values` is (n, k)."""
    for e in range(begin, end):
        a, b = ends[e, 0], ends[e, 1]
        for c in range(values.shape[1]):
            out[e, c] = (values[a, c] + values[b, c]) / 2
