"""How much of a target value the second order would change, estimated at first order.

Write the second-order system with the first-order one as its corner block, phi and psi for the
first-order solutions of the coil and of a functional. A few steps of conjugate gradients give
``K_ee w = F_e - K_e1 phi``, the edge part of the second-order field with its corners held. It changes the
mean field of each tetrahedron, as does dA/dt at the midpoints. The functional of the second-order field
exceeds that of the first-order one, up to products of two errors, by what these changes do against the
functional's own current, ``sum_t V (w_t - sigma grad psi).change_t`` (a dual-weighted residual in a
hierarchical basis: Bank and Smith 1993, 10.1137/0730048; Becker and Rannacher 2001,
10.1017/S0962492901000010).
What a curved measure (mean |E|) makes of the field's change in each element is added to that.
"""

from dataclasses import dataclass

import numpy as np

from efield.fem.edge_part import EdgePart
from efield.fem.source import coil_dadt
from efield.kernels import sparse
from efield.kernels._jit import run_chunks
from efield.solve.block_cg import dots
from efield.units import MM

STEPS = 6
"""Jacobi-preconditioned steps: K_ee is well conditioned, whatever the mesh size."""

RTOL = 1e-4
"""Relative residual of the adjoint: an estimate needs no more."""

MIDPOINTS = 2**18
"""Midpoints at which dA/dt is summed at once."""


@dataclass(frozen=True, eq=False)
class Correction:
    """What second order would add to a first-order field.

    Attributes
    ----------
    functional : (k,) array
        To each functional.
    e_field : (k, m, 3) array, V/m
        To the mean of E over each of the elements, corners held.
    """

    functional: np.ndarray
    e_field: np.ndarray


class EdgeCorrection:
    """Second-order corrections on one head prepared at first order.

    Parameters
    ----------
    prepared : PreparedHead
        At first order.
    """

    def __init__(self, prepared):
        self.prepared = prepared
        self.edges = EdgePart(prepared.geometry, prepared.head.mesh.ordered.edges)

    def of(self, coil, placements, didt, potential, node_dadt, elements, weights):
        """Corrections of up to 16 solved placements, a functional for each.

        Parameters
        ----------
        coil : Coil
        placements : sequence of Placement, k of them
        didt : float, A/s
        potential : (n, k) array, V
        node_dadt : (n, 3, k) array, V/m
            The first-order solutions.
        elements : (m,) int array
            In the head's own order.
        weights : (k, m, 3) array
            The functional of each placement, as in :func:`efield.adjoint.current.adjoint_currents`.

        Returns
        -------
        Correction
        """
        where, volumes = self.prepared.tet_position[elements], self._volumes(elements)
        loads = [self.prepared.elements.functional_load(where, np.ascontiguousarray(one)) for one in weights]
        psi = self.prepared.solve(np.stack(loads, axis=1), rtol=RTOL).x
        functional, e_field = [], []
        for k, (placement, one) in enumerate(zip(placements, weights, strict=True)):
            v, dadt = np.ascontiguousarray(potential[:, k]), np.ascontiguousarray(node_dadt[:, :, k])
            added = (
                self._solve_edges(self.edges.residual_loads(v, dadt)),
                self._curved_dadt(coil, placement, didt, dadt),
            )
            e_field.append(self.edges.mean_field(*added, where))
            direct = np.einsum("m,mc,mc->", volumes, one, e_field[-1])
            functional.append(direct - self.edges.work(np.ascontiguousarray(psi[:, k]), *added))
        return Correction(np.array(functional), np.stack(e_field))

    def _volumes(self, elements):
        return self.prepared.head.mesh.volumes_mm3[elements] * MM**3

    def _curved_dadt(self, coil, placement, didt, node_dadt):
        """By how much dA/dt (n_edges, 3) at midpoints differs from the mean of the ends, V/m."""
        nodes, out = self.prepared.geometry.nodes, np.empty((len(self.edges), 3), np.float32)
        for begin in range(0, len(out), MIDPOINTS):
            a, b = self.edges.edges.ends[begin : begin + MIDPOINTS].T
            there = coil_dadt(0.5 * (nodes[a] + nodes[b]), coil, [placement], didt)[:, :, 0]
            out[begin : begin + MIDPOINTS] = there - 0.5 * (node_dadt[a] + node_dadt[b])
        return out

    def _solve_edges(self, b):
        """`STEPS` steps of conjugate gradients on ``K_ee w = b``, (n_edges,)."""
        n, size = len(b), np.abs(b).max() or 1.0
        residual = (b / size).astype(np.float32)[:, None]
        direction, w, product, preconditioned = (np.zeros_like(residual) for _ in range(4))
        weight, rho = (1.0 / self.edges.diagonal).astype(np.float32), np.full(1, np.inf)
        for _ in range(STEPS):
            run_chunks(sparse.scale_rows, n, weight, residual, preconditioned)
            before, rho = rho, dots(residual, preconditioned)
            beta = np.divide(rho, before, out=np.zeros(1), where=before > 0).astype(np.float32)
            run_chunks(sparse.update_direction, n, preconditioned, beta, direction)
            self.edges.times(direction[:, 0], product[:, 0])
            power = dots(direction, product)
            alpha = np.divide(rho, power, out=np.zeros(1), where=power > 0).astype(np.float32)
            run_chunks(sparse.update_solution, n, alpha, direction, product, w, residual)
        return w[:, 0] * size
