"""How much of a target value finer elements would change.

First order to second: write the second-order system with the first-order one as its corner block, phi and psi
for the first-order solutions of the coil and of a functional. A few steps of conjugate gradients give
``K_ee w = F_e - K_e1 phi``, the edge part of the second-order field with its corners held (dA/dt is linear
between the nodes in F_e); the first-order solver the corners' answer, ``K_11 delta = -K_1e w`` and what
dA/dt at the midpoints does to them; and a few more steps what the edges make of that. All this changes the
mean field of each tetrahedron, as does dA/dt at the midpoints. The functional of the second-order field
exceeds that of the first-order one, up to products of two errors, by what these changes do against the
functional's own current, ``sum_t V (w_t - sigma grad psi).change_t`` (a dual-weighted residual in a
hierarchical basis: Bank and Smith 1993, SIAM J. Numer. Anal. 30; Becker and Rannacher 2001,
10.1017/S0962492901000010).
Second order to finer tetrahedra: the same with the difference that they make around the target
(:mod:`efield.adjoint.patch`). A first-order field takes both steps, one after the other.
What a curved measure (mean |E|) makes of the field's change in each element is added to that.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from efield.adjoint.jacobi_cg import jacobi_cg
from efield.adjoint.patch import RefinedPatch
from efield.fem.assemble import basis_gradients
from efield.fem.edge_part import EdgePart
from efield.fem.source import coil_dadt
from efield.kernels.edges import FIRST_END, SECOND_END
from efield.units import MM

STEPS = 2, 3
"""Jacobi-preconditioned steps on the edges before and after the corners' answer.

K_ee is well conditioned, whatever the mesh size, and the patch makes up for what they leave near the target:
with four and four corrected values are as far from a refined head's, to 1e-4 (docs/validation.md)."""

RTOL = 1e-2
"""Relative residual of the adjoint and of the corners' answer: against 1e-3 a correction moves by 2e-5 and
1e-6 of the value at most (scripts not kept)."""

MIDPOINTS = 2**18
"""Midpoints at which dA/dt is summed at once."""


CURVED_MM = 80.0
"""Within this of a target dA/dt at midpoints is summed; farther out its mean over the ends is taken.

There the difference changes a value by 6e-6 (`mni152`); within, by up to 2e-4."""


@dataclass(frozen=True, eq=False)
class Correction:
    """What finer elements would add to fields, step by step: second order where the fields are of first,
    then finer tetrahedra around the target.

    Attributes
    ----------
    functional : (k, n_steps) array
        To each functional.
    e_field : (k, n_steps, m, 3) array, V/m
        To the mean of E over each of the elements.
    """

    functional: np.ndarray
    e_field: np.ndarray


class Corrections:
    """Corrections to fields of one head on one target.

    Parameters
    ----------
    prepared : PreparedHead
        Of either order.
    elements : (m,) int array
        The target's, in the head's own order.
    """

    def __init__(self, prepared, elements):
        self.prepared = prepared
        self.where = prepared.tet_position[elements]
        self.volumes = prepared.head.mesh.volumes_mm3[elements] * MM**3
        self.elements = elements

    @cached_property
    def patch(self):
        """Cut when it is first asked for, after the edges' step: then its arrays are gone."""
        return RefinedPatch.around(self.prepared, self.elements)

    def of(self, coil, placements, didt, potential, node_dadt, weights, start=None):
        """Corrections of up to a block of solved placements, a functional for each.

        Parameters
        ----------
        coil : Coil
        placements : sequence of Placement, k of them
        didt : float, A/s
        potential : (n, k) array, V
        node_dadt : (n, 3, k) array, V/m
            The solutions, as of :class:`efield.forward.SolvedBatch`.
        weights : (k, m, 3) array
            The functional of each placement, as in :func:`efield.adjoint.current.adjoint_currents`.
        start : (n, k) array, optional
            What the adjoint solver begins with.

        Returns
        -------
        Correction
        """
        space, one = self.prepared.elements, np.ascontiguousarray
        loads = [space.functional_load(self.where, one(own)) for own in weights]
        psi = self.prepared.solve(np.stack(loads, axis=1), rtol=RTOL, start=start).x
        steps, solved = [[] for _ in placements], []
        for k in range(len(steps)):
            solved.append(Solution(one(potential[:, k]), one(node_dadt[:, :, k]), one(psi[:, k])))
        if self.prepared.element_order == 1:
            solved = self._at_second_order(coil, placements, didt, solved, loads, steps)
        for own, solution in zip(steps, solved, strict=True):
            difference = self.patch.difference(*solution.at_ten(self.patch.ten))
            work = self.patch.work(solution.adjoint_at_ten(self.patch.ten), difference)
            own.append((self.patch.mean_field(difference, self.where), work))
        e_field = np.stack([[change for change, _ in own] for own in steps])
        direct = np.einsum("m,kmc,ksmc->ks", self.volumes, weights, e_field)
        return Correction(direct + np.array([[indirect for _, indirect in own] for own in steps]), e_field)

    def _at_second_order(self, coil, placements, didt, solved, loads, steps):
        """Solutions of second order; `steps` get what it adds to E (m, 3) and ``-int sigma grad psi.E``."""
        edges, raised = EdgeStep(self.prepared, self.elements), []
        held = [
            edges.added(coil, placement, first, didt)
            for placement, first in zip(placements, solved, strict=True)
        ]
        corners = edges.answer_of_corners(held)
        for first, (potential, dadt), corner, load, own in zip(
            solved, held, corners.T, loads, steps, strict=True
        ):
            moved = replace(first, potential=first.potential + corner)
            potential = edges.settled(moved, potential)
            mean = edges.part.mean_field(potential, dadt, self.where) - self._gradient(corner)
            # K_11 psi = load: for every change of the corners the functional and the work cancel
            own.append((mean, load @ corner - first.psi @ edges.part.corner_loads(potential, dadt)))
            raised.append(RaisedSolution(moved, potential, dadt))
        return raised

    def _gradient(self, potential):
        """Gradient (m, 3) of a potential at the nodes, on the elements."""
        geo = self.prepared.geometry
        tets = geo.tets[self.where]
        return np.einsum("tac,ta->tc", basis_gradients(geo.nodes, tets)[0], potential[tets])


@dataclass(frozen=True, eq=False)
class Solution:
    """A second-order solution of a coil and of a functional.

    Attributes
    ----------
    potential, psi : (n,) array
        Of corners, and of edges beyond the mean of their ends.
    dadt : (n, 3) array, V/m
        At corners and midpoints.
    """

    potential: np.ndarray
    dadt: np.ndarray
    psi: np.ndarray

    def at_ten(self, ten):
        """Potential (m, 10) and dA/dt (m, 10, 3) of tetrahedra by the numbers of their ten nodes (m, 10)."""
        return self.potential[ten], self.dadt[ten]

    def adjoint_at_ten(self, ten):
        """psi (m, 10) likewise."""
        return self.psi[ten]


@dataclass(frozen=True, eq=False)
class RaisedSolution:
    """A first-order solution whose corners moved, with what second order adds at edges; psi has none."""

    first: Solution
    more_potential: np.ndarray
    more_dadt: np.ndarray

    def at_ten(self, ten):
        """As of :class:`Solution`."""
        edges, (potential, dadt) = self._edges(ten), self.first.at_ten(ten[:, :4])
        midpoints = 0.5 * (dadt[:, FIRST_END] + dadt[:, SECOND_END]) + self.more_dadt[edges]
        potential = np.concatenate([potential, self.more_potential[edges]], axis=1)
        return potential, np.concatenate([dadt, midpoints], axis=1)

    def adjoint_at_ten(self, ten):
        """As of :class:`Solution`."""
        return np.concatenate([self.first.psi[ten[:, :4]], np.zeros((len(ten), 6))], axis=1)

    def _edges(self, ten):
        return ten[:, 4:] - len(self.first.potential)


class EdgeStep:
    """From first order to second, on one head prepared at first order.

    Parameters
    ----------
    prepared : PreparedHead
        At first order.
    elements : (m,) int array
        The target's, in the head's own order.
    """

    def __init__(self, prepared, elements):
        self.prepared = prepared
        target = prepared.head.mesh.barycentres_mm[elements]
        self._centre = target.mean(axis=0) * MM
        self._reach = np.linalg.norm(target * MM - self._centre, axis=1).max() + CURVED_MM * MM
        self.part = EdgePart(prepared.geometry, prepared.head.mesh.ordered.edges)

    def added(self, coil, placement, first, didt):
        """What second order adds at each edge: to the potential (n_edges,), V, to dA/dt (n_edges, 3), V/m.

        Both beyond the mean of the edge's ends; the potential of `first`, a :class:`Solution`, is held.
        """
        load = self.part.residual_loads(first.potential, first.dadt)
        return self._solved(load, STEPS[0]), self._curved_dadt(coil, placement, didt, first.dadt)

    def answer_of_corners(self, added):
        """Change (n, k) of the potential at the nodes that k results of :meth:`added` entail, V."""
        loads = np.stack([self.part.corner_loads(*one) for one in added], axis=1)
        return self.prepared.solve(loads, rtol=RTOL).x

    def settled(self, moved, potential):
        """The edges' potential (n_edges,) for a :class:`Solution` whose corners moved, from what it was."""
        known = np.empty(len(potential), np.float32)
        self.part.times(potential.astype(np.float32), known)
        load = self.part.residual_loads(moved.potential, moved.dadt) - known
        return potential + self._solved(load, STEPS[1])

    def _solved(self, load, steps):
        return jacobi_cg(self.part.times, self._inverse_diagonal, load, steps)

    @cached_property
    def _inverse_diagonal(self):
        return (1.0 / self.part.diagonal).astype(np.float32)

    def _curved_dadt(self, coil, placement, didt, node_dadt):
        """By how much dA/dt (n_edges, 3) at midpoints differs from the mean of the ends, V/m."""
        nodes, out = self.prepared.geometry.nodes, np.zeros((len(self.part), 3), np.float32)
        inside = np.sum((nodes - self._centre) ** 2, axis=1) < self._reach**2
        near = np.flatnonzero(inside[self.part.edges.ends].any(axis=1))
        for begin in range(0, len(near), MIDPOINTS):
            some = near[begin : begin + MIDPOINTS]
            a, b = self.part.edges.ends[some].T
            there = coil_dadt(0.5 * (nodes[a] + nodes[b]), coil, [placement], didt)[:, :, 0]
            out[some] = there - 0.5 * (node_dadt[a] + node_dadt[b])
        return out
