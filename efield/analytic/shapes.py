"""Meshes of layered spheres and boxes, to compare numerical with closed solutions.

Layer boundaries are shells of nodes, so that no tetrahedron holds two conductivities.
"""

import itertools

import numpy as np
from scipy.spatial import Delaunay

from efield.errors import MeshError
from efield.model.mesh import TetMesh

_GOLDEN = (1 + 5**0.5) / 2


def layered_sphere(radii_mm, tags, edge_mm):
    """Structured mesh of concentric layers.

    The icosahedron's twenty cones are cut into small tetrahedra of nearly one size, then
    each shell of the lattice is moved onto its sphere.

    Parameters
    ----------
    radii_mm : (n_layers,) array
        Outer radius of each layer, ascending.
    tags : (n_layers,) int array
    edge_mm : float
        Edge length aimed at. Layers thinner than that get one tetrahedron across.

    Returns
    -------
    TetMesh

    Raises
    ------
    MeshError
        Radii that do not ascend, one tag a layer missing, an edge that is not positive.
    """
    radii, tags = _checked_layers(radii_mm, tags, edge_mm)
    thickness = np.diff(radii, prepend=0.0)
    steps = np.maximum(1, np.rint(thickness / edge_mm)).astype(int)
    shell_radius = np.concatenate(
        [
            [0.0],
            *(r - d + d * np.arange(1, n + 1) / n for r, d, n in zip(radii, thickness, steps, strict=True)),
        ]
    )
    lattice, cells = _kuhn_simplex(int(steps.sum()))
    weights = -np.diff(lattice, axis=1, append=0)  # of the icosahedron's three vertices
    vertices, faces = _icosahedron()
    full = np.zeros((len(faces), len(lattice), len(vertices)), np.int32)
    for face, vertex_ids in enumerate(faces):
        full[face][:, vertex_ids] = weights
    unique, inverse = np.unique(full.reshape(-1, len(vertices)), axis=0, return_inverse=True)
    directions = unique @ vertices
    directions /= np.maximum(np.linalg.norm(directions, axis=1), 1e-300)[:, None]
    nodes = directions * shell_radius[unique.sum(axis=1)][:, None]
    tets = inverse.reshape(len(faces), len(lattice))[:, cells].reshape(-1, 4)
    layer = np.repeat(np.arange(len(radii)), steps)
    tet_tags = np.tile(tags[layer[lattice[cells, 0].min(axis=1)]], len(faces))
    return _positive(nodes, tets, tet_tags)


def random_layered_sphere(radii_mm, tags, edge_mm, seed=0, *, facet_mm=None):
    """Unstructured mesh of concentric layers: a Delaunay mesh of irregular points.

    Shells, each sampled by its own turned and jittered lattice, bound the layers and cut thick
    ones; a turned and jittered body-centred lattice fills the innermost layer and keeps clear
    of its shell. So the Delaunay mesh contains every shell. Shells near one another are
    sampled more finely than `edge_mm`.

    Parameters
    ----------
    radii_mm, tags, edge_mm
        As for :func:`layered_sphere`.
    seed : int
        The same seed gives the same mesh.
    facet_mm : float, optional
        Edge length on the layers' boundaries; where it is not given, or longer than `edge_mm`, that.
        Straight facets err as their size to the power 1.5 at second order, so those of a series of meshes
        have to shrink as ``edge_mm ** (4 / 3)`` lest they set its rate.

    Returns
    -------
    TetMesh

    Raises
    ------
    MeshError
        As for :func:`layered_sphere`, or a tetrahedron reaches through a shell.
    """
    radii, tags = _checked_layers(radii_mm, tags, edge_mm)
    if facet_mm is not None and not facet_mm > 0:
        raise MeshError(f"facet_mm must be positive, not {facet_mm}")
    rng = np.random.default_rng(seed)
    steps = np.maximum(1, np.rint(np.diff(radii) / edge_mm)).astype(int)
    cuts = [np.linspace(a, b, n + 1)[1:] for a, b, n in zip(radii, radii[1:], steps, strict=False)]
    shell_radius = np.concatenate([radii[:1], *cuts])
    gaps = np.diff(shell_radius, prepend=0.0)
    spacing = np.minimum(edge_mm, 1.1 * np.minimum(gaps, np.append(gaps[1:], np.inf)))
    if facet_mm is not None:
        spacing = np.where(np.isin(shell_radius, radii), np.minimum(spacing, facet_mm), spacing)
    shells = [_shell(r, h, rng) for r, h in zip(shell_radius, spacing, strict=True)]
    core = _filling(radii[0], edge_mm, rng)
    core = core[np.linalg.norm(core, axis=1) < radii[0] - 0.75 * spacing[0]]
    nodes = np.concatenate([*shells, core])
    level = np.repeat([*shell_radius, 0.0], [*map(len, shells), len(core)])

    tets = Delaunay(nodes).simplices
    low, high = level[tets].min(axis=1), level[tets].max(axis=1)
    outer = np.searchsorted(shell_radius, high)
    through = low < np.append(0.0, shell_radius)[outer]
    if through.any():
        raise MeshError(
            f"{np.count_nonzero(through)} tetrahedra reach through a shell at edge_mm={edge_mm}; "
            "choose a smaller edge or layers farther apart"
        )
    return _positive(nodes, tets, tags[np.searchsorted(radii, shell_radius[outer])])


def box(n, size_mm, *, jitter=0.0, seed=0):
    """Box from the origin, each cell of a regular grid cut into six tetrahedra.

    Parameters
    ----------
    n : int or (3,) int
        Cells along each axis.
    size_mm : float or (3,) array
        Edge lengths of the box.
    jitter : float
        Random shift of the inner nodes as a part of the cell, below 0.2, so that nothing
        rests on the regularity of the grid.
    seed : int

    Returns
    -------
    TetMesh, every tag 1

    Raises
    ------
    MeshError
        No cells, a size that is not positive, or a jitter that inverts tetrahedra.
    """
    n = np.broadcast_to(n, 3).astype(int)
    size = np.broadcast_to(np.asarray(size_mm, dtype=np.float64), 3)
    if n.min() < 1 or size.min() <= 0 or not 0 <= jitter < 0.2:
        raise MeshError(f"a box needs n >= 1, size > 0, 0 <= jitter < 0.2; got {n}, {size}, {jitter}")
    grid = np.stack(np.meshgrid(*(np.arange(k + 1) for k in n), indexing="ij"), axis=-1).reshape(-1, 3)
    shift = np.random.default_rng(seed).uniform(-jitter, jitter, grid.shape)
    shift[(grid == 0) | (grid == n)] = 0.0
    stride = np.array([(n[1] + 1) * (n[2] + 1), n[2] + 1, 1])
    corners = grid[np.all(grid < n, axis=1)] @ stride
    tets = corners[:, None, None] + _kuhn_paths() @ stride
    return _positive((grid + shift) * (size / n), tets.reshape(-1, 4), np.ones(6 * len(corners), int))


def _kuhn_paths():
    """(6, 4, 3) corners of the six tetrahedra of a cube that share its diagonal."""
    paths = [np.cumsum([np.zeros(3, int), *np.eye(3, dtype=int)[list(p)]], axis=0)
             for p in itertools.permutations(range(3))]  # fmt: skip
    return np.array(paths)


def _kuhn_simplex(n):
    """Lattice of the simplex ``n >= x >= y >= z >= 0`` and its tetrahedra, as node indices."""
    grid = np.stack(np.meshgrid(*[np.arange(n + 1)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    inside = (grid[:, 0] >= grid[:, 1]) & (grid[:, 1] >= grid[:, 2])
    index = np.full(len(grid), -1)
    index[inside] = np.arange(np.count_nonzero(inside))
    corners = grid[inside & (grid[:, 0] < n)]
    cells = (corners[:, None, None] + _kuhn_paths()).reshape(-1, 4, 3)
    index = index.reshape(n + 1, n + 1, n + 1)[tuple(np.moveaxis(cells, -1, 0))]
    return grid[inside], index[np.all(index >= 0, axis=1)]


def _icosahedron():
    vertices = np.array([p for a in (-1, 1) for b in (-_GOLDEN, _GOLDEN)
                         for p in ((0, a, b), (a, b, 0), (b, 0, a))], dtype=float)  # fmt: skip
    vertices /= np.linalg.norm(vertices[0])
    near = np.linalg.norm(vertices[:, None] - vertices, axis=-1) < 1.2
    faces = [f for f in itertools.combinations(range(12), 3)
             if all(near[a, b] for a, b in itertools.combinations(f, 2))]  # fmt: skip
    return vertices, np.array(faces)


def _random_rotation(rng):
    q, r = np.linalg.qr(rng.standard_normal((3, 3)))
    q *= np.sign(np.diag(r))
    return q * np.sign(np.linalg.det(q))


def _shell(radius, spacing, rng):
    """Irregular points on a sphere, about `spacing` apart."""
    n = max(1, round(1.15 * radius / spacing))
    vertices, faces = _icosahedron()
    i, j = np.mgrid[: n + 1, : n + 1]
    keep = i + j <= n
    weights = np.stack([n - i - j, i, j], axis=-1)[keep]
    points = (weights @ vertices[faces]).reshape(-1, 3)
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    points = points[np.unique(np.round(points, 9), axis=0, return_index=True)[1]]
    points = points @ _random_rotation(rng).T + rng.normal(0, 0.05 / n, points.shape)
    return radius * points / np.linalg.norm(points, axis=1, keepdims=True)


def _filling(radius, edge, rng):
    """Irregular points of a body-centred lattice with mean edge `edge` that covers a ball."""
    cell = edge / 0.92  # edges of its Delaunay mesh are 1 and 0.87 cells
    n = int(np.ceil(radius / cell)) + 1
    corners = np.stack(np.meshgrid(*[np.arange(-n, n + 1.0)] * 3), axis=-1).reshape(-1, 3)
    points = np.concatenate([corners, corners + 0.5]) + rng.random(3)
    return cell * (points + rng.normal(0, 0.04, points.shape)) @ _random_rotation(rng).T


def _checked_layers(radii_mm, tags, edge_mm):
    radii = np.atleast_1d(np.asarray(radii_mm, dtype=np.float64))
    tags = np.atleast_1d(np.asarray(tags, dtype=int))
    if radii.shape != tags.shape or not np.all(np.diff(radii, prepend=0.0) > 0):
        raise MeshError(f"radii {radii.tolist()} mm must ascend, with one tag each, not {tags.tolist()}")
    if not edge_mm > 0:
        raise MeshError(f"edge_mm must be positive, not {edge_mm}")
    return radii, tags


def _positive(nodes, tets, tags):
    """The mesh with every tetrahedron positively oriented and no unused node."""
    used, tets = np.unique(tets, return_inverse=True)
    mesh = TetMesh(nodes[used], tets.reshape(-1, 4), tags)
    flip = mesh.signed_volumes_mm3 < 0
    tets = mesh.tets.copy()
    tets[flip] = tets[flip][:, [0, 2, 1, 3]]
    return TetMesh(mesh.nodes_mm, tets, tags)
