"""From target functionals to the currents whose magnetic field answers every coil.

For ``l(E) = sum_t V_t w_t.E_t`` solve ``K psi = sum_t V_t w_t.grad`` and form the current
``J = w - sigma grad psi``. With the node rule for dA/dt the functional of the field that a
coil induces is ``-sum_n dadt(x_n).q_n``, ``q_n = sum_t V_t J_t / 4``, and for magnetic dipoles
``l(E) = -sum_j (dm_j/dt).B_q(r_j)`` with ``B_q`` the Biot-Savart field of the node currents.
(Reciprocity: Heller and van Hulsteyn 1992, 10.1016/S0006-3495(92)81587-4; in this form it is
exact for the discrete equations.)
"""

from dataclasses import dataclass

import numpy as np

from efield.kernels import biot_savart, quadratic
from efield.kernels._jit import run_chunks
from efield.units import MU0_OVER_4PI, to_m

ADJOINT_RTOL = {1: 1e-6, 2: 1e-5}
"""Relative residual of the adjoint solves, by order of the elements: their error is the floor of every
placement's value. At second order, where iterations are costly, what is ranked is solved to 1e-5 as well."""

GROUP = 3
"""Functionals that one pass of the kernels carries."""


LUMPED = 0.1
"""Share of the second moments of second-order currents that is given up: 6e-7 of a coil's functional on
the built-in head, for a seventh of the edges."""


@dataclass(frozen=True, eq=False)
class AdjointCurrents:
    """Node currents of some target functionals.

    Attributes
    ----------
    nodes : (n, 3) array, m
    currents : (n, k, 3) array, A m
        q_n of each functional; A m per unit weight.
    psi : (n_unknowns, k) array
        The adjoint solutions they come from.
    residual : (k,) array
        True relative residuals of the solves.
    iterations : int
    """

    nodes: np.ndarray
    currents: np.ndarray
    psi: np.ndarray
    residual: np.ndarray
    iterations: int

    def field(self, points, *, dtype=np.float64):
        """Biot-Savart field of the currents, summed directly.

        Parameters
        ----------
        points : (n_points, 3) array, m
            Outside the head.
        dtype : float64 or float32
            Working precision; float32 gives about 1e-6 of the largest value.

        Returns
        -------
        (n_points, k, 3) array, T per unit weight
        """
        k = self.currents.shape[1]
        centre = self.nodes.mean(axis=0)  # small numbers keep float32 differences exact
        nodes = (self.nodes - centre).astype(dtype)
        where = np.ascontiguousarray((points - centre).T, dtype=dtype)
        field = np.empty((len(points), k, 3))
        for first in range(0, k, GROUP):
            group = slice(first, min(first + GROUP, k))
            width = group.stop - group.start
            packed = np.zeros((len(nodes), GROUP * 3), dtype)
            packed[:, : 3 * width] = (MU0_OVER_4PI * self.currents[:, group]).reshape(len(nodes), -1)
            out = np.empty((len(points), GROUP * 3))
            run_chunks(
                biot_savart.field_of_currents,
                len(points),
                where,
                nodes,
                packed,
                out,
                min_chunk=16,
                block=biot_savart.POINT_BLOCK,
            )
            field[:, group] = out[:, : 3 * width].reshape(-1, width, 3)
        return field

    def in_frames(self, points, poses):
        """Field at points of a coil, along the coil's axes, at several poses; summed directly.

        Parameters
        ----------
        points : (n_points, 3) array, m
            In the coil's frame.
        poses : (n, 4, 4) array
            matsimnibs.

        Returns
        -------
        (n, k, n_points, 3) array, T per unit weight
        """
        turns = poses[:, :3, :3]
        where = points @ turns.swapaxes(1, 2) + to_m(poses[:, None, :3, 3])
        field = self.field(where.reshape(-1, 3)).reshape(len(poses), len(points), -1, 3)
        return np.einsum("npkc,ncd->nkpd", field, turns, optimize=True)

    def coil_functionals(self, positions, rates):
        """Functionals of the field a coil induces, by direct summation in float64.

        Parameters
        ----------
        positions : (n_dipoles, 3) array, m
            In the head's frame.
        rates : (n_dipoles, 3) array, A m^2 / s
            Dipole moments times dI/dt.

        Returns
        -------
        (k,) array
        """
        return -np.einsum("jc,jkc->k", rates, self.field(positions))


def adjoint_currents(prepared, elements, weights, *, rtol=None):
    """Solve the adjoint problems of some functionals of E on a target.

    Parameters
    ----------
    prepared : PreparedHead
    elements : (n,) int array
        Tetrahedra of the target, in the head's own order.
    weights : (k, n, 3) array
        ``w_t`` of each functional, so that ``l = sum_t V_t w_t.E_t`` with V in m^3.
    rtol : float, optional
        Relative residual of the solves; None is `ADJOINT_RTOL` of the head's order.

    Returns
    -------
    AdjointCurrents

    Raises
    ------
    ConvergenceError
        The solver stalled.
    """
    space, where = prepared.elements, prepared.tet_position[elements]
    weights = np.ascontiguousarray(weights)
    load = np.stack([space.functional_load(where, w) for w in weights], axis=1)
    solution = prepared.solve(load, rtol=ADJOINT_RTOL[prepared.element_order] if rtol is None else rtol)
    currents = space.current_sources(solution.x, where, weights)
    nodes = prepared.nodes
    if prepared.element_order == 2:
        corners, midpoints, edges = lumped(currents, space)
        nodes = np.concatenate([nodes[: len(corners)], nodes[len(corners) + edges]])
        currents = np.concatenate([corners, midpoints])
    return AdjointCurrents(nodes, currents, solution.x, solution.residual, solution.iterations)


def lumped(currents, space):
    """Currents of second-order elements with the least of the edges' moved to their ends.

    Moved from the midpoint to the two ends, half each, a current q keeps all but its second moment,
    some q h^2 / 4. The edges with the least of it are moved, up to the share `LUMPED` of the sum.

    Parameters
    ----------
    currents : (n_nodes + n_edges, k, 3) array
    space : QuadraticElements

    Returns
    -------
    corners : (n_nodes, k, 3) array
    midpoints : (m, k, 3) array
    edges : (m,) int array
        Those that keep their current.
    """
    nodes, ends = space.geometry.nodes, space.edges.ends
    corners, of_edges, moment = currents[: len(nodes)].copy(), currents[len(nodes) :], np.empty(len(ends))
    run_chunks(quadratic.second_moments, len(ends), nodes, ends, of_edges, moment)
    ordered = np.sort(moment)
    least = ordered[np.searchsorted(np.cumsum(ordered), LUMPED * ordered.sum())]
    kept = moment >= least
    quadratic.move_to_ends(kept, ends, of_edges, corners)
    return corners, of_edges[kept], np.flatnonzero(kept)


def mean_field_weights(volumes):
    """Weights (3, n, 3) of the volume-weighted mean of E_x, E_y, E_z over a target; 1/m^3."""
    weights = np.zeros((3, len(volumes), 3))
    for axis in range(3):
        weights[axis, :, axis] = 1.0 / volumes.sum()
    return weights
