"""Second order on finer tetrahedra around a target: what is left of a second-order field's error there.

The tetrahedra nearest to the target are cut into eight (Bey 1995, 10.1007/BF02238487). Second-order elements
on the pieces hold every second-order field of the uncut ones, so the difference that they make solves a
problem of its own, ``K w = F - K v``: zero on the surface of the patch within the head, free where the patch
reaches the scalp. It is rough, and a few steps of conjugate gradients find it. Outside the patch the field
keeps its error; the adjoint carries to the target what changes in the patch. dA/dt stays the quadratic
interpolation of the uncut tetrahedra.
"""

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from efield.adjoint.jacobi_cg import jacobi_cg
from efield.fem.assemble import Geometry, assemble
from efield.fem.elements import QuadraticElements
from efield.fem.source import element_field
from efield.kernels import pieces
from efield.kernels._jit import run_chunks, thread_count
from efield.kernels.edges import FIRST_END, SECOND_END
from efield.model.order import OrderedMesh
from efield.solve.matrix import SparseMatrix
from efield.solve.prepared import corner_matrix
from efield.solve.two_level import BlockMatrix

TETS = 100_000
"""Tetrahedra that are cut, at most: on `mni152` those within 40 mm of the target.

With half as many the far half's share, 0.03 % of a value there, is missed. The matrix of their pieces takes
0.4 GB, and making it 0.8 GB."""

SHARE = 16
"""Of a head with few tetrahedra only one in so many is cut, but twice the target's at least."""

LARGEST_TARGET = TETS // 2
"""Tetrahedra of a target beyond which too few would be left around it."""

STEPS = 20
"""Jacobi-preconditioned steps: half as many again move a value by 5e-5, at most 1.5e-4."""

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


def mean_of_ends(ten):
    """(m, 6, ...) means over the ends of edges, of values (m, 4 or more, ...) at corners of tetrahedra."""
    return 0.5 * (ten[:, FIRST_END] + ten[:, SECOND_END])


def _with_midpoints(corners):
    """Values (m, 10, k) at corners and midpoints of values (m, 4, k) at corners, linear between."""
    return np.concatenate([corners, mean_of_ends(corners)], axis=1)


_SHARES = _with_midpoints(_with_midpoints(np.eye(4)[None])[0][_PIECES])
"""(8, 10, 4) barycentric coordinates, in the parent, of the ten nodes of its pieces."""

_APART = np.unique(_SHARES.reshape(-1, 4), axis=0, return_index=True)[1].astype(np.int32)
"""Of those 80 places one for each of the 35 that differ."""

_AT_PIECES = np.concatenate(
    [_SHARES * (2 * _SHARES - 1), 4 * _SHARES[..., FIRST_END] * _SHARES[..., SECOND_END]], axis=-1
).reshape(-1, 10)
"""(80, 10) from values at the ten nodes of a tetrahedron to those of its pieces, one after the other."""


def tets_around(prepared, elements):
    """Tetrahedra of a target and those nearest to it, in solver order, ascending.

    Parameters
    ----------
    prepared : PreparedHead
    elements : (m,) int array
        Of the target, in the head's own order.
    """
    centres = prepared.head.mesh.barycentres_mm
    count = max(min(TETS, len(centres) // SHARE), 2 * len(elements))
    if count >= len(centres):
        return np.arange(len(centres))
    target = centres[elements]
    beyond = np.zeros(len(centres))  # squared distance from the target's box
    for centre, low, high in zip(centres.T, target.min(axis=0), target.max(axis=0), strict=True):
        beyond += np.maximum(np.maximum(low - centre, centre - high), 0.0) ** 2
    enough = min(2 * count, len(centres)) - 1
    near = np.flatnonzero(beyond <= np.partition(beyond, enough)[enough])  # all that the target's box holds
    distance = cKDTree(target).query(centres[near], workers=thread_count())[0]
    return np.sort(prepared.tet_position[near[np.argpartition(distance, count - 1)[:count]]])


@dataclass(frozen=True, eq=False)
class RefinedPatch:
    """Some tetrahedra of a head cut into eight, at second order.

    Attributes
    ----------
    where : (m,) int array
        The uncut tetrahedra, in solver order, ascending.
    ten : (m, 10) int array
        Unknowns of each at second order, as the head numbers them.
    mesh : OrderedMesh
        The pieces, those of the k-th tetrahedron from 8 k on.
    elements : QuadraticElements
        On them.
    stands : (n,) int array
        A place of each unknown among the ten of every piece, one piece after the other.
    matrix : BlockMatrix
        Of the pieces, in float32.
    jacobi : (n,) array
        Inverse of its diagonal; 0 where the solution is held.
    """

    where: np.ndarray
    ten: np.ndarray
    mesh: OrderedMesh
    elements: QuadraticElements
    stands: np.ndarray
    matrix: BlockMatrix
    jacobi: np.ndarray

    @classmethod
    def around(cls, prepared, elements):
        """Around the tetrahedra of a target, see :func:`tets_around`."""
        return cls.of(prepared, tets_around(prepared, elements))

    @classmethod
    def of(cls, prepared, where):
        """Of tetrahedra `where` (m,), in solver order, ascending, of a :class:`PreparedHead`."""
        geo, edges = prepared.geometry, prepared.head.mesh.ordered.edges
        ten = np.concatenate([geo.tets[where], len(geo.nodes) + edges.of_tets[where]], axis=1)
        mesh = _cut(ten, _with_midpoints(geo.nodes[geo.tets[where]]))
        sigma = np.repeat(geo.sigma[where], 8, axis=0)
        fine = Geometry(mesh.nodes, mesh.tets, sigma, mesh.node_order, mesh.tet_order)
        elements = QuadraticElements(fine, assemble(fine), mesh.edges)
        of_pieces = np.concatenate([mesh.tets, np.int32(len(mesh.nodes)) + mesh.edges.of_tets], axis=1)
        corners, rows = corner_matrix(elements), elements.edge_rows(np.float32)
        jacobi = 1.0 / np.concatenate([corners.diagonal(), rows.diagonal])
        jacobi[of_pieces.reshape(-1, 8, 10)[_on_inner_surface(prepared, where)]] = 0.0
        starts = len(_AT_PIECES) * np.arange(len(where), dtype=np.int32)
        stands = np.empty(len(jacobi), np.int32)
        stands[of_pieces.reshape(len(where), -1)[:, _APART]] = starts[:, None] + _APART
        matrix = BlockMatrix.of(SparseMatrix.from_scipy(corners, np.float32), rows)
        return cls(where, ten, mesh, elements, stands, matrix, jacobi)

    def difference(self, potential, dadt):
        """What the pieces add to a second-order potential.

        Parameters
        ----------
        potential : (m, 10) array, V
            Of the uncut tetrahedra: of corners, and of edges beyond the mean of their ends.
        dadt : (m, 10, 3) array, V/m
            At their corners and midpoints.

        Returns
        -------
        (n_unknowns,) array, V
            As the pieces' :class:`QuadraticElements` have it.
        """
        load = self.elements.source_load(self._on_pieces(dadt)[:, :, None])
        residual = np.empty(load.shape, np.float32)
        self.matrix.residual(self._potential(potential), load.astype(np.float32), residual)
        return jacobi_cg(self.matrix.times, self.jacobi, residual[:, 0], STEPS)

    def mean_field(self, difference, where):
        """Mean of ``-grad`` of a difference (m, 3) over uncut tetrahedra `where` of the patch, V/m."""
        place = np.searchsorted(self.where, where)
        if not np.array_equal(self.where[np.minimum(place, len(self.where) - 1)], where):
            raise ValueError("a tetrahedron that is not of the patch")
        first = 8 * place
        own = (first[:, None] + np.arange(8)).ravel()
        nothing = np.zeros((len(difference), 3))
        e_field = element_field(self.mesh, difference, nothing, own, np.arange(len(own)))
        return e_field.reshape(-1, 8, 3).mean(axis=1)  # the pieces' volumes are equal

    def work(self, psi, difference):
        """``int sigma grad psi.grad difference`` over the patch, psi (m, 10) as the potential."""
        difference = difference[:, None].astype(np.float32)
        product = np.empty_like(difference)
        self.matrix.times(difference, product)
        return float(self._potential(psi)[:, 0].astype(np.float64) @ product[:, 0].astype(np.float64))

    def _potential(self, ten):
        """(n_unknowns, 1) float32 of a potential of the uncut tetrahedra (m, 10), less a constant."""
        there = np.concatenate([ten[:, :4], ten[:, 4:] + mean_of_ends(ten)], axis=1)
        there -= there.mean()  # that has no gradient, and would take digits
        out, n = self._on_pieces(there[:, :, None]), len(self.mesh.nodes)
        out[n:] -= self.mesh.edges.means(out)
        return out.astype(np.float32)

    def _on_pieces(self, ten):
        """Values (n_unknowns, k) at nodes and midpoints of the pieces, from (m, 10, k) at the ten nodes."""
        out = np.empty((len(self.jacobi), ten.shape[2]))
        run_chunks(pieces.at_places, len(out), np.ascontiguousarray(ten), _AT_PIECES, self.stands, out)
        return out


def _cut(ten, places):
    """The pieces of tetrahedra of ten nodes (m, 10) at `places` (m, 10, 3), m."""
    used, number = np.unique(ten, return_inverse=True)
    number, nodes = number.reshape(ten.shape), np.empty((len(used), 3))
    nodes[number] = places
    tets = np.ascontiguousarray(number[:, _PIECES].reshape(-1, 4), dtype=np.int32)
    return OrderedMesh(nodes, tets, np.arange(len(nodes)), np.arange(len(tets)))


def _on_inner_surface(prepared, where):
    """(m, 8, 10) bool: nodes of the pieces on faces between the patch and the rest of the head."""
    mesh = prepared.head.mesh
    tets = mesh.ordered.tet_order[where]
    inside = np.zeros(len(mesh.tets), bool)
    inside[tets] = True
    beyond = mesh.face_neighbours[tets]
    held = (beyond != -1) & ((beyond < 0) | ~inside[beyond])
    return np.einsum("ta,pia->tpi", held, _SHARES == 0)
