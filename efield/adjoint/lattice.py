"""Tetrahedra cut into eight at second order: the constants of one, and the numbers of its unknowns.

Corners and midpoints of the pieces are the 35 points whose barycentric coordinates are quarters: 4 corners,
3 on each edge, 3 on each face, 1 inside. A function on the pieces is its values at their corners (the
tetrahedron's own corners and midpoints) and at the other points what it exceeds the mean over the ends of
a piece's edge by. The tetrahedron's own second-order functions are given likewise: values at four corners,
excesses at six midpoints.
"""

import numpy as np

from efield.kernels.edges import FIRST_END, SECOND_END

# The eight pieces: four corners, four of the octahedron between, around its diagonal from edge 02 to 13.
_PIECES = np.array(
    [
        [0, 4, 5, 6],
        [4, 1, 7, 8],
        [5, 7, 2, 9],
        [6, 8, 9, 3],
        [4, 5, 6, 8],
        [4, 5, 7, 8],
        [5, 6, 8, 9],
        [5, 7, 8, 9],
    ]
)

_OF_FACE = np.array([[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]])
"""Corners of the face opposite each corner."""


def _points():
    corners = 4 * np.eye(4, dtype=int)
    edges = [
        (corners[a] * (3 - k) + corners[b] * (1 + k)) // 4
        for a, b in zip(FIRST_END, SECOND_END, strict=True)
        for k in range(3)
    ]
    faces = [(corners[face].sum(axis=0) + corners[a]) // 4 for face in _OF_FACE for a in face]
    return np.array([*corners, *edges, *faces, np.ones(4, int)])


POINTS = _points()
"""(35, 4) barycentric coordinates in quarters: corners, edges from their first end on, faces (the points
towards each of their corners), inside."""

_EDGES, _FACES, _INSIDE = 4, 22, 34
"""Where those begin."""


def _number(quarters):
    """Place among `POINTS` of barycentric coordinates (..., 4) in quarters."""
    return np.all(quarters[..., None, :] == POINTS, axis=-1).argmax(axis=-1)


def _second_order(shares):
    """(..., 10) values at barycentric coordinates (..., 4) of the ten second-order functions."""
    return np.concatenate([shares, 4 * shares[..., FIRST_END] * shares[..., SECOND_END]], axis=-1)


_TEN = np.concatenate([POINTS[:4], (POINTS[list(FIRST_END)] + POINTS[list(SECOND_END)]) // 2])
_CORNERS = _TEN[_PIECES]
"""(8, 4, 4) in quarters."""

PLACES = _number(np.concatenate([_CORNERS, (_CORNERS[:, FIRST_END] + _CORNERS[:, SECOND_END]) // 2], axis=1))
"""(8, 10) points at the corners and midpoints of each piece."""

_GRADIENTS = np.linalg.inv(_CORNERS / 4).swapaxes(1, 2).round()
SHARES = _GRADIENTS[:, :, :3] - _GRADIENTS[:, :, 3:]
"""(8, 4, 3) a piece's gradients of its barycentric coordinates, in the tetrahedron's first three."""


def _from_ten():
    values = _second_order(POINTS / 4)
    out = values.copy()
    for places in PLACES:
        out[places[4:]] = (
            values[places[4:]] - (values[places[[*FIRST_END]]] + values[places[[*SECOND_END]]]) / 2
        )
    return out


FROM_TEN = _from_ten()
"""(35, 10) from a second-order function to the same on the pieces."""


def _slopes():
    value = np.eye(len(POINTS))[PLACES]
    slopes = np.zeros((8, 4, 3, len(POINTS)))  # x_a - x_v + 4 h_va, times the gradient of l_a
    for e, (v, a) in enumerate(zip(FIRST_END, SECOND_END, strict=True)):
        for here, other in ((v, a), (a, v)):
            along = value[:, other] - value[:, here] + 4 * value[:, 4 + e]
            slopes[:, here] += SHARES[:, other, :, None] * along[:, None, :]
    return slopes


_SLOPES = _slopes()
"""(8, 4, 3, 35) the gradient at a piece's corners, in the tetrahedron's first three gradients."""

MEAN_SLOPE = _SLOPES.mean(axis=(0, 1))
"""(3, 35) its mean over the tetrahedron."""

SIX = (0, 1, 2, 0, 0, 1), (0, 1, 2, 1, 2, 2)
"""Rows and columns of a symmetric product of three gradients, as kept."""


def _diagonal():
    mass = np.ones((4, 4)) + np.eye(4)
    full = np.einsum("vw,pvan,pwbn->nab", mass, _SLOPES, _SLOPES)
    return full[:, *SIX] * np.where(np.equal(*SIX), 1, 2)


DIAGONAL = _diagonal()
"""(35, 6) the diagonal of K of a tetrahedron, from ``V / 160 g_a.(sigma g_b)``."""


def _load():
    # int l_v times the nodal functions, over V: -1/60 of other corners, 1/15 of edges that end there, 1/30
    corner = (np.eye(4) - 1) / 60
    ends = np.eye(4)[:, [*FIRST_END]] + np.eye(4)[:, [*SECOND_END]]
    moment = np.concatenate([corner, (1 + ends) / 30], axis=1)
    shares = POINTS[PLACES] / 4
    nodal = np.concatenate([shares * (2 * shares - 1), _second_order(shares)[..., 4:]], axis=-1)
    return -np.einsum("pvbn,vk,pkm->nmb", _SLOPES, moment, nodal).reshape(len(POINTS), -1) / 8


LOAD = _load()
"""(35, 10 x 3) ``-int sigma dadt.grad N`` from ``V g_b.(sigma dadt)`` of its values at ten nodes."""


def lattice_numbers(prepared, where):
    """Unknowns (35, m) int32 of tetrahedra, and which of them others of the head have too, (35, m) bool.

    Parameters
    ----------
    prepared : PreparedHead
    where : (m,) int array
        In solver order, ascending.
    """
    geo, edges = prepared.geometry, prepared.head.mesh.ordered.edges
    tets, of_edges = geo.tets[where], edges.of_tets[where]
    used = np.zeros(len(geo.nodes), bool)
    used[tets] = True
    beside = used[geo.tets].any(axis=1)
    beside[where] = False
    numbers = np.empty((len(POINTS), len(where)), np.int32)
    shared = np.zeros(numbers.shape, bool)

    numbers[:_EDGES] = _counted(used)[tets.T]
    shared[:_EDGES] = _marked(len(geo.nodes), geo.tets[beside])[tets.T]
    count = int(used.sum())

    used = _marked(len(edges.ends), of_edges)
    along = count + 3 * _counted(used)[of_edges]
    backwards = tets[:, FIRST_END] > tets[:, SECOND_END]
    elsewhere = _marked(len(edges.ends), edges.of_tets[beside])[of_edges.T]
    for k in range(3):
        numbers[_EDGES + k : _FACES : 3] = (along + np.where(backwards, 2 - k, k)).T
        shared[_EDGES + k : _FACES : 3] = elsewhere
    count += 3 * int(used.sum())

    face, n_faces, outside = _faces(prepared, where)
    for a, corners in enumerate(_OF_FACE):
        own = tets[:, corners]
        for k in range(3):
            rank = np.sum(own[:, k, None] > own, axis=1)
            numbers[_FACES + 3 * a + k] = count + 3 * face[:, a] + rank
            shared[_FACES + 3 * a + k] = outside[:, a]
    count += 3 * n_faces
    numbers[_INSIDE] = count + np.arange(len(where))
    return numbers, shared


def _faces(prepared, where):
    """Numbers (m, 4) of the faces of tetrahedra, how many there are, and which (m, 4) others have too."""
    mesh, m = prepared.head.mesh, len(where)
    own = mesh.ordered.tet_order[where]
    row = np.full(len(mesh.tets) + 2, -1)  # -1 and -2 are no tetrahedra
    row[own] = np.arange(m)
    neighbours = mesh.face_neighbours[own]
    beyond = row[neighbours]
    first = (beyond < 0) | (beyond > np.arange(m)[:, None])
    number = np.full((m, 4), -1)
    number[first] = np.arange(np.count_nonzero(first))
    tet, face = np.nonzero(~first)
    there = beyond[tet, face]
    number[tet, face] = number[there, np.argmax(beyond[there] == tet[:, None], axis=1)]
    return number, np.count_nonzero(first), (beyond < 0) & (neighbours != -1)


def _marked(n, which):
    out = np.zeros(n, bool)
    out[which] = True
    return out


def _counted(used):
    """Numbers of those that are used."""
    return np.cumsum(used, dtype=np.int32) - 1
