"""How much of a target value the second order would change, estimated at first order.

Write the second-order system with the first-order one as its corner block, phi and psi for the
first-order solutions of the coil and of the functional. A few steps of conjugate gradients give
``K_ee z = L_e - K_e1 psi``, the edge part of the second-order adjoint with its corners held; the
functional of the second-order field is then, up to products of two errors,

    l(E) = -sum_n dadt(x_n).q_n + z.K_e1 phi,

q the ten-node currents of ``J = w - sigma grad (psi + z)``. Its difference from the first-order value is
the estimate (a dual-weighted residual in a hierarchical basis: Bank and Smith 1993, 10.1137/0730048;
Becker and Rannacher 2001, 10.1017/S0962492901000010).
"""

import numpy as np

from efield.adjoint.current import lumped
from efield.fem.elements import QuadraticElements
from efield.fem.source import coil_dadt
from efield.kernels import sparse
from efield.kernels._jit import run_chunks
from efield.solve.block_cg import dots
from efield.solve.matrix import SparseMatrix

STEPS = 6
"""Jacobi-preconditioned steps: K_ee is well conditioned, whatever the mesh size."""

AT_ONCE = 4
"""Functionals that are corrected at the same time."""

RTOL = 1e-4
"""Relative residual of the adjoints: estimates need no more."""


class EdgeCorrection:
    """Second-order corrections of values on one head prepared at first order.

    Parameters
    ----------
    prepared : PreparedHead
        At first order.
    """

    def __init__(self, prepared):
        self.prepared = prepared
        self.elements = QuadraticElements(
            prepared.geometry, prepared.operators, prepared.head.mesh.ordered.edges
        )
        rows = self.elements.edge_rows(np.float32)
        self.inverse_diagonal = 1.0 / rows.diagonal
        self.rows = SparseMatrix(rows.indptr, rows.indices, rows.data, len(rows.indptr) - 1)

    def of(self, coil, placements, didt, potential, node_dadt, elements, weights):
        """What second order would add to a functional of each of some solved placements.

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
            The functional of each placement, as in :func:`adjoint_currents`.

        Returns
        -------
        (k,) array
        """
        where = self.prepared.tet_position[elements]
        added = np.empty(len(placements))
        for start in range(0, len(placements), AT_ONCE):
            part = slice(start, start + AT_ONCE)
            added[part] = self._added(
                coil,
                placements[part],
                didt,
                np.ascontiguousarray(potential[:, part]),
                node_dadt[:, :, part],
                where,
                np.ascontiguousarray(weights[part]),
            )
        return added

    def _added(self, coil, placements, didt, phi, dadt, where, weights):
        n = len(self.prepared.nodes)
        space = self.prepared.elements
        load = np.stack([self.elements.functional_load(where, w) for w in weights], axis=1)
        psi = self.prepared.solve(np.ascontiguousarray(load[:n]), rtol=RTOL).x
        z = self._solve_edges(load[n:] - self._edge_product(psi))
        from_phi = np.sum(z * self._edge_product(phi), axis=0)
        both = np.concatenate([psi, z])
        added = np.empty(len(weights))
        for k, w in enumerate(weights):
            first = space.current_sources(np.ascontiguousarray(psi[:, k]), where, w)
            second = self.elements.current_sources(np.ascontiguousarray(both[:, k]), where, w)
            corners, midpoints, edges = lumped(second[:, None], self.elements)
            at_midpoints = coil_dadt(self.elements.nodes[n + edges], coil, [placements[k]], didt)[:, :, 0]
            gained = np.sum((corners[:, 0] - first) * dadt[:, :, k]) + np.sum(midpoints[:, 0] * at_midpoints)
            added[k] = from_phi[k] - gained
        return added

    def _edge_product(self, x):
        """``K_e1 x`` of a block at the corners."""
        n, width = len(x), x.shape[1]
        wide = np.zeros((n + self.rows.n_rows, min(w for w in sparse.WIDTHS if w >= width)), np.float32)
        wide[:n, :width] = x - x.mean(axis=0)  # K_e1 does not see a constant, float32 does
        out = np.empty((self.rows.n_rows, wide.shape[1]), np.float32)
        self.rows.times(wide, out)
        return out[:, :width].astype(np.float64)

    def _solve_edges(self, b):
        """`STEPS` steps of conjugate gradients on ``K_ee z = b``."""
        n, n_edges, k = len(self.prepared.nodes), self.rows.n_rows, b.shape[1]
        width = min(w for w in sparse.WIDTHS if w >= k)
        residual = np.zeros((n_edges, width), np.float32)
        residual[:, :k] = b / np.abs(b).max()
        direction = np.zeros((n + n_edges, width), np.float32)  # corners stay 0
        z, product, preconditioned = (np.zeros_like(residual) for _ in range(3))
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
            run_chunks(sparse.update_solution, n_edges, alpha, direction[n:], product, z, residual)
        return z[:, :k].astype(np.float64) * np.abs(b).max()
