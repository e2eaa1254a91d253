"""How much of a target value the second order would change, estimated at first order.

Write the second-order system with the first-order one as its corner block, phi and psi for the
first-order solutions of the coil and of a functional. A few steps of conjugate gradients give
``K_ee w = F_e - K_e1 phi``, the edge part of the second-order field with its corners held. The functional
of the second-order field then exceeds the first-order one, up to products of two errors, by

    -w.(L_e - K_e1 psi) - sum_e q_e.(dadt at the midpoint - mean of its ends),

q_e the edges' share of the current ``w_t - sigma grad psi`` (a dual-weighted residual in a hierarchical
basis: Bank and Smith 1993, 10.1137/0730048; Becker and Rannacher 2001, 10.1017/S0962492901000010).
What a curved measure (mean |E|) makes of the field's change in each element is added to that.
"""

from dataclasses import dataclass

import numpy as np

from efield.fem.elements import QuadraticElements
from efield.fem.source import coil_dadt, element_field
from efield.kernels import sparse
from efield.kernels._jit import run_chunks
from efield.solve.block_cg import dots
from efield.solve.matrix import SparseMatrix
from efield.units import MM

STEPS = 6
"""Jacobi-preconditioned steps: K_ee is well conditioned, whatever the mesh size."""

RTOL = 1e-4
"""Relative residual of the adjoint: an estimate needs no more."""


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
        edges = prepared.head.mesh.ordered.edges
        self.elements = QuadraticElements(prepared.geometry, prepared.operators, edges)
        rows = self.elements.edge_rows(np.float32)
        self.inverse_diagonal = 1.0 / rows.diagonal
        self.rows = SparseMatrix(rows.indptr, rows.indices, rows.data, len(rows.indptr) - 1)

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
        n, space = len(self.prepared.nodes), self.elements
        ends, where = space.edges.ends, self.prepared.tet_position[elements]
        weights = np.ascontiguousarray(weights)
        k = len(placements)
        straight = 0.5 * (node_dadt[ends[:, 0]] + node_dadt[ends[:, 1]])
        curved = coil_dadt(space.nodes[n:], coil, placements, didt) - straight
        dadt = np.concatenate([node_dadt, np.zeros_like(node_dadt)], axis=2)
        load = space.source_load(np.concatenate([dadt, np.concatenate([straight, curved], axis=2)]))
        w = self._solve_edges(load[n:, :k] - self._edge_product(potential))
        functionals = np.stack([space.functional_load(where, one) for one in weights], axis=1)
        psi = self.prepared.solve(np.ascontiguousarray(functionals[:n]), rtol=RTOL).x
        functional = -np.sum(w * (functionals[n:] - self._edge_product(psi)), axis=0)
        functional -= np.sum(psi * load[:n, k:], axis=0)
        added = []
        for column, edge_dadt, one in zip(w.T, curved.transpose(2, 0, 1), weights, strict=True):
            added.append(self._on_elements(where, column, np.zeros_like(edge_dadt)))
            of_dadt = self._on_elements(where, np.zeros_like(column), edge_dadt)
            functional[len(added) - 1] += np.einsum("m,mc,mc->", self._volumes(elements), one, of_dadt)
        return Correction(functional, np.stack(added))

    def _on_elements(self, where, edge_potential, edge_dadt):
        """Mean of E over tetrahedra, of unknowns and dA/dt of the edges alone."""
        n, mesh = len(self.prepared.nodes), self.prepared.head.mesh.ordered
        potential = np.concatenate([np.zeros(n), edge_potential])
        dadt = np.concatenate([np.zeros((n, 3)), edge_dadt])
        return element_field(mesh, potential, dadt, where, np.arange(len(where)))

    def _volumes(self, elements):
        return self.prepared.head.mesh.volumes_mm3[elements] * MM**3

    def _edge_product(self, x):
        """``K_e1 x`` of a block at the corners."""
        n, width = len(x), x.shape[1]
        wide = np.zeros((n + self.rows.n_rows, _width(width)), np.float32)
        wide[:n, :width] = x - x.mean(axis=0)  # K_e1 does not see a constant, float32 does
        out = np.empty((self.rows.n_rows, wide.shape[1]), np.float32)
        self.rows.times(wide, out)
        return out[:, :width].astype(np.float64)

    def _solve_edges(self, b):
        """`STEPS` steps of conjugate gradients on ``K_ee w = b``."""
        n, n_edges, k = len(self.prepared.nodes), self.rows.n_rows, b.shape[1]
        size, width = np.abs(b).max() or 1.0, _width(k)
        residual = np.zeros((n_edges, width), np.float32)
        residual[:, :k] = b / size
        direction = np.zeros((n + n_edges, width), np.float32)  # corners stay 0
        w, product, preconditioned = (np.zeros_like(residual) for _ in range(3))
        weight = self.inverse_diagonal.astype(np.float32)
        rho = np.full(width, np.inf)
        for _ in range(STEPS):
            run_chunks(sparse.scale_rows, n_edges, weight, residual, preconditioned)
            before, rho = rho, dots(residual, preconditioned)
            beta = np.divide(rho, before, out=np.zeros(width), where=before > 0).astype(np.float32)
            run_chunks(sparse.update_direction, n_edges, preconditioned, beta, direction[n:])
            self.rows.times(direction, product)
            power = dots(direction[n:], product)
            alpha = np.divide(rho, power, out=np.zeros(width), where=power > 0).astype(np.float32)
            run_chunks(sparse.update_solution, n_edges, alpha, direction[n:], product, w, residual)
        return w[:, :k].astype(np.float64) * size


def _width(k):
    """Columns of the narrowest block that holds k."""
    return min(width for width in sparse.WIDTHS if width >= k)
