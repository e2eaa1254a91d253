"""Small tetrahedral meshes for tests of readers and checks."""

import itertools

import numpy as np

from efield.io.records import MeshRecord


def box_record(n=4, size_mm=100.0, *, jitter=0.0, seed=0):
    """A cube of n^3 cells with 6 tetrahedra each, all positively oriented, nested tags 5, 3, 2.

    The outermost layer of cells is scalp (5), the next CSF (3), the rest grey matter (2).
    """
    ticks = np.linspace(-size_mm / 2, size_mm / 2, n + 1)
    nodes = np.stack(np.meshgrid(ticks, ticks, ticks, indexing="ij"), axis=-1).reshape(-1, 3)
    inner = (np.abs(nodes) < size_mm / 2 - 1e-9).all(axis=1)
    rng = np.random.default_rng(seed)
    nodes[inner] += jitter * size_mm / n * rng.uniform(-0.5, 0.5, (inner.sum(), 3))
    strides = np.array([(n + 1) ** 2, n + 1, 1])
    tets, tags = [], []
    for cell in itertools.product(range(n), repeat=3):
        corner = strides @ cell
        depth = min(min(c, n - 1 - c) for c in cell)
        for path in itertools.permutations(range(3)):
            steps = np.cumsum([0, *strides[list(path)]])
            even = path in ((0, 1, 2), (1, 2, 0), (2, 0, 1))
            tets.append(corner + (steps if even else steps[[0, 2, 1, 3]]))
            tags.append((5, 3, 2)[min(depth, 2)])
    return MeshRecord(nodes, np.array(tets, np.int32), np.array(tags, np.int32))


def signed_volumes(nodes, tets):
    """Plain NumPy volumes."""
    a, b, c, d = (nodes[tets[:, k]] for k in range(4))
    return np.einsum("ij,ij->i", np.cross(b - a, c - a), d - a) / 6


def outer_triangles(record):
    """Faces that occur once, by brute force, as sorted tuples."""
    count = {}
    for tet in record.tets.tolist():
        for face in itertools.combinations(sorted(tet), 3):
            count[face] = count.get(face, 0) + 1
    return sorted(face for face, k in count.items() if k == 1)
