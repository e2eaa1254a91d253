"""dA/dt of coils at the nodes, and the field it makes together with the potential."""

import numpy as np

from efield.kernels import dipole, fem
from efield.kernels._jit import run_chunks
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


def element_field(nodes, tets, potential, dadt, place):
    """``E = -dA/dt - grad v`` of first-order tetrahedra, dA/dt by the node rule.

    Parameters
    ----------
    nodes : (n, 3) array, m
    tets : (n_tets, 4) int32 array
    potential : (n,) array, V
    dadt : (n, 3) array, V/m
    place : (n_tets,) int array
        Row of the result that each tetrahedron's field goes to.

    Returns
    -------
    (n_tets, 3) array, V/m
    """
    values = np.empty((len(tets), 3))
    run_chunks(fem.element_field, len(tets), nodes, tets, potential, dadt, place, values)
    return values
