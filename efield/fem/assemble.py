"""Stiffness and source operator of first-order tetrahedra.

Weak form of ``div(sigma grad v) = -div(sigma dA/dt)`` with no current through the scalp:
``K v = b``, ``K_ij = sum_t V g_i.(sigma g_j)``, ``b_i = -sum_t V g_i.(sigma dadt_t)``, with
``g_i`` the basis gradients. The dA/dt rule, once: dA/dt of a tetrahedron is the mean of its
four node values. So the right-hand side is a sparse operator on node values.
"""

from dataclasses import dataclass

import numpy as np

from efield.errors import MeshError
from efield.kernels import fem as kernel
from efield.kernels._jit import run_chunks
from efield.model.arrays import row_pointers

DADT_RULE = "interpolated from its values at the nodes by the element's own basis"
"""How dA/dt enters right-hand side, reported E and reciprocity alike."""


@dataclass(frozen=True, eq=False)
class Geometry:
    """An ordered mesh with its conductivities, SI.

    Attributes
    ----------
    nodes, tets, node_order, tet_order
        As in :class:`efield.model.order.OrderedMesh`.
    sigma : (n_tets, 6) float32 array, S/m
        xx, yy, zz, xy, xz, yz.
    """

    nodes: np.ndarray
    tets: np.ndarray
    sigma: np.ndarray
    node_order: np.ndarray
    tet_order: np.ndarray


@dataclass(frozen=True, eq=False)
class Operators:
    """K (CSR arrays) and, on the same pattern, the source operator (nnz, 3)."""

    indptr: np.ndarray
    indices: np.ndarray
    stiffness: np.ndarray
    source: np.ndarray


def geometry(mesh, conductivity):
    """The mesh in the solver's order, with its conductivities.

    Raises
    ------
    MeshError
        A tetrahedron without volume.
    """
    flat = np.flatnonzero(mesh.volumes_mm3 <= 0)
    if len(flat):
        raise MeshError(
            f"{len(flat)} tetrahedra have no volume, the first is {flat[0]} with nodes "
            f"{mesh.tets[flat[0]].tolist()}; repair the mesh (`efield head check` lists them)"
        )
    ordered = mesh.ordered
    return Geometry(
        nodes=ordered.nodes,
        tets=ordered.tets,
        sigma=_six_components(conductivity, ordered.tet_order),
        node_order=ordered.node_order,
        tet_order=ordered.tet_order,
    )


def assemble(geo):
    """Stiffness and source operator of a :class:`Geometry`."""
    n = len(geo.nodes)
    pointers, node_tets = tets_of_nodes(geo.tets, n)
    lengths = np.zeros(n, np.int64)
    run_chunks(kernel.count_neighbours, n, geo.tets, pointers, node_tets, n, lengths)
    indptr = row_pointers(lengths)
    nnz = int(indptr[-1])
    indices, stiffness, source = np.empty(nnz, np.int32), np.empty(nnz), np.empty((nnz, 3))
    run_chunks(
        kernel.assemble_rows,
        n,
        geo.nodes,
        geo.tets,
        geo.sigma,
        pointers,
        node_tets,
        indptr,
        indices,
        stiffness,
        source,
    )
    return Operators(indptr, indices, stiffness, source)


def basis_gradients(nodes, tets):
    """Gradients (m, 4, 3) of the barycentric coordinates of tetrahedra (m, 4), 1/m, and volumes (m,), m^3."""
    grad, volume = np.empty((len(tets), 4, 3)), np.empty(len(tets))
    run_chunks(kernel.gradients, len(tets), nodes, tets, grad, volume)
    return grad, volume


def tets_of_nodes(tets, n_nodes):
    """Tetrahedra at each node, ascending: those of node i are ``node_tets[pointers[i]:pointers[i + 1]]``."""
    count = np.zeros(n_nodes, np.int64)
    kernel.count_node_tets(tets, count)
    pointers = np.zeros(n_nodes + 1, np.int64)
    np.cumsum(count, out=pointers[1:])
    node_tets = np.empty(tets.size, np.int32)
    kernel.fill_node_tets(tets, pointers[:-1].copy(), node_tets)
    return pointers, node_tets


def _six_components(conductivity, order):
    """Conductivities (n,) or (n, 3, 3) in another order, as (n, 6) float32: half the memory of float64."""
    sigma, own = np.empty((len(order), 6), np.float32), conductivity.reshape(len(conductivity), -1)
    run_chunks(kernel.six_components, len(order), own, order, sigma)
    return sigma
