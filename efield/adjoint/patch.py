"""Second order on finer tetrahedra around a target: what is left of a second-order field's error there.

The tetrahedra nearest to the target are cut into eight (Bey 1995, 10.1007/BF02238487). Second-order elements
on the pieces hold every second-order field of the uncut ones, so the difference that they make solves a
problem of its own, ``K w = F - K v``: zero on the surface of the patch within the head, free where the patch
reaches the scalp. It is rough, and a few steps of conjugate gradients find it. Outside the patch the field
keeps its error; the adjoint carries to the target what changes in the patch. dA/dt stays the quadratic
interpolation of the uncut tetrahedra.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.spatial import cKDTree

from efield.adjoint.jacobi_cg import jacobi_cg
from efield.adjoint.lattice import (
    DIAGONAL,
    FROM_TEN,
    LOAD,
    MEAN_SLOPE,
    PLACES,
    SHARES,
    SIX,
    lattice_numbers,
)
from efield.fem.assemble import basis_gradients
from efield.kernels import lattice as kernel
from efield.kernels._jit import run_chunks, thread_count
from efield.model.arrays import row_pointers

SHARE = 16
"""One tetrahedron in so many is cut, but twice the target's at least: on `mni152` those within 40 mm of it.

With half as many the far half's share, 0.03 % of a value there, is missed; so it is with 100,000 of the 3.5
million that `mni152` becomes when its brain is cut to edges of 3.2 mm."""

TETS = 200_000
"""Tetrahedra that are cut, at most."""

LARGEST_TARGET = TETS // 2
"""Tetrahedra of a target beyond which too few would be left around it."""

STEPS = 20
"""Jacobi-preconditioned steps: half as many again move a value by 5e-5, at most 1.5e-4."""

_FULL = [[0, 3, 4], [3, 1, 5], [4, 5, 2]]
"""Of xx, yy, zz, xy, xz, yz."""


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
    """Some tetrahedra of a head cut into eight, at second order; the matrix is never assembled.

    Attributes
    ----------
    where : (m,) int array
        The uncut tetrahedra, in solver order, ascending.
    ten : (m, 10) int array
        Unknowns of each at second order, as the head numbers them.
    numbers : (35, m) int32 array
        Unknowns of each cut tetrahedron, see :mod:`efield.adjoint.lattice`.
    shared : (35, m) bool array
        Those that tetrahedra outside the patch have too: there the solution is held at zero.
    gradients : (m, 3, 3) array, 1/m
        Of the first three barycentric coordinates of each.
    fluxes : (m, 3, 3) array, S m
        ``V sigma`` times these.
    """

    where: np.ndarray
    ten: np.ndarray
    numbers: np.ndarray
    shared: np.ndarray
    gradients: np.ndarray
    fluxes: np.ndarray

    @classmethod
    def around(cls, prepared, elements):
        """Around the tetrahedra of a target, see :func:`tets_around`."""
        return cls.of(prepared, tets_around(prepared, elements))

    @classmethod
    def of(cls, prepared, where):
        """Of tetrahedra `where` (m,), in solver order, ascending, of a :class:`PreparedHead`."""
        geo, edges = prepared.geometry, prepared.head.mesh.ordered.edges
        tets = geo.tets[where]
        gradients, volumes = basis_gradients(geo.nodes, tets)
        gradients = np.ascontiguousarray(gradients[:, :3])
        sigma = geo.sigma[where][:, _FULL] * volumes[:, None, None]
        return cls(
            where,
            np.concatenate([tets, len(geo.nodes) + edges.of_tets[where]], axis=1),
            *lattice_numbers(prepared, where),
            gradients,
            np.einsum("tcd,tbd->tbc", sigma, gradients),
        )

    @cached_property
    def jacobi(self):
        """(n,) inverse of the matrix's diagonal; 0 where the solution is held."""
        out = 1.0 / self._summed(DIAGONAL.astype(np.float32) @ self._products)
        out[self.numbers[self.shared]] = 0.0
        return out

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
        (n,) array, V
            At the corners of pieces, elsewhere beyond the mean over the ends of a piece's edge.
        """
        through = np.einsum("tmc,tbc->mbt", dadt, self.fluxes).reshape(LOAD.shape[1], -1)
        load = self._summed((LOAD @ through).astype(np.float32))
        return jacobi_cg(self._times, self.jacobi, load - self._product(self._on_pieces(potential)), STEPS)

    def mean_field(self, difference, where):
        """Mean (k, 3) of ``-grad`` of a difference (n,) over tetrahedra `where` (k,) of the patch, V/m."""
        place = np.searchsorted(self.where, where)
        if not np.array_equal(self.where[np.minimum(place, len(self.where) - 1)], where):
            raise ValueError("a tetrahedron that is not of the patch")
        slopes = MEAN_SLOPE @ difference[self.numbers[:, place]]
        return -np.einsum("bt,tbc->tc", slopes, self.gradients[place])

    def work(self, psi, difference):
        """``int sigma grad psi.grad difference`` over the patch, psi (m, 10) as the potential."""
        product = self._product(difference.astype(np.float32))
        return float(self._on_pieces(psi).astype(np.float64) @ product.astype(np.float64))

    def _on_pieces(self, ten):
        """A potential of the uncut tetrahedra (m, 10), less a constant, as a difference is given; float32."""
        ten = ten.copy()
        ten[:, :4] -= ten[:, :4].mean()  # that has no gradient, and would take digits
        out = np.empty(self._size, np.float32)
        out[self.numbers] = FROM_TEN @ ten.T
        return out

    def _product(self, x):
        out = np.empty_like(x)
        self._times(x, out)
        return out

    def _times(self, x, out):
        """``out = K x``, both (n,) float32."""
        arguments = self.numbers, self._products, PLACES, SHARES.astype(np.float32), x, self._parts
        run_chunks(kernel.tet_products, len(self.where), *arguments, block=kernel.BLOCK)
        run_chunks(kernel.sums_of_places, len(out), *self._standing, self._parts.ravel(), out)

    def _summed(self, parts):
        """(n,) sums over tetrahedra of what each gives to its unknowns, (35, m)."""
        out = np.empty(self._size, parts.dtype)
        run_chunks(kernel.sums_of_places, len(out), *self._standing, parts.ravel(), out)
        return out

    @cached_property
    def _size(self):
        return int(self.numbers[-1, -1]) + 1

    @cached_property
    def _standing(self):
        """Pointers and places of each unknown in `numbers`."""
        numbers = self.numbers.ravel()
        pointers, places = row_pointers(np.bincount(numbers)), np.empty(len(numbers), np.int32)
        kernel.fill_places(numbers, pointers[:-1].copy(), places)
        return pointers, places

    @cached_property
    def _products(self):
        """(6, m) ``V / 160 g_a.(sigma g_b)``: 00, 11, 22, 01, 02, 12."""
        a, b = SIX
        return np.einsum("tkc,tkc->kt", self.gradients[:, a], self.fluxes[:, b]).astype(np.float32) / 160

    @cached_property
    def _parts(self):
        """Scratch of the products."""
        return np.empty(self.numbers.shape, np.float32)
