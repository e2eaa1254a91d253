"""dA/dt of coils at the nodes, and the field it makes together with the potential."""

import numpy as np

from efield.fem.assemble import basis_gradients
from efield.kernels import dipole, fem, quadratic
from efield.kernels._jit import run_chunks
from efield.kernels.edges import FIRST_END, SECOND_END
from efield.units import to_m

LAYER_SIZE = 16
"""Dipoles a flat layer must have on average for its own kernel to pay off."""


def dipoles_in_head(coil, placement):
    """Dipole positions (m) and moments (m^2 per coil ampere) in the head's frame."""
    pose = placement.matsimnibs
    rotation = pose[:3, :3]
    positions = coil.positions @ rotation.T + to_m(pose[:3, 3])
    return positions, coil.moments @ rotation.T


def dadt(points, positions, rates):
    """dA/dt of some coils at points, directly summed.

    In float32, with coordinates from the points' centre: an error of about 1e-6 of the largest
    value, four orders below what the discretization makes of it.

    Parameters
    ----------
    points : (n, 3) array, m
    positions : (n_coils, n_dipoles, 3) array, m
    rates : (n_coils, n_dipoles, 3) array, A m^2 / s
        Moments times dI/dt.

    Returns
    -------
    (n, 3, n_coils) float32 array, V/m
    """
    centre = points.mean(axis=0)
    out = np.empty((len(points), 3, len(positions)), np.float32)
    run_chunks(
        dipole.vector_potential,
        len(points),
        np.ascontiguousarray((points - centre).T, dtype=np.float32),
        np.ascontiguousarray(positions - centre, dtype=np.float32),
        np.ascontiguousarray(rates, dtype=np.float32),
        out,
        block=dipole.POINT_BLOCK,
    )
    return out


def coil_dadt(points, coil, placements, didt):
    """dA/dt of a coil at several placements; error and result as of :func:`dadt`.

    Parameters
    ----------
    points : (n, 3) array, m
    coil : Coil
    placements : sequence of Placement
    didt : float, A/s
    """
    layers = _flat_layers(coil)
    if layers is None:
        positions, moments = zip(*(dipoles_in_head(coil, placement) for placement in placements), strict=True)
        return dadt(points, np.stack(positions), didt * np.stack(moments))
    order, heights, starts = layers
    centre = points.mean(axis=0)
    poses = np.stack([placement.matsimnibs[:3] for placement in placements])
    poses[:, :, 3] = to_m(poses[:, :, 3]) - centre
    out = np.empty((len(points), 3, len(poses)), np.float32)
    run_chunks(
        dipole.layered_potential,
        len(points),
        np.ascontiguousarray((points - centre).T, dtype=np.float32),
        poses.astype(np.float32),
        starts,
        heights.astype(np.float32),
        coil.positions[order, :2].astype(np.float32),
        (didt * coil.moments[order, 2]).astype(np.float32),
        out,
        block=dipole.POINT_BLOCK,
    )
    return out


def _flat_layers(coil):
    """(order, heights, starts) of a coil of flat layers with moments along z; None for any other.

    `order` sorts the dipoles by layer, those of layer l are ``starts[l]`` to ``starts[l + 1] - 1`` of it.
    """
    heights, layer = np.unique(coil.positions[:, 2], return_inverse=True)
    if coil.moments[:, :2].any() or len(heights) * LAYER_SIZE > len(layer):
        return None
    starts = np.append(0, np.cumsum(np.bincount(layer)))
    return np.argsort(layer, kind="stable"), heights, starts


def element_field(mesh, potential, dadt, where, place):
    """``E = -dA/dt - grad v`` of tetrahedra, dA/dt by the element's own interpolation.

    At first order constant in a tetrahedron; at second order its mean over it.

    Parameters
    ----------
    mesh : OrderedMesh
    potential : (n,) array, V
        At the nodes; at second order followed by the edges, as :class:`QuadraticElements` has it.
    dadt : (n, 3) array, V/m
        At the nodes, followed by the edges' midpoints.
    where : (m,) int array or slice
        Tetrahedra of the ordered mesh.
    place : (m,) int array
        Row of the result that each of them goes to.

    Returns
    -------
    (m, 3) array, V/m
    """
    potential, dadt = np.ascontiguousarray(potential), np.ascontiguousarray(dadt)
    tets = mesh.tets[where]
    values = np.empty((len(tets), 3))
    if len(potential) == len(mesh.nodes):
        run_chunks(fem.element_field, len(tets), mesh.nodes, tets, potential, dadt, place, values)
    else:
        tet_edges = mesh.edges.of_tets[where]
        arguments = (mesh.nodes, tets, tet_edges, potential, dadt, place, values)
        run_chunks(quadratic.element_field, len(tets), *arguments)
    return values


def gradient_inside(mesh, potential, where, points):
    """grad v at points of tetrahedra, and the points' barycentric coordinates.

    Parameters
    ----------
    mesh : OrderedMesh
    potential : (n,) array, V
        As of :func:`element_field`.
    where : (m,) int array
        Tetrahedra of the ordered mesh.
    points : (m, 3) array, m

    Returns
    -------
    gradient : (m, 3) array, V/m
    shares : (m, 4) array
    """
    tets = mesh.tets[where]
    grad, _ = basis_gradients(mesh.nodes, tets)
    shares = np.einsum("mac,mc->ma", grad, points - mesh.nodes[tets[:, 0]])
    shares[:, 0] += 1.0
    gradient = np.einsum("ma,mac->mc", potential[tets], grad)
    if len(potential) > len(mesh.nodes):
        excess = potential[len(mesh.nodes) + mesh.edges.of_tets[where]]
        for e, (a, b) in enumerate(zip(FIRST_END, SECOND_END, strict=True)):
            slope = shares[:, a, None] * grad[:, b] + shares[:, b, None] * grad[:, a]
            gradient += 4.0 * excess[:, e, None] * slope
    return gradient, shares
